"""How long to wait before the next try: doubling, capped, jittered; short again after a healthy while. Pure."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom

_chance = SystemRandom()  # not the generator of the program that we run in: that may be seeded


class Backoff:
    """The waits between tries.

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
        """``jitter`` gives numbers from 0 to 1; a wait is between a half of its size and all of it."""
        self._min_s = min_s
        self._max_s = max(min_s, max_s)
        self._healthy_s = healthy_s
        self._jitter = jitter
        self._size_s = min_s

    def next(self) -> float:
        """The next wait in seconds."""
        size_s = self._size_s
        self._size_s = min(size_s * 2, self._max_s)
        return size_s * (0.5 + 0.5 * self._jitter())

    def record_uptime(self, seconds: float) -> None:
        """Things went well for so long: if that is a healthy while, the waits begin anew."""
        if seconds >= self._healthy_s:
            self._size_s = self._min_s
