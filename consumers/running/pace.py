"""So many calls a second, evenly spaced. Pure; time comes in as an argument."""

from __future__ import annotations


class Pace:
    """When the next call may begin.

    >>> pace = Pace(2.0)
    >>> pace.is_free(0.0), pace.take(0.0), pace.is_free(0.4), pace.next_free
    (True, None, False, 0.5)
    >>> Pace(None).is_free(0.0)
    True
    """

    def __init__(self, per_s: float | None) -> None:
        """None: as many as there are."""
        self.next_free = float("-inf")
        self._every_s = 0.0 if per_s is None else 1.0 / per_s

    def is_free(self, now: float) -> bool:
        """Whether one may begin now."""
        return now >= self.next_free

    def take(self, now: float) -> None:
        """One begins now."""
        self.next_free = now + self._every_s
