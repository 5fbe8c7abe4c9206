"""Failed keys, and when each is retried. Pure: the time is an argument.

Waits double from a minimum to a maximum. There is no jitter, because the retries of one process do not compete with
those of others for a server. For connections, ``ingest.backoff`` adds jitter.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

from .timers import Timers

K = TypeVar("K", bound=Hashable)


def delay_s(failures: int, min_s: float, max_s: float) -> float:
    """The wait after a failure, given the number of failures before it.

    >>> [delay_s(failures, 0.1, 1.0) for failures in range(5)]
    [0.1, 0.2, 0.4, 0.8, 1.0]
    """
    doublings = min(failures, 60)  # beyond that any sensible maximum is reached
    return min(max_s, min_s * (1 << doublings))


class Retries(Timers[K]):
    """Keys by the time at which they are due, with the number of their failures.

    >>> retries = Retries[str](1.0, 60.0)
    >>> retries.add("a", now=0.0); retries.add("b", now=0.5); retries.add("a", now=1.0)
    >>> retries.next_due, retries.pop_due(now=2.0), retries.pop_due(now=2.0)
    (1.5, 'b', None)
    """

    def __init__(self, min_s: float, max_s: float) -> None:
        """``min_s`` and ``max_s``: the shortest and the longest wait."""
        super().__init__()
        self._min_s = min_s
        self._max_s = max_s
        self._failures: dict[K, int] = {}

    def failures(self, key: K) -> int:
        """How often the key has failed since it was cleared."""
        return self._failures.get(key, 0)

    def add(self, key: K, now: float) -> None:
        """Record a failure. The key waits from ``now`` on, longer than the last time. Cost: O(log n)."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.set(key, now + delay_s(failures, self._min_s, self._max_s))

    def clear(self, key: K) -> None:
        """Forget the key and its failures: it succeeded, or there is something new to try."""
        self.remove(key)
        self._failures.pop(key, None)
