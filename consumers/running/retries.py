"""A queue of failed keys, sorted by the time of their next try. Pure: the time is an argument.

Waits double from a minimum to a maximum. There is no jitter, because the retries of one process do not compete with
those of others for a server. For connections, ``ingest.backoff`` adds jitter.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from sortedcontainers import SortedList

K = TypeVar("K", bound=Hashable)


def delay_s(failures: int, min_s: float, max_s: float) -> float:
    """The wait after a failure, given the number of failures before it.

    >>> [delay_s(failures, 0.1, 1.0) for failures in range(5)]
    [0.1, 0.2, 0.4, 0.8, 1.0]
    """
    doublings = min(failures, 60)  # beyond that any sensible maximum is reached
    return min(max_s, min_s * (1 << doublings))


class Retries(Generic[K]):
    """Keys by the time at which they are due, with the number of their failures.

    >>> retries = Retries[str](1.0, 60.0)
    >>> retries.add("a", now=0.0); retries.add("b", now=0.5); retries.add("a", now=1.0)
    >>> retries.next_due, retries.pop_due(now=2.0), retries.pop_due(now=2.0)
    (1.5, 'b', None)
    """

    def __init__(self, min_s: float, max_s: float) -> None:
        """``min_s`` and ``max_s``: the shortest and the longest wait."""
        self._min_s = min_s
        self._max_s = max_s
        self._failures: dict[K, int] = {}
        self._due: dict[K, tuple[float, int]] = {}
        self._queue: Any = SortedList(key=_when)  # Any: the package has no types
        self._added = 0

    def __len__(self) -> int:
        """How many keys wait."""
        return len(self._due)

    def __contains__(self, key: K) -> bool:
        """Whether the key waits."""
        return key in self._due

    @property
    def next_due(self) -> float | None:
        """When the first key is due; None if none waits."""
        return self._queue[0][0] if self._queue else None

    def failures(self, key: K) -> int:
        """How often the key has failed since it was cleared."""
        return self._failures.get(key, 0)

    def add(self, key: K, now: float) -> None:
        """Record a failure. The key waits from ``now`` on, longer than the last time. Cost: O(log n)."""
        self._remove(key)
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self._added += 1  # of two keys that are due at the same time, the one that failed first comes first
        place = (now + delay_s(failures, self._min_s, self._max_s), self._added)
        self._due[key] = place
        self._queue.add((*place, key))

    def pop_due(self, now: float) -> K | None:
        """Remove and return the first key that is due; None if none is. Its failures stay counted."""
        if not self._queue or self._queue[0][0] > now:
            return None
        key: K = self._queue[0][2]
        self._remove(key)
        return key

    def clear(self, key: K) -> None:
        """Forget the key and its failures: it succeeded, or there is something new to try."""
        self._remove(key)
        self._failures.pop(key, None)

    def _remove(self, key: K) -> None:
        place = self._due.pop(key, None)
        if place is not None:
            self._queue.remove((*place, key))


def _when(entry: tuple[float, int, object]) -> tuple[float, int]:
    return entry[:2]
