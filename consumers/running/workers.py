"""Call the operations of a reconciler, in threads or in tasks of an event loop. Know calls, and nothing of objects.

Results are kept until the reconciler's loop takes them; ``wake`` wakes it. The loop makes all decisions.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from .steps import FAILURES


class Outcome(NamedTuple):
    """The outcome of a call: its result, or its error."""

    subject: Any
    answer: Any
    error: BaseException | None


class Workers(Protocol):
    """Run a limited number of calls at the same time."""

    most: int

    def begin(self, subject: Any, call: Callable[[], Any]) -> None:
        """Start a call soon. The loop starts no more than ``most`` at the same time."""

    def take(self) -> list[Outcome]:
        """The calls that ended since the last time."""
        ...

    def close(self) -> None:
        """Start no more calls."""


class ThreadWorkers:
    """Worker threads, started as needed."""

    def __init__(self, most: int, name: str, wake: Callable[[], None]) -> None:
        """``wake`` is called from the threads after each call."""
        self.most = most
        self._name = name
        self._wake = wake
        self._calls: queue.SimpleQueue[tuple[Any, Callable[[], Any]] | None] = queue.SimpleQueue()
        self._done: deque[Outcome] = deque()
        self._under_way = self._threads = 0

    def begin(self, subject: Any, call: Callable[[], Any]) -> None:
        """Call it on the first free thread."""
        self._under_way += 1
        if self._threads < min(self._under_way, self.most):
            self._threads += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._calls.put((subject, call))

    def take(self) -> list[Outcome]:
        """The calls that ended since the last time."""
        done = [self._done.popleft() for _ in range(len(self._done))]
        self._under_way -= len(done)
        return done

    def close(self) -> None:
        """End the threads. A thread that is in a call ends after it."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            subject, call = item
            try:
                done = Outcome(subject, call(), None)
            except BaseException as error:  # no exception may end the thread, which other calls need
                done = Outcome(subject, None, error)
            self._done.append(done)
            del done, item, subject, call  # keep nothing alive while waiting
            self._wake()


class TaskWorkers:
    """Tasks of the event loop in which the reconciler runs."""

    def __init__(self, most: int, name: str, wake: Callable[[], None]) -> None:
        """``wake`` is called after each call."""
        self.most = most
        self._name = name
        self._wake = wake
        self._done: deque[Outcome] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, subject: Any, call: Callable[[], Any]) -> None:
        """Call it in a task."""
        task = asyncio.create_task(self._call(subject, call), name=self._name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def take(self) -> list[Outcome]:
        """The calls that ended since the last time."""
        return [self._done.popleft() for _ in range(len(self._done))]

    def close(self) -> None:
        """Cancel the running calls."""
        for task in list(self._tasks):
            task.cancel()

    async def _call(self, subject: Any, call: Callable[[], Any]) -> None:
        try:
            done = Outcome(subject, await call(), None)
        except FAILURES as error:
            done = Outcome(subject, None, error)
        except asyncio.CancelledError as error:
            self._done.append(Outcome(subject, None, error))
            self._wake()
            raise
        self._done.append(done)
        self._wake()
