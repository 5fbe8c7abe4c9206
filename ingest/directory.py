"""A directory of files as it is at one moment, read again only where it changed. Knows no YAML.

A directory that Kubernetes mounts (a ConfigMap, a Secret) is changed by pointing its ``..data`` link to a new
directory: the link is followed once per look, so that all files of a look are of one generation.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import TypeAlias

import msgspec

Signature: TypeAlias = tuple[int, int, int, int]
"""What changes when a file does: modification and change time, size, inode."""

Content: TypeAlias = "Read | Unreadable"

MANIFESTS = (".yaml", ".yml", ".json")
ANY = ("",)
"""Endings of the names of files that count."""

_RACY_NS = 2_000_000_000  # within the coarsest clock of a file system two writes may carry one time


class Read(msgspec.Struct, frozen=True):
    """A file's bytes and their digest."""

    data: bytes
    digest: bytes


class Unreadable(msgspec.Struct, frozen=True):
    """Why a file that is there could not be read."""

    reason: str


class Outage(Exception):
    """The directory cannot be looked at: this says nothing about its files."""


class Look(msgspec.Struct, frozen=True):
    """The files of a directory by name, and whether they can only change all at once."""

    base: Path
    files: dict[str, Signature]
    atomic: bool


class Directory:
    """Looks at one directory. For one thread at a time."""

    def __init__(
        self,
        path: str,
        bytes_max: int,
        *,
        suffixes: tuple[str, ...] = MANIFESTS,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Files larger than ``bytes_max`` are not read, those without one of the ``suffixes`` are not looked at."""
        self._path = Path(path)
        self._bytes_max = bytes_max
        self._suffixes = suffixes
        self._wall_ns = wall_ns

    def look(self) -> Look:
        """The files that are there now, in the order of their names. Raises Outage.

        Files that begin with a dot do not count.
        """
        try:
            generation = self._path / "..data"
            atomic = generation.is_symlink()
            base = generation.resolve(strict=True) if atomic else self._path
            names = sorted(name for name in os.listdir(base) if name.endswith(self._suffixes) and name[0] != ".")
        except (OSError, RuntimeError) as error:
            raise Outage(f"{self._path}: {_reason(error)}") from error
        files = {}
        for name in names:
            signature = _signature(base / name)
            if signature is not None:
                files[name] = signature
        if not base.is_dir():
            raise Outage(f"{self._path}: it went while we looked")
        return Look(base, files, atomic)

    def is_racy(self, signature: Signature) -> bool:
        """Whether the file changed so lately that the next change may leave its signature alone."""
        return self._wall_ns() - max(signature[:2]) < _RACY_NS

    def read(self, look: Look, name: str) -> Content | None:
        """The file's content; None if it has gone since the look."""
        path = look.base / name
        try:
            with open(path, "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return Unreadable("not a regular file")
                data = file.read(self._bytes_max + 1)
        except FileNotFoundError:
            return Unreadable("a link that leads nowhere") if path.is_symlink() else None
        except OSError as error:
            return Unreadable(_reason(error))
        if len(data) > self._bytes_max:
            return Unreadable(f"larger than {self._bytes_max} bytes")
        return Read(data, blake2b(data, digest_size=16).digest())


def _signature(path: Path) -> Signature | None:
    """Of the file that a name leads to; of the link itself if it leads nowhere; None for what is no file."""
    try:
        found = path.stat()
    except OSError:
        try:
            found = path.lstat()
        except OSError:
            return None
    if stat.S_ISDIR(found.st_mode) or stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
