"""From which directory rows are, for a source that begins with rows of before. Pure.

A process that starts again, perhaps on another machine, finds its directory under other numbers: those of devices and
inodes say nothing there, but a file that is as it was does. It is what the keys that changed last are for an etcd.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..belief import History
from ..directory import Generation, Scan, difference

_WITNESSES = 8


class _Origin(msgspec.Struct, frozen=True):
    """``files``: digests of those that have not changed for the longest time."""

    device: int
    inode: int
    mounted: bool
    files: dict[str, str]


def origin_of(scan: Scan, digests: Mapping[str, bytes]) -> str:
    """What identifies the directory of a scan whose files have these digests, as text."""
    oldest = sorted(scan.files, key=lambda name: scan.files[name])[:_WITNESSES]
    found = {name: digests[name].hex() for name in sorted(oldest) if digests.get(name)}
    generation = scan.generation
    return msgspec.json.encode(_Origin(generation.device, generation.inode, scan.atomic, found)).decode()


def history(kept: str, scan: Scan, digests: Mapping[str, bytes]) -> tuple[History, str]:
    """Whether this is the directory that rows of before are from, and why not. ``kept`` is what `origin_of` gave."""
    try:
        origin = msgspec.json.decode(kept, type=_Origin)
    except (msgspec.DecodeError, ValueError):  # another backend's, or none at all
        return History.UNPROVEN, "nothing tells from which directory the rows of before are"
    found = {name: digest.hex() for name, digest in digests.items()}
    if any(found.get(name) == digest for name, digest in origin.files.items()):
        generation = Generation(scan.generation.device, scan.generation.inode, _link(origin))
    else:
        generation = Generation(origin.device, origin.inode, _link(origin))
    why = difference(Scan(scan.base, {}, generation), scan)
    return (History.OTHER, f"{why}, and no file of before is in it as it was") if why else (History.SAME, "")


def _link(origin: _Origin) -> str:
    return "..data" if origin.mounted else ""
