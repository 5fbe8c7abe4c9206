"""Work that is done a little at a time on an event loop, so that nothing urgent waits for all of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

PER_ITERATION = 8
"""How much work is begun in one iteration of the loop: eight requests take some 5 ms."""


class Turns:
    """A queue of work. Used on the thread of the event loop only."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._waiting: deque[Callable[[], None]] = deque()
        self._running = False

    def add(self, work: Callable[[], None]) -> None:
        """Do this in one of the next iterations, after what was added before. The loop logs exceptions."""
        self._waiting.append(work)
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_soon(self._take)

    def _take(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(min(len(self._waiting), PER_ITERATION)):
            loop.call_soon(self._waiting.popleft())
        self._running = bool(self._waiting)
        if self._running:
            loop.call_soon(self._take)
