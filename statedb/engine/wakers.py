"""Wakers: what a watch wakes when it trips, a thread or an asyncio task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from threading import TIMEOUT_MAX, Lock
from typing import Protocol


class Waker(Protocol):
    """What a watch wakes when it trips."""

    def wake(self) -> None:
        """Called once or more, from any thread; must not raise into the committer and must not block."""


class ThreadWaker:
    """Wakes one thread. A bare lock is the fastest thing to wait on."""

    __slots__ = ("_gate",)

    def __init__(self) -> None:
        """Closed until ``wake``."""
        self._gate = Lock()
        self._gate.acquire()

    def wake(self) -> None:
        """Open the gate; a second time does nothing."""
        try:
            self._gate.release()
        except RuntimeError:
            pass

    def wait(self, timeout: float | None) -> bool:
        """Block until woken; False when the time (seconds) is over. Raises ValueError where it is not a number."""
        if timeout is None:
            return self._gate.acquire()
        if timeout != timeout:
            raise ValueError("a timeout must be a number of seconds, or None to wait forever, and not NaN")
        return self._gate.acquire(timeout=min(max(0.0, timeout), TIMEOUT_MAX))  # infinity is years enough


class TaskWaker:
    """Wakes one asyncio task through its loop."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        """For the running task."""
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()

    def wake(self) -> None:
        """Have the loop resume the task; a loop that is closed has nobody to resume."""
        wake_tasks(self.loop, [self])


def _resolve(wakers: list[TaskWaker]) -> None:
    for waker in wakers:
        if not waker.future.done():
            waker.future.set_result(None)


def wake_tasks(loop: asyncio.AbstractEventLoop, wakers: list[TaskWaker]) -> None:
    """Resume tasks of one loop with one callback: the hand-over is what costs, not the number of tasks."""
    try:
        loop.call_soon_threadsafe(_resolve, wakers)
    except RuntimeError:
        pass


def wake_all(wakers: Iterable[Waker]) -> None:
    """Wake every waiter, each on its own: one that fails does not keep the others asleep."""
    tasks: dict[asyncio.AbstractEventLoop, list[TaskWaker]] = {}
    for waker in wakers:
        if isinstance(waker, TaskWaker):
            tasks.setdefault(waker.loop, []).append(waker)
        else:
            waker.wake()
    for loop, waiting in tasks.items():
        wake_tasks(loop, waiting)
