"""Pauses between tries: they double up to a maximum, with jitter, and are short again after a healthy time. Pure."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom

_chance = SystemRandom()  # the global generator belongs to the program that we run in, which may have seeded it


class Backoff:
    """The pauses between tries.

    >>> waits = Backoff(0.1, 1.0, healthy_s=10, jitter=lambda: 1.0)
    >>> [round(waits.next(), 1) for _ in range(6)]
    [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    >>> waits.record_uptime(3); round(waits.next(), 1)
    1.0
    >>> waits.record_uptime(12); round(waits.next(), 1)
    0.1
    """

    def __init__(
        self,
        min_s: float,
        max_s: float,
        *,
        healthy_s: float = 5.0,
        jitter: Callable[[], float] = _chance.random,
    ) -> None:
        """``jitter`` returns numbers from 0 to 1, and shortens a pause to no less than half."""
        self._min_s = min_s
        self._max_s = max(min_s, max_s)
        self._healthy_s = healthy_s
        self._jitter = jitter
        self._size_s = min_s

    def next(self) -> float:
        """The next pause in seconds."""
        size_s = self._size_s
        self._size_s = min(size_s * 2, self._max_s)
        return size_s * (0.5 + 0.5 * self._jitter())

    def record_uptime(self, seconds: float) -> None:
        """It worked for this long. If that was at least ``healthy_s``, the next pause is short again."""
        if seconds >= self._healthy_s:
            self._size_s = self._min_s
