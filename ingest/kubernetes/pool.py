"""A few threads for work that may block. There are more of them only while some work blocks. Knows nothing of its work.

Four pieces of work run at a time. Another one also begins if none has begun for a quarter of a second. So work that
hangs takes a thread, and stops no other work. Threads without work end.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

Work = Callable[[], None]


class Pool:
    """Runs work in the order of `submit`. For any thread."""

    def __init__(self, name: str, *, usual: int = 4, overdue_s: float = 0.25, idle_s: float = 1.0) -> None:
        """There are no threads yet. ``name`` is the name of its threads.

        ``usual`` pieces of work run at a time, and one more whenever none has begun for ``overdue_s``. A thread ends
        when it had no work for ``idle_s``.
        """
        self._name = name
        self._usual = usual
        self._overdue_s = overdue_s
        self._idle_s = idle_s
        self._changed = threading.Condition()
        self._works: deque[Work] = deque()
        self._threads: list[threading.Thread] = []
        self._waiting = 0
        """The threads that wait for work. There is at least one while there is work."""
        self._running = 0
        self._begun_at = 0.0
        self._is_closed = False

    def submit(self, work: Work) -> None:
        """Run it on one of the threads. It may not raise. After `close` it is ignored.

        Raises RuntimeError if it needs a thread, and no thread can be started.
        """
        with self._changed:
            if self._is_closed:
                return
            if not self._works:
                self._begun_at = time.monotonic()
            self._works.append(work)
            self._wake()

    def close(self) -> None:
        """Drop work that has not begun. May be called from any thread and repeatedly."""
        with self._changed:
            self._is_closed = True
            self._works.clear()
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until all threads have ended, after `close`."""
        for thread in self._threads:
            thread.join()

    def _wake(self) -> None:
        """Let a thread look at the work. Called under the lock."""
        if self._waiting:
            self._changed.notify_all()
            return
        thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._running:
                raise
            return  # a running thread takes the work later
        self._waiting += 1
        self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]

    def _serve(self) -> None:
        work = self._next()
        while work is not None:
            work()
            with self._changed:
                self._running -= 1
                self._waiting += 1
                self._changed.notify_all()  # a place is free
            work = self._next()

    def _next(self) -> Work | None:
        """Wait for work. None if the thread is to end."""
        with self._changed:
            idle_until = time.monotonic() + self._idle_s
            while not self._is_closed:
                now, due_at = time.monotonic(), self._begun_at + self._overdue_s
                if self._works and (self._running < self._usual or now >= due_at):
                    return self._begin(now)
                if not self._works and now >= idle_until:
                    break
                self._changed.wait((due_at if self._works else idle_until) - now)
            self._waiting -= 1
            return None

    def _begin(self, now: float) -> Work:
        work = self._works.popleft()
        self._begun_at = now
        self._running += 1
        self._waiting -= 1
        if self._works:
            self._wake()
        return work
