"""A clock that advances only when a test says so, for code that takes ``clock=``."""

from __future__ import annotations

from threading import Lock


class VirtualClock:
    """A clock whose time passes only by ``advance``. Call it for the time. Threads may share it.

    >>> clock = VirtualClock()
    >>> clock.advance(2.5)
    2.5
    >>> clock()
    2.5
    """

    __slots__ = ("_lock", "_now")

    def __init__(self, start: float = 0.0) -> None:
        """A clock that shows ``start``."""
        self._now = start
        self._lock = Lock()

    def __repr__(self) -> str:
        """The time it shows."""
        return f"<VirtualClock at {self._now}>"

    def __call__(self) -> float:
        """The time in seconds."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Let time pass. Returns the new time. Raises ValueError for a negative number."""
        if seconds < 0:
            raise ValueError(f"cannot go back {-seconds} seconds; make a new clock instead")
        with self._lock:
            self._now += seconds
            return self._now
