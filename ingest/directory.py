"""Scans a directory, and reads only the files that have changed. Knows no YAML.

Kubernetes updates a mounted directory (a ConfigMap, a Secret) by pointing its ``..data`` link to a new directory, the
next generation, and deleting the old one. A scan during such a change is repeated, so that all files of a scan are of
one generation.

The directory itself may be replaced as well: an unmounted volume leaves an empty directory behind, and another file
system may be mounted in its place. `difference` detects this.
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
"""Identifies the version of a file: modification time, change time, size, inode."""

Content: TypeAlias = "Read | Unreadable"

MANIFESTS = (".yaml", ".yml", ".json")
ANY = ("",)
"""Suffixes of the names of files that are read."""

_RACY_NS = 2_000_000_000  # the coarsest resolution of file times: two writes may have the same time
_SCANS_MAX = 20


class Read(msgspec.Struct, frozen=True):
    """A file's bytes and their digest."""

    data: bytes
    digest: bytes


class Unreadable(msgspec.Struct, frozen=True):
    """Why an existing file could not be read."""

    reason: str


class Outage(Exception):
    """The directory cannot be read. That says nothing about its files."""


class Generation(msgspec.Struct, frozen=True):
    """Identifies a directory and its generation: ``link`` is the target of its ``..data``, empty if there is none."""

    device: int
    inode: int
    link: str


class Scan(msgspec.Struct, frozen=True):
    """The files of a directory by name, all from one generation."""

    base: Path
    files: dict[str, Signature]
    generation: Generation

    @property
    def atomic(self) -> bool:
        """Whether all of its files change at once."""
        return bool(self.generation.link)


def difference(known: Scan, now: Scan) -> str:
    """Why this cannot be the directory that we knew; empty if it can.

    A new directory on the same file system is accepted if it has files: replacing the directory is a common way to
    change all files at once. A mount does that by another ``..data``; one whose files go without that is being deleted.
    """
    if known.atomic and not now.atomic:
        return "its content is no longer mounted there"
    if known.generation.device != now.generation.device:
        return "another file system is mounted there"
    if known.generation.inode != now.generation.inode and not now.files:
        return "another directory stands there, and it is empty"
    if known.atomic and known.generation == now.generation and known.files.keys() - now.files.keys():
        return "files are gone although its ..data link has not changed: the mount is being deleted"
    return ""


class Directory:
    """Scans one directory. For one thread at a time."""

    def __init__(
        self,
        path: str,
        bytes_max: int,
        *,
        suffixes: tuple[str, ...] = MANIFESTS,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Files larger than ``bytes_max`` are not read. Files without one of the ``suffixes`` are ignored."""
        self._path = Path(path)
        self._bytes_max = bytes_max
        self._suffixes = suffixes
        self._wall_ns = wall_ns

    def scan(self) -> Scan:
        """The present files, in the order of their names. Raises Outage.

        Files whose name begins with a dot are ignored. A directory that changes faster than it can be scanned is an
        outage as well.
        """
        for _ in range(_SCANS_MAX):
            scan = self._scan()
            if scan is not None:
                return scan
        raise Outage(f"{self._path}: it changes faster than it can be read")

    def is_current(self, scan: Scan) -> bool:
        """Whether the directory still has the generation of a scan, so that files read since belong together."""
        try:
            return self._generation() == scan.generation
        except Outage:
            return False

    def is_racy(self, signature: Signature) -> bool:
        """Whether the file changed so recently that another change may not change its signature."""
        return self._wall_ns() - max(signature[:2]) < _RACY_NS

    def read(self, scan: Scan, name: str) -> Content | None:
        """The content of the file; None if it is gone since the scan."""
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
        """One scan; None if the generation changed meanwhile. Raises Outage.

        The order matters: a generation is deleted after the link points to the next one. If the link still points to
        this one after the last file was read, its deletion has not begun, unless all is deleted: see `difference`.
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
        """The present generation. Raises Outage, also if ``..data`` is dangling: such a directory is not empty."""
        try:
            found = os.stat(self._path)
            link = self._link()
            while link:
                try:
                    os.stat(self._path / link)
                    break
                except FileNotFoundError:  # it is gone, or was replaced by the next generation
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
            if error.errno == errno.EINVAL:  # it exists and is not a link
                return ""
            raise


def _signature(path: Path) -> Signature | None:
    """The signature of a file, or of a dangling link; None for a directory, a FIFO or a socket."""
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
