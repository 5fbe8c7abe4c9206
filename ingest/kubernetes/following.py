"""Follows the resources of a source with one thread, which reads all open watches, and a pool, which opens them.

        ┌── pool: list, open the watch, check the server ◀──┐
   Watch│                                                   │ the pause is over
        ▼                                                   │
the thread of `next`: wait for all watches at once ─▶ read ─▶ the watch has ended

A resource belongs to one of the two at a time, so its messages stay in order. Reading never waits for a server. What a
server may delay is done by the pool, and delays no other resource.
"""

from __future__ import annotations

import heapq
import itertools
import math
import selectors
import time
from collections import deque
from collections.abc import Iterable
from threading import get_ident

from .follow import Follower
from .messages import Crashed, Message
from .pool import Pool
from .wakeup import Wakeup
from .watch import Watch


class Following:
    """Some followers. `post` and `stop` are for any thread, all other methods for the thread of the source."""

    def __init__(self, name: str) -> None:
        """Nothing is followed yet. ``name`` is the name of the threads of the pool."""
        self._pool = Pool(name)
        self._messages: deque[Message] = deque()
        self._connected: deque[tuple[Follower, Watch | float]] = deque()
        """What `Follower.connect` returned on the pool."""
        self._open: dict[int, _Open] = {}
        """By their descriptors."""
        self._ready: deque[_Open] = deque()
        """Watches to read before the next wait."""
        self._unfinished: list[_Open] = []
        """Watches to read after the next look at all others, because they had too much for once."""
        self._pauses: list[tuple[float, int, Follower]] = []
        """A heap, by the ends of the pauses."""
        self._numbers = itertools.count()
        self._silence_at = math.inf
        """No watch has been silent for too long before this time."""
        self._thread = 0
        self._wakeup = Wakeup()
        self._selector: selectors.BaseSelector | None = None

    def start(self, followers: Iterable[Follower]) -> None:
        """Connect these followers. Their messages must go to `post`."""
        self._thread = get_ident()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakeup.open(), selectors.EVENT_READ)
        for follower in followers:
            self._submit(follower)

    def post(self, message: Message) -> None:
        """Add a message for `next`."""
        self._messages.append(message)
        if get_ident() != self._thread:
            self._wakeup.wake()

    def next(self, timeout_s: float) -> Message | None:
        """The next message; None if none came in time. It may return None sooner, after work without a message."""
        if not self._messages and not self._ready:
            self._wait(0.0 if self._unfinished else timeout_s)
        if not self._messages and self._ready:
            self._read(self._ready.popleft())
        return self._messages.popleft() if self._messages else None

    def stop(self) -> None:
        """Let `next` return, and begin nothing new. Closing the `Api` cancels requests in progress. May be repeated."""
        self._pool.close()
        self._wakeup.wake()

    def close(self) -> None:
        """Wait for the pool, and close all watches, after `stop`."""
        self._pool.join()
        for watch in [each.watch for each in self._open.values()] + [outcome for _, outcome in self._connected]:
            if isinstance(watch, Watch):
                watch.close()
        self._open.clear()
        self._connected.clear()
        self._wakeup.close()
        if self._selector is not None:
            self._selector.close()

    # --- on the pool --------------------------------------------------------------------------------------------------

    def _submit(self, follower: Follower) -> None:
        self._pool.submit(lambda: self._connect(follower))

    def _connect(self, follower: Follower) -> None:
        try:
            outcome = follower.connect()
        except Exception as error:  # whatever it is, the owner reports it
            self.post(Crashed(follower.resource, error))
            return
        self._connected.append((follower, outcome))
        self._wakeup.wake()

    # --- on the thread of the source ----------------------------------------------------------------------------------

    def _wait(self, timeout_s: float) -> None:
        """Wait until something has come, or something is due. Then begin what is due."""
        assert self._selector is not None
        now = time.monotonic()
        due_at = min(self._silence_at, self._pauses[0][0] if self._pauses else math.inf)
        events = self._selector.select(max(0.0, min(timeout_s, due_at - now)))
        now = time.monotonic()
        self._ready += self._unfinished
        self._unfinished.clear()
        for key, _ in events:
            opened = self._open.get(key.fd)
            if opened is None:
                self._wakeup.reset()
            elif opened not in self._ready:
                self._ready.append(opened)
        while self._connected:
            self._go_on(*self._connected.popleft(), now)
        while self._pauses and self._pauses[0][0] <= now:
            self._submit(heapq.heappop(self._pauses)[2])
        if self._silence_at <= now:
            self._end_silent(now)

    def _go_on(self, follower: Follower, outcome: Watch | float, now: float) -> None:
        """Read an open watch, or connect again after a pause."""
        if not isinstance(outcome, Watch):
            if outcome <= 0:
                self._submit(follower)
                return
            heapq.heappush(self._pauses, (now + outcome, next(self._numbers), follower))
            return
        assert self._selector is not None
        opened = _Open(follower, outcome, now)
        self._open[opened.descriptor] = opened
        self._selector.register(opened.descriptor, selectors.EVENT_READ)
        self._silence_at = min(self._silence_at, now + outcome.silence_s)
        self._ready.append(opened)  # something may have come together with the head of the answer

    def _read(self, opened: _Open) -> None:
        now = time.monotonic()
        pause_s = opened.follower.read(opened.watch)
        if opened.watch.was_heard:
            opened.heard_at = now
        elif pause_s is None and opened.silent_at <= now:  # parts of an event come, and no event
            pause_s = opened.follower.give_up(opened.watch)
        if pause_s is not None:
            self._end(opened, pause_s)
        elif opened.watch.is_ready:
            self._unfinished.append(opened)

    def _end_silent(self, now: float) -> None:
        """End the watches that were silent for too long. One that is still to be read is not silent."""
        silent = [each for each in self._open.values() if each.silent_at <= now and each not in self._ready]
        for opened in silent:
            self._end(opened, opened.follower.give_up(opened.watch))
        self._silence_at = min([each.silent_at for each in self._open.values()], default=math.inf)

    def _end(self, opened: _Open, pause_s: float) -> None:
        assert self._selector is not None
        self._selector.unregister(opened.descriptor)  # before its connection is used for something else
        del self._open[opened.descriptor]
        opened.watch.close()
        self._go_on(opened.follower, pause_s, time.monotonic())


class _Open:
    """An open watch, and when an event came from it last."""

    __slots__ = ("descriptor", "follower", "heard_at", "watch")

    def __init__(self, follower: Follower, watch: Watch, now: float) -> None:
        self.follower = follower
        self.watch = watch
        self.descriptor = watch.fileno()
        self.heard_at = now

    @property
    def silent_at(self) -> float:
        """When it has been silent for too long."""
        return self.heard_at + self.watch.silence_s
