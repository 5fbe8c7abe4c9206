"""Keys by the time at which they are due. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from sortedcontainers import SortedList

K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    """Each key is due once, at the time that was set last. Ties are in the order in which the keys were set.

    >>> timers = Timers[str]()
    >>> timers.set("a", 3.0); timers.set("b", 2.0); timers.set("a", 1.0)
    >>> timers.next_due, timers.pop_due(2.0), timers.pop_due(2.0), timers.pop_due(2.0)
    (1.0, 'a', 'b', None)
    """

    def __init__(self) -> None:
        """Empty."""
        self._due: dict[K, tuple[float, int]] = {}
        self._queue: Any = SortedList(key=_when)  # Any: the package has no types
        self._added = 0

    def __len__(self) -> int:
        """The number of keys that are set."""
        return len(self._due)

    def __contains__(self, key: K) -> bool:
        """Whether a key is set."""
        return key in self._due

    @property
    def next_due(self) -> float | None:
        """When the first key is due; None if none is set."""
        return self._queue[0][0] if self._queue else None

    def set(self, key: K, due: float) -> None:
        """Set the time at which a key is due. It replaces an earlier one. Cost: O(log n)."""
        self.remove(key)
        self._added += 1
        place = (due, self._added)
        self._due[key] = place
        self._queue.add((*place, key))

    def pop_due(self, now: float) -> K | None:
        """Remove and return the first key that is due; None if there is none."""
        if not self._queue or self._queue[0][0] > now:
            return None
        key: K = self._queue[0][2]
        self.remove(key)
        return key

    def remove(self, key: K) -> None:
        """Remove a key. Ignored if it is not set."""
        place = self._due.pop(key, None)
        if place is not None:
            self._queue.remove((*place, key))


def _when(entry: tuple[float, int, object]) -> tuple[float, int]:
    return entry[:2]
