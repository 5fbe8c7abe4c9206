"""Who calls the operations of a reconciler: threads, or tasks of an event loop. Knows calls and nothing of objects.

What a call gave is kept until the reconciler's loop, which ``wake`` wakes, asks for it: every decision is the loop's.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from .steps import FAILURES


class Done(NamedTuple):
    """What became of a call: its answer, or why it failed."""

    subject: Any
    answer: Any
    error: BaseException | None


class Workers(Protocol):
    """So many calls at once."""

    most: int

    def begin(self, subject: Any, call: Callable[[], Any]) -> None:
        """Call it soon. The loop begins no more than ``most`` at once."""

    def take(self) -> list[Done]:
        """What ended since the last time."""
        ...

    def close(self) -> None:
        """No call begins any more."""


class ThreadWorkers:
    """Threads of their own, begun as they are needed."""

    def __init__(self, most: int, name: str, wake: Callable[[], None]) -> None:
        """``wake`` is called from those threads after each call."""
        self.most = most
        self._name = name
        self._wake = wake
        self._calls: queue.SimpleQueue[tuple[Any, Callable[[], Any]] | None] = queue.SimpleQueue()
        self._done: deque[Done] = deque()
        self._under_way = self._threads = 0

    def begin(self, subject: Any, call: Callable[[], Any]) -> None:
        """Call it on the first thread that is free."""
        self._under_way += 1
        if self._threads < min(self._under_way, self.most):
            self._threads += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._calls.put((subject, call))

    def take(self) -> list[Done]:
        """What ended since the last time."""
        done = [self._done.popleft() for _ in range(len(self._done))]
        self._under_way -= len(done)
        return done

    def close(self) -> None:
        """The threads end; one that works ends after its call."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            subject, call = item
            try:
                done = Done(subject, call(), None)
            except BaseException as error:  # whatever it is, it must not end the thread, which others need
                done = Done(subject, None, error)
            self._done.append(done)
            del done, item, subject, call  # hold nothing while waiting
            self._wake()


class TaskWorkers:
    """Tasks of the event loop in which the reconciler runs."""

    def __init__(self, most: int, name: str, wake: Callable[[], None]) -> None:
        """``wake`` is called after each call."""
        self.most = most
        self._name = name
        self._wake = wake
        self._done: deque[Done] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, subject: Any, call: Callable[[], Any]) -> None:
        """Call it in a task."""
        task = asyncio.create_task(self._call(subject, call), name=self._name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def take(self) -> list[Done]:
        """What ended since the last time."""
        return [self._done.popleft() for _ in range(len(self._done))]

    def close(self) -> None:
        """What is under way is cancelled."""
        for task in list(self._tasks):
            task.cancel()

    async def _call(self, subject: Any, call: Callable[[], Any]) -> None:
        try:
            done = Done(subject, await call(), None)
        except FAILURES as error:
            done = Done(subject, None, error)
        except asyncio.CancelledError as error:
            self._done.append(Done(subject, None, error))
            self._wake()
            raise
        self._done.append(done)
        self._wake()
