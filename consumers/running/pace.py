"""A limit of calls per second, evenly spaced. Pure: the time is an argument."""

from __future__ import annotations


class Pace:
    """Computes when the next call may start.

    >>> pace = Pace(2.0)
    >>> pace.is_free(0.0), pace.take(0.0), pace.is_free(0.4), pace.next_free
    (True, None, False, 0.5)
    >>> Pace(None).is_free(0.0)
    True
    """

    def __init__(self, per_s: float | None) -> None:
        """``per_s``: the limit. None means no limit."""
        self.next_free = float("-inf")
        self._every_s = 0.0 if per_s is None else 1.0 / per_s

    def is_free(self, now: float) -> bool:
        """Whether a call may start now."""
        return now >= self.next_free

    def take(self, now: float) -> None:
        """Record that a call starts now."""
        self.next_free = now + self._every_s
