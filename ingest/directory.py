"""A directory of files as it is at one moment, read again only where it changed. Knows no YAML.

A directory that Kubernetes mounts (a ConfigMap, a Secret) is changed by pointing its ``..data`` link to a new
directory, its next generation, and the old one is deleted then. A look that meets such a change is repeated: all files
of a look are of one generation.

The directory itself may go as well. Where a volume was mounted, an unmount leaves an empty directory behind; another
file system may be mounted in its place. `difference` tells such a directory from the one that we knew.
"""

from __future__ import annotations

import errno
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
_SCANS_MAX = 20


class Read(msgspec.Struct, frozen=True):
    """A file's bytes and their digest."""

    data: bytes
    digest: bytes


class Unreadable(msgspec.Struct, frozen=True):
    """Why a file that is there could not be read."""

    reason: str


class Outage(Exception):
    """The directory cannot be looked at: this says nothing about its files."""


class Generation(msgspec.Struct, frozen=True):
    """Which directory it is, and which content of it: ``link`` is where its ``..data`` leads, empty if it has none."""

    device: int
    inode: int
    link: str


class Scan(msgspec.Struct, frozen=True):
    """The files of a directory by name, all of one generation."""

    base: Path
    files: dict[str, Signature]
    generation: Generation

    @property
    def atomic(self) -> bool:
        """Whether its files can only change all at once."""
        return bool(self.generation.link)


def difference(known: Scan, now: Scan) -> str:
    """Why this cannot be the directory that we knew; empty if it can.

    A directory that is replaced by another one with files in it, on the same file system, is a usual way to change
    all files at once.
    """
    if known.atomic and not now.atomic:
        return "its content is no longer mounted there"
    if known.generation.device != now.generation.device:
        return "another file system is mounted there"
    if known.generation.inode != now.generation.inode and not now.files:
        return "another directory stands there, and it is empty"
    return ""


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

    def scan(self) -> Scan:
        """The files that are there now, in the order of their names. Raises Outage.

        Files that begin with a dot do not count. A directory whose generations change faster than it can be looked at
        is an outage too.
        """
        for _ in range(_SCANS_MAX):
            scan = self._scan()
            if scan is not None:
                return scan
        raise Outage(f"{self._path}: it changes faster than it can be read")

    def is_current(self, scan: Scan) -> bool:
        """Whether the directory is still of the generation of a look: what was read since belongs together."""
        try:
            return self._generation() == scan.generation
        except Outage:
            return False

    def is_racy(self, signature: Signature) -> bool:
        """Whether the file changed so lately that the next change may leave its signature alone."""
        return self._wall_ns() - max(signature[:2]) < _RACY_NS

    def read(self, scan: Scan, name: str) -> Content | None:
        """The file's content; None if it has gone since the look."""
        path = scan.base / name
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

    def _scan(self) -> Scan | None:
        """One look; None if another generation came meanwhile. Raises Outage.

        The order matters: a generation is deleted after the next one has taken its place. If this one still has its
        place after the last file was looked at, nobody has begun to delete it.
        """
        generation = self._generation()
        base = self._path / generation.link
        try:
            names = sorted(name for name in os.listdir(base) if name.endswith(self._suffixes) and name[0] != ".")
            files = {name: found for name in names if (found := _signature(base / name)) is not None}
        except OSError as error:
            if self._generation() != generation:
                return None
            raise Outage(f"{self._path}: {_reason(error)}") from error
        return Scan(base, files, generation) if self._generation() == generation else None

    def _generation(self) -> Generation:
        """Raises Outage, also where ``..data`` leads nowhere: that is no directory without files."""
        try:
            found = os.stat(self._path)
            link = self._link()
            while link:
                try:
                    os.stat(self._path / link)
                    break
                except FileNotFoundError:  # gone for good, or because the next generation is there
                    before, link = link, self._link()
                    if link == before:
                        raise
            return Generation(found.st_dev, found.st_ino, link)
        except OSError as error:
            raise Outage(f"{self._path}: {_reason(error)}") from error

    def _link(self) -> str:
        try:
            return os.readlink(self._path / "..data")
        except FileNotFoundError:
            return ""
        except OSError as error:
            if error.errno == errno.EINVAL:  # it is there, and is no link
                return ""
            raise


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
