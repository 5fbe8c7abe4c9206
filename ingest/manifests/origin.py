"""Identifies the directory that rows came from, for a warm start. Pure.

After a restart, perhaps on another machine, the numbers of devices and inodes differ. But files that have not changed
still identify the directory, as the keys that changed last identify an etcd.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from ..belief import History
from ..directory import Generation, Scan, Signature, difference

_WITNESSES = 8
_ANY: Signature = (0, 0, 0, 0)


class _Origin(msgspec.Struct, frozen=True):
    """``files``: digests of those that have not changed for the longest time.

    Of a mounted directory also the generation, and the ``names`` of all of its files.
    """

    device: int
    inode: int
    mounted: bool
    files: dict[str, str]
    link: str = ""
    names: tuple[str, ...] = ()


def origin_of(scan: Scan, digests: Mapping[str, bytes]) -> str:
    """A text that identifies the directory of a scan, by the digests of its files."""
    oldest = sorted(scan.files, key=lambda name: scan.files[name])[:_WITNESSES]
    found = {printable(name): digests[name].hex() for name in sorted(oldest) if digests.get(name)}
    generation = scan.generation
    names = tuple(map(printable, scan.files)) if scan.atomic else ()
    origin = _Origin(generation.device, generation.inode, scan.atomic, found, generation.link, names)
    return msgspec.json.encode(origin).decode()


def history(kept: str, scan: Scan, digests: Mapping[str, bytes]) -> tuple[History, str]:
    """Whether the earlier rows came from this directory, and if not, why. ``kept`` is a result of `origin_of`."""
    try:
        origin = msgspec.json.decode(kept, type=_Origin)
    except (msgspec.DecodeError, ValueError):  # it is from another backend, or empty
        return History.UNPROVEN, "it is not known which directory the earlier rows came from"
    found = {printable(name): digest.hex() for name, digest in digests.items()}
    now = Scan(scan.base, {printable(name): signature for name, signature in scan.files.items()}, scan.generation)
    if any(found.get(name) == digest for name, digest in origin.files.items()):
        generation, but = Generation(scan.generation.device, scan.generation.inode, _link(origin)), ""
    else:
        generation = Generation(origin.device, origin.inode, _link(origin))
        but = ", and all of its files differ from the earlier ones"
    why = difference(Scan(scan.base, dict.fromkeys(origin.names, _ANY), generation), now)
    return (History.OTHER, why + but) if why else (History.SAME, "")


def printable(name: str) -> str:
    """The name of a file as text, also if it is not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _link(origin: _Origin) -> str:
    return origin.link or ("..data" if origin.mounted else "")
