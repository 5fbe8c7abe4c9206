"""Objects that were done long ago, to be done again. Pure; time comes in as an argument."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Refreshes(Generic[K]):
    """When each object was done, and which are due.

    >>> refreshes = Refreshes[str](60.0, 1.0)
    >>> refreshes.done("a", 0.0); refreshes.done("b", 1.0)
    >>> refreshes.due(70.0), refreshes.due(70.5), refreshes.next_due
    (['a'], [], 71.0)
    """

    def __init__(self, after_s: float | None, per_s: float) -> None:
        """Each is due after so many seconds (None: never), so many of them a second at most."""
        self._after_s = after_s
        self._per_s = per_s
        self._done_at: dict[K, float] = {}  # the longest ago first
        self._free_at = 0.0
        self._all_asked = False

    def done(self, key: K, now: float) -> None:
        """It was done."""
        self._done_at.pop(key, None)
        self._done_at[key] = now

    def drop(self, key: K) -> None:
        """It is to be done for another reason, or gone."""
        self._done_at.pop(key, None)

    def ask(self) -> None:
        """All are due now. From any thread."""
        self._all_asked = True

    def due(self, now: float) -> list[K]:
        """Take those that are due, not more than may be done at this time."""
        due: list[K] = []
        if self._all_asked:
            self._all_asked = False
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
        """When the next one is due; None where none will be."""
        if self._after_s is None or not self._done_at:
            return None
        return max(next(iter(self._done_at.values())) + self._after_s, self._free_at)
