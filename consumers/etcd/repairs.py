"""Decides when a key that another writer has changed is written again. Pure: the time is an argument.

The first repair is immediate. A key that is changed again waits longer each time, with jitter, so that two writers that
disagree do not overwrite each other forever.
"""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from typing import Any

from sortedcontainers import SortedList

from consumers.running.retries import delay_s

_chance = SystemRandom()  # not the generator of the user's program, which may be seeded

_CONTESTED = 3
"""The number of changes after which the writer's health names a key."""


class Repairs:
    """Keys that were changed recently, and how often. For one thread; others may call `contested`.

    >>> repairs = Repairs(1.0, 60.0, jitter=lambda: 1.0)
    >>> [repairs.record_change("a", now) for now in (0.0, 0.1, 0.2)], repairs.next_due
    ([True, False, False], 2.2)
    >>> repairs.pop_due(3.0), repairs.pop_due(3.0)
    ('a', None)
    """

    def __init__(self, min_s: float, max_s: float, jitter: Callable[[], float] = _chance.random) -> None:
        """``jitter`` returns numbers from 0 to 1. A wait is between half of its nominal length and all of it."""
        self._wait_s = (min_s, max_s)
        self._jitter = jitter
        self._changes: dict[str, tuple[int, float]] = {}
        self._due: dict[str, float] = {}
        self._queue: Any = SortedList()  # Any: the package has no types

    def record_change(self, key: str, now: float) -> bool:
        """Record a change by another writer. True if the key is to be written again at once, False if it waits."""
        count = 0 if self._is_quiet(key, now) else self._changes[key][0]
        self._changes[key] = (count + 1, now)
        if not count and key not in self._due:
            return True
        self._cancel(key)
        due = now + delay_s(max(0, count - 1), *self._wait_s) * (0.5 + 0.5 * self._jitter())
        self._due[key] = due
        self._queue.add((due, key))
        return False

    @property
    def next_due(self) -> float | None:
        """When the first waiting key is due; None if none waits."""
        return self._queue[0][0] if self._queue else None

    def pop_due(self, now: float) -> str | None:
        """Remove and return a key that is due; None if there is none."""
        if not self._queue or self._queue[0][0] > now:
            return None
        key: str = self._queue[0][1]
        self._cancel(key)
        return key

    def drop_quiet(self, now: float) -> None:
        """Forget keys that have not been changed for long. Cost: O(changed keys)."""
        for key in list(self._changes):
            if key not in self._due and self._is_quiet(key, now):
                del self._changes[key]

    def contested(self, now: float) -> dict[str, int]:
        """The keys that another writer keeps changing, with the number of changes."""
        changes = list(self._changes.items())
        return {key: count for key, (count, _) in changes if count >= _CONTESTED and not self._is_quiet(key, now)}

    def _is_quiet(self, key: str, now: float) -> bool:
        """Whether the key has not been changed for much longer than its last repair waited."""
        count, last = self._changes.get(key, (0, now))
        return not count or now - last > 10 * delay_s(count, *self._wait_s)

    def _cancel(self, key: str) -> None:
        due = self._due.pop(key, None)
        if due is not None:
            self._queue.remove((due, key))
