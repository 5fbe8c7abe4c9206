"""How long the decode function of a resource has been busy with one object."""

from __future__ import annotations

import time

LATE_S = 10.0
"""A function that is busy for longer is named in ``sources``."""


class Decoding:
    """The object that is being decoded. `begin` and `end` are for one thread at a time, `late` is for any thread."""

    __slots__ = ("_busy",)

    def __init__(self) -> None:
        """Nothing is being decoded."""
        self._busy: tuple[str, float] | None = None

    def begin(self, name: str) -> None:
        """An object is decoded from now on."""
        self._busy = name, time.monotonic()

    def end(self) -> None:
        """The function has returned or raised."""
        self._busy = None

    def late(self) -> str:
        """The object with which the function has been busy for too long, in words; empty if there is none."""
        busy = self._busy
        if busy is None or time.monotonic() - busy[1] < LATE_S:
            return ""
        return f"the decode function has been busy with {busy[0]} for more than {LATE_S:g} s"
