"""Limits the rate of writes, and detects that writing has stalled. Pure: the time is an argument."""

from __future__ import annotations

_BURST_S = 0.1
"""The length of a burst: a writer with a rate limit writes the keys of so many seconds at once."""


class Pace:
    """A rate limit in keys per second; None means no limit.

    >>> pace = Pace(100.0); pace.keys_max(1000), pace.wait_s(0.0); pace.written(10, 0.0); round(pace.wait_s(0.05), 2)
    (10, 0.0)
    0.05
    """

    def __init__(self, writes_per_s: float | None) -> None:
        """``writes_per_s``: the limit."""
        self._writes_per_s = writes_per_s
        self._free_at = 0.0

    def keys_max(self, batch_keys_max: int) -> int:
        """How many keys may be written at once."""
        if self._writes_per_s is None:
            return batch_keys_max
        return max(1, min(batch_keys_max, int(self._writes_per_s * _BURST_S)))

    def wait_s(self, now: float) -> float:
        """How long to wait before the next write."""
        return max(0.0, self._free_at - now)

    def written(self, keys: int, now: float) -> None:
        """Record that so many keys were written."""
        if self._writes_per_s is not None:
            self._free_at = max(self._free_at, now - _BURST_S) + keys / self._writes_per_s


class StallTimer:
    """Measures for how long keys have waited without any being written, across connections."""

    def __init__(self) -> None:
        """No key waits."""
        self._waiting_since: float | None = None

    def update(self, waiting: bool, now: float) -> None:
        """Record whether keys wait now."""
        if not waiting:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now

    def reset(self, now: float) -> None:
        """Restart the measurement: a key was written, or the rate limit does not allow a write yet."""
        if self._waiting_since is not None:
            self._waiting_since = now

    def waited_s(self, now: float) -> float:
        """For how long keys have waited without any being written; 0 if none wait."""
        return 0.0 if self._waiting_since is None else now - self._waiting_since
