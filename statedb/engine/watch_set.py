"""A wait on several watches at once."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from threading import get_ident
from time import monotonic, sleep
from typing import Any
from weakref import WeakSet

from . import locks
from .locks import SafeLock
from .wakers import TaskWaker, ThreadWaker, Waker
from .watch import Watch


class WatchSet:
    """Several watches, of any tables, to wait for at once. Tripped ones are returned and leave the set.

    ``settle`` (seconds) is how long to go on collecting after the first one has tripped. Any thread may add watches
    while another one waits. Only one thread or task may wait at a time.
    """

    __slots__ = ("__weakref__", "_lock", "_settle", "_thread", "_waker", "_watches")

    def __init__(self, *watches: Watch, settle: float = 0.0) -> None:
        """A set of these watches."""
        self._watches: dict[Watch, None] = dict.fromkeys(watches)
        self._settle = settle
        self._waker: Waker | None = None
        self._thread = 0  # the last one that waited
        self._lock = SafeLock()
        _SETS.add(self)

    def __len__(self) -> int:
        """The number of watches in the set. Tripped ones count until they are returned."""
        return len(self._watches)

    def __contains__(self, watch: object) -> bool:
        """Whether this watch is in the set."""
        return watch in self._watches

    def __iter__(self) -> Iterator[Watch]:
        """The watches at this moment."""
        return iter(list(self._watches))

    def add(self, *watches: Watch) -> None:
        """Add watches. A waiting thread or task waits for them too. Watches that are already in the set are ignored."""
        with self._lock:
            waker = self._waker  # read once: a waiter gives it up without the lock
            for watch in watches:
                self._watches[watch] = None
                # An earlier call may have been interrupted before it attached the waker.
                if waker is not None and waker not in watch._wakers and not watch._registry.attach(watch, waker):
                    waker.wake()

    def discard(self, *watches: Watch) -> None:
        """Remove watches. Those that are not in the set are ignored."""
        with self._lock:
            waker = self._waker
            for watch in watches:
                self._watches.pop(watch, None)
                if waker is not None:
                    watch._registry.detach(watch, waker)

    def clear(self) -> None:
        """Remove all watches. A waiter goes on waiting for watches that are added later."""
        self.discard(*self)

    def wait(self, timeout: float | None = None) -> set[Watch]:
        """Block until a watch has tripped and the settle time is over. Returns the tripped ones and removes them.

        Returns an empty set if ``timeout`` (seconds) passes first. An empty WatchSet waits for the timeout.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while not self._any_tripped():  # again if the tripped one was discarded before we ran
            waker = ThreadWaker()
            try:
                self._attach(waker)
                if not self._any_tripped() and not waker.wait(None if deadline is None else deadline - monotonic()):
                    break
            finally:
                if self._waker is waker:  # no call comes before this, so an exception cannot leave the waker here
                    self._waker = None
                self._detach(waker)
        if self._settle and self._any_tripped():
            left = self._settle if deadline is None else min(self._settle, deadline - monotonic())
            sleep(max(0.0, left))
        return self._take_tripped()

    def __await__(self) -> Generator[Any, None, set[Watch]]:
        """``wait`` for a task, without a timeout."""
        while not self._any_tripped():
            waker = TaskWaker()
            try:
                self._attach(waker)
                if not self._any_tripped():
                    yield from waker.future.__await__()
            finally:
                if self._waker is waker:  # no call comes before this, so an exception cannot leave the waker here
                    self._waker = None
                self._detach(waker)
        if self._settle and self._any_tripped():
            yield from asyncio.sleep(self._settle).__await__()
        return self._take_tripped()

    def _any_tripped(self) -> bool:
        for watch in list(self._watches):  # noqa: SIM110  # half the time of `any`; each wait asks three times
            if watch._tripped:
                return True
        return False

    def _attach(self, waker: Waker) -> None:
        with self._lock:
            if self._waker is not None:
                raise RuntimeError("another thread or task waits on this WatchSet; make one for each waiter")
            self._thread = get_ident()
            self._waker = waker
            for watch in list(self._watches):
                watch._registry.attach(watch, waker)

    def _detach(self, waker: Waker) -> None:
        with self._lock:
            for watch in list(self._watches):
                watch._registry.detach(watch, waker)

    def _take_tripped(self) -> set[Watch]:
        with self._lock:
            tripped = {watch for watch in list(self._watches) if watch._tripped}
            for watch in tripped:
                self._watches.pop(watch, None)
            return tripped


_SETS: WeakSet[WatchSet] = WeakSet()


def after_fork() -> None:
    """In a child process: the other threads of the parent, and all tasks, do not wait any more, and hold no lock."""
    for each in list(_SETS):
        each._lock = locks.after_fork(each._lock)
        if each._thread != get_ident() or isinstance(each._waker, TaskWaker):
            each._waker = None
