"""Objects that are processed again after a time. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Refreshes(Generic[K]):
    """When each object was processed, and which are due.

    >>> refreshes = Refreshes[str](60.0, 1.0)
    >>> refreshes.done("a", 0.0); refreshes.done("b", 1.0)
    >>> refreshes.due(70.0), refreshes.due(70.5), refreshes.next_due
    (['a'], [], 71.0)
    """

    def __init__(self, after_s: float | None, per_s: float) -> None:
        """``after_s``: the time after which an object is due (None: never). ``per_s``: the maximum rate."""
        self._after_s = after_s
        self._per_s = per_s
        self._done_at: dict[K, float] = {}  # the longest ago first
        self._free_at = 0.0
        self._all_requested = False

    def done(self, key: K, now: float) -> None:
        """Record that an object was processed."""
        self._done_at.pop(key, None)
        self._done_at[key] = now

    def drop(self, key: K) -> None:
        """Forget an object: it is queued for another reason, or deleted."""
        self._done_at.pop(key, None)

    def request_all(self) -> None:
        """Make all objects due. May be called from any thread."""
        self._all_requested = True

    def due(self, now: float) -> list[K]:
        """Remove and return the objects that are due, within the maximum rate."""
        due: list[K] = []
        if self._all_requested:
            self._all_requested = False
            due = list(self._done_at)
        elif self._after_s is not None and now >= self._free_at:
            for key, done_at in self._done_at.items():
                if done_at + self._after_s > now or len(due) >= max(1.0, self._per_s):
                    break
                due.append(key)
            self._free_at = now + len(due) / self._per_s
        for key in due:
            del self._done_at[key]
        return due

    @property
    def next_due(self) -> float | None:
        """When the next object is due; None if none will be."""
        if self._after_s is None or not self._done_at:
            return None
        return max(next(iter(self._done_at.values())) + self._after_s, self._free_at)
