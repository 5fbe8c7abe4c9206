"""Wakers: what a watch wakes when it trips, a thread or an asyncio task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from threading import TIMEOUT_MAX, Lock
from typing import Protocol


class Waker(Protocol):
    """What a watch wakes when it trips."""

    def wake(self) -> None:
        """Called once or more, from any thread. Must not raise and must not block."""


class ThreadWaker:
    """Wakes one thread. A plain lock is the fastest primitive to wait on."""

    __slots__ = ("_gate",)

    def __init__(self) -> None:
        """Closed until ``wake``."""
        self._gate = Lock()
        self._gate.acquire()

    def wake(self) -> None:
        """Open the gate. Idempotent."""
        try:
            self._gate.release()
        except RuntimeError:
            pass

    def wait(self, timeout: float | None) -> bool:
        """Block until woken. False if ``timeout`` (seconds) passes first. Raises ValueError for NaN."""
        if timeout is None:
            return self._gate.acquire()
        if timeout != timeout:
            raise ValueError("a timeout must be a number of seconds, or None to wait forever, not NaN")
        return self._gate.acquire(timeout=min(max(0.0, timeout), TIMEOUT_MAX))  # infinity too


class TaskWaker:
    """Wakes one asyncio task through its loop."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        """For the running task."""
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()

    def wake(self) -> None:
        """Have the event loop resume the task. Does nothing if the loop is closed."""
        wake_tasks(self.loop, [self])


def _resolve(wakers: list[TaskWaker]) -> None:
    for waker in wakers:
        if not waker.future.done():
            waker.future.set_result(None)


def wake_tasks(loop: asyncio.AbstractEventLoop, wakers: list[TaskWaker]) -> None:
    """Resume tasks of one loop with one callback: the cost is per callback, not per task."""
    try:
        loop.call_soon_threadsafe(_resolve, wakers)
    except RuntimeError:
        pass


def wake_all(wakers: Iterable[Waker]) -> None:
    """Wake every waiter. A closed event loop does not prevent the others from being woken."""
    tasks: dict[asyncio.AbstractEventLoop, list[TaskWaker]] = {}
    for waker in wakers:
        if isinstance(waker, TaskWaker):
            tasks.setdefault(waker.loop, []).append(waker)
        else:
            waker.wake()
    for loop, waiting in tasks.items():
        wake_tasks(loop, waiting)
