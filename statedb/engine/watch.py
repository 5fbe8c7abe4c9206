"""Watches: one-shot flags that trip when a commit changes what they watch. Knows keys, not rows' meaning.

A commit looks its changed keys up among the registered ones, so its cost grows with what changed and not with how
many watches there are.

Nothing is lost, because both sides order their steps:

    asking      add to the registry under its lock   then   read the root, and walk from the snapshot's commit to it
    committing  swap the root                        then   look up under the registry's lock, and trip

Whoever comes second sees the other. The registry holds watches weakly, and strongly while anything waits on them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from threading import Lock
from time import monotonic, sleep
from typing import Any, Protocol
from weakref import ref

from .history import Key, Redo, State, Undo
from .keys import prefix_of
from .networks import covering


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
        """Block until woken; False when the time (seconds) is over."""
        return self._gate.acquire(timeout=-1 if timeout is None else max(0.0, timeout))


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


class Watch:
    """A one-shot flag: trips when a later commit changes what it watches; what happened stays happened.

    Asked of a superseded snapshot it may be tripped from the start. Never trips for an aborted transaction, for
    a change of something else, or for a write that left the row equal. Wait for it in a thread (``wait``) or in a task
    (``await watch``), from as many as you like, before or after it trips. Dropping it is all the cleaning up there is.
    """

    __slots__ = ("__weakref__", "_entry", "_registry", "_tripped", "_wakers")

    def __init__(self, registry: Registry) -> None:
        """Views make these: ``view.watch(...)``."""
        self._registry = registry
        self._entry: _Entry | None = None
        self._tripped = False
        self._wakers: list[Waker] = []

    def __repr__(self) -> str:
        """Whether it tripped."""
        return f"<Watch {'tripped' if self._tripped else 'waiting'}>"

    def __bool__(self) -> bool:
        """Refused: it reads like a question with two meanings."""
        raise TypeError("a Watch has no truth value; ask watch.tripped, or watch.wait(timeout=0)")

    @property
    def tripped(self) -> bool:
        """Whether what it watches has changed since the snapshot it was asked of."""
        return self._tripped

    def wait(self, timeout: float | None = None) -> bool:
        """Block this thread until it trips; False when ``timeout`` (seconds) is over first. At once if it has tripped.

        In a task use ``await watch`` instead.
        """
        if self._tripped:
            return True
        waker = ThreadWaker()
        try:
            if self._registry.attach(self, waker):
                waker.wait(timeout)
        finally:
            self._registry.detach(self, waker)
        return self._tripped

    def __await__(self) -> Generator[Any, None, None]:
        """Suspend this task until it trips. Cancelling leaves nothing behind."""
        if self._tripped:
            return
        waker = TaskWaker()
        try:
            if self._registry.attach(self, waker):
                yield from waker.future.__await__()
        finally:
            self._registry.detach(self, waker)

    def trip(self) -> None:
        """Trip it by hand: what waits on it goes on. Used by streams when they are closed."""
        self._registry.trip_now(self)


class _Entry(ref[Watch]):
    """The registry's weak hold on a watch, and where it stands: named, for holding the place would be a cycle."""

    __slots__ = ("keys", "place", "position", "sequence")

    __eq__ = object.__eq__  # by identity: a weak reference that dies before it was ever hashed could not be hashed
    __hash__ = object.__hash__

    place: str
    position: int
    keys: list[Key]
    sequence: int


def really_changed(before: State | None, after: State) -> bool:
    """Whether a row came, went or differs; a forced write of an equal row is none of these."""
    if before is None or before[2]:
        return not after[2]
    return after[2] or bool(before[0] != after[0])


class Concern:
    """What one watch is about: where it stands in the registry, and how to find it in a commit afterwards."""

    __slots__ = ("keys", "matches", "place", "position")

    def __init__(self, place: str, position: int, keys: list[Key], matches: Callable[[Key], bool] | None) -> None:
        """``place`` is table, key or prefix; ``matches`` tells an index key at ``position``."""
        self.place = place
        self.position = position
        self.keys = keys
        self.matches = matches

    def touched_by(self, undo: Undo, redo: Redo) -> bool:
        """Whether a commit changed something this watch is about. Cost: O(changed rows)."""
        if self.place == "key" and self.position == 0:
            return any(key in redo and really_changed(undo[key], redo[key]) for key in self.keys)
        return any(
            self._stands_in(key, undo[key], after) and really_changed(undo[key], after) for key, after in redo.items()
        )

    def _stands_in(self, key: Key, before: State | None, after: State) -> bool:
        matches = self.matches
        if matches is None:
            return True
        if self.position == 0:
            return matches(key)
        return any(map(matches, keys_before_and_after(before, after, self.position)))


def keys_before_and_after(before: State | None, after: State, position: int) -> tuple[Key, ...]:
    """The index keys of a row before and after a change."""
    old = () if before is None or before[2] else before[3][position - 1]
    new = () if after[2] else after[3][position - 1]
    return old if old == new else old + new


def table_concern() -> Concern:
    """Any change of the table, initializers included."""
    return Concern("table", 0, [None], None)


def key_concern(position: int, keys: list[Key]) -> Concern:
    """The rows under any of these keys of an index (position 0: the primary)."""
    wanted = frozenset(keys)
    return Concern("key", position, keys, wanted.__contains__)


def prefix_concern(position: int, prefix: Key, matches: Callable[[Key], bool]) -> Concern:
    """The rows under a prefix of an index."""
    return Concern("prefix", position, [prefix], matches)


def _touches(watched: dict[Key, set[_Entry]], place: int, undo: Undo, redo: Redo) -> bool:
    """Whether any row of a commit stands or stood under a watched index key."""
    for primary, after in redo.items():
        keys = after[3]
        for key in keys[place]:
            if key in watched:
                return True
        before = undo[primary]
        if before is not None and before[3] != keys:
            for key in before[3][place]:
                if key in watched:
                    return True
    return False


class Registry:
    """All watches of one table, by what they watch."""

    __slots__ = (
        "_dead",
        "_held",
        "_keys",
        "_lock",
        "_networked",
        "_prefixes",
        "_secondary",
        "_sizes",
        "_tables",
        "entries",
    )

    def __init__(self, networked: list[bool]) -> None:
        """One flag for each index, the primary first: whether its prefixes are networks."""
        self._lock = Lock()
        self.entries: set[_Entry] = set()
        self._dead: deque[Any] = deque()
        self._held: dict[Watch, None] = {}
        self._tables: dict[Key, set[_Entry]] = {}
        self._keys: list[dict[Key, set[_Entry]]] = [{} for _ in networked]
        self._prefixes: list[dict[Key, set[_Entry]]] = [{} for _ in networked]
        self._sizes: list[dict[int, int]] = [{} for _ in networked]
        self._networked = networked
        # Of each secondary index: its place among a row's keys, and who watches its keys and prefixes.
        self._secondary = [
            (position - 1, self._keys[position], self._prefixes[position]) for position in range(1, len(networked))
        ]

    def __len__(self) -> int:
        """How many watches are registered, a few dropped ones included."""
        return len(self.entries)

    def waiting(self) -> int:
        """How many watches somebody waits on."""
        return len(self._held)

    # -- asking ----------------------------------------------------------------------------------------------

    def add(self, concern: Concern, sequence: int, size: int = 0) -> Watch:
        """A new watch, registered. ``sequence`` is that of the commit it looks from; ``size`` a prefix's."""
        watch = Watch(self)
        entry = _Entry(watch, self._dead.append)
        entry.place, entry.position, entry.sequence = concern.place, concern.position, sequence
        entry.keys = concern.keys
        watch._entry = entry
        places = self._places(concern.place, concern.position)
        with self._lock:
            self._sweep()
            self.entries.add(entry)
            for key in concern.keys:
                places.setdefault(key, set()).add(entry)
            if concern.place == "prefix":
                self._sizes[concern.position].setdefault(size, 0)
        return watch

    def _places(self, place: str, position: int) -> dict[Key, set[_Entry]]:
        if place == "table":
            return self._tables
        return (self._keys if place == "key" else self._prefixes)[position]

    def _sweep(self) -> None:
        """Take dropped watches out. Their callbacks only note them; whoever holds the lock next cleans up."""
        dead = self._dead
        while dead:
            self._take_out(dead[0])  # taken off the list only afterwards: an interrupt must not lose it
            dead.popleft()

    def _take_out(self, entry: _Entry) -> None:
        self.entries.discard(entry)
        if not hasattr(entry, "keys"):  # an interrupt came before they were set
            return
        places = self._places(entry.place, entry.position)
        for key in entry.keys:
            standing = places.get(key)
            if standing is not None:
                standing.discard(entry)
                if not standing:
                    places.pop(key, None)

    # -- waiting ---------------------------------------------------------------------------------------------

    def attach(self, watch: Watch, waker: Waker) -> bool:
        """Have the waker woken when the watch trips; False where it has tripped already."""
        with self._lock:
            if watch._tripped:
                return False
            watch._wakers.append(waker)
            self._held[watch] = None
            return True

    def detach(self, watch: Watch, waker: Waker) -> None:
        """Forget a waker. Nothing happens where it is not attached."""
        with self._lock:
            if waker in watch._wakers:
                watch._wakers.remove(waker)
            if not watch._wakers:
                self._held.pop(watch, None)

    # -- tripping --------------------------------------------------------------------------------------------

    def may_concern(self, undo: Undo, redo: Redo) -> bool:
        """Whether a commit may concern any watch; False is certain. The quick look, without the lock.

        Idle watches on other rows must cost a commit next to nothing: this is all that they cost.
        """
        if self._tables:
            return True
        watched = self._keys[0]
        if watched:
            for key in redo:
                if key in watched:
                    return True
        for place, watched, prefixes in self._secondary:
            if prefixes:
                return True
            if watched and _touches(watched, place, undo, redo):
                return True
        return bool(self._prefixes[0])

    def trip(self, undo: Undo, redo: Redo, pending_changed: bool, sequence: int, wakers: list[Waker]) -> None:
        """Trip what a commit concerns; ``wakers`` grows by whom to wake, outside of the lock.

        Called after the root was swapped. The list is the caller's, so that an interrupt between tripping and waking
        loses nobody: it wakes whom the list holds, and calls again.
        """
        with self._lock:
            self._sweep()
            for entry in self._hit(undo, redo, pending_changed):
                if entry.sequence < sequence:
                    self._set(entry(), wakers)

    def trip_now(self, watch: Watch) -> None:
        """Trip a watch, whatever changed."""
        wakers: list[Waker] = []
        with self._lock:
            self._set(watch, wakers)
        wake_all(wakers)

    def _set(self, watch: Watch | None, wakers: list[Waker]) -> None:
        if watch is None:
            return
        wakers += watch._wakers
        watch._tripped = True
        watch._wakers = []
        self._held.pop(watch, None)
        if watch._entry is not None:
            self._take_out(watch._entry)

    def _hit(self, undo: Undo, redo: Redo, pending_changed: bool) -> set[_Entry]:
        hit: set[_Entry] = set()
        if self._tables and (pending_changed or any(really_changed(undo[key], after) for key, after in redo.items())):
            hit.update(self._tables[None])
        keys = self._keys[0]
        if keys:
            for key in redo.keys() & keys.keys() if len(redo) > len(keys) else redo:
                standing = keys.get(key)
                if standing is not None and really_changed(undo[key], redo[key]):
                    hit.update(standing)
        for position in range(len(self._keys)):
            if (position and self._keys[position]) or self._prefixes[position]:
                self._hit_index(position, undo, redo, hit)
        return hit

    def _hit_index(self, position: int, undo: Undo, redo: Redo, hit: set[_Entry]) -> None:
        watched = self._keys[position] if position else {}
        for primary, after in redo.items():
            before = undo[primary]
            keys = keys_before_and_after(before, after, position) if position else (primary,)
            for key in keys:
                standing = watched.get(key)
                if standing is not None and really_changed(before, after):
                    hit.update(standing)
                if self._prefixes[position]:
                    for standing in self._standing_over(position, key):
                        if really_changed(before, after):
                            hit.update(standing)

    def _standing_over(self, position: int, key: Key) -> Iterator[set[_Entry]]:
        """Who stands at any registered prefix of the key."""
        prefixes = self._prefixes[position]
        sizes = list(self._sizes[position])
        candidates = covering(key, sizes) if self._networked[position] else [prefix_of(key, size) for size in sizes]
        for prefix in candidates:
            standing = prefixes.get(prefix)
            if standing is not None:
                yield standing


class WatchSet:
    """Several watches, of any tables, waited for as one; tripped ones are handed out and leave the set.

    ``settle`` (seconds) is how long to go on collecting after the first one tripped. Watches may be added from any
    thread while another waits; one waiter at a time.
    """

    __slots__ = ("_lock", "_settle", "_waker", "_watches")

    def __init__(self, *watches: Watch, settle: float = 0.0) -> None:
        """A set of these watches."""
        self._watches: dict[Watch, None] = dict.fromkeys(watches)
        self._settle = settle
        self._waker: Waker | None = None
        self._lock = Lock()

    def __len__(self) -> int:
        """How many are in the set, tripped ones included until they are handed out."""
        return len(self._watches)

    def __contains__(self, watch: object) -> bool:
        """Whether this watch is in the set."""
        return watch in self._watches

    def __iter__(self) -> Iterator[Watch]:
        """The watches at this moment."""
        return iter(list(self._watches))

    def add(self, *watches: Watch) -> None:
        """Add watches; a waiting thread or task waits for them as well. Those in the set already stay as they are."""
        with self._lock:
            for watch in watches:
                if watch in self._watches:
                    continue
                self._watches[watch] = None
                if self._waker is not None and not watch._registry.attach(watch, self._waker):
                    self._waker.wake()

    def discard(self, *watches: Watch) -> None:
        """Take watches out; those that are not in the set are passed over."""
        with self._lock:
            for watch in watches:
                self._watches.pop(watch, None)
                if self._waker is not None:
                    watch._registry.detach(watch, self._waker)

    def clear(self) -> None:
        """Take all watches out. A waiter goes on waiting, for what is added later."""
        self.discard(*self)

    def wait(self, timeout: float | None = None) -> set[Watch]:
        """Block until one has tripped and the settle time is over; the tripped ones, taken out of the set.

        The empty set when ``timeout`` (seconds) is over first; with no watches at all it waits for the timeout.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while not self._any_tripped():  # again where the one that tripped was taken out before we ran
            waker = ThreadWaker()
            try:
                self._attach(waker)
                if not self._any_tripped() and not waker.wait(None if deadline is None else deadline - monotonic()):
                    break
            finally:
                self._detach(waker)
        if self._settle and self._any_tripped():
            left = self._settle if deadline is None else min(self._settle, deadline - monotonic())
            sleep(max(0.0, left))
        return self._taken()

    def __await__(self) -> Generator[Any, None, set[Watch]]:
        """The same for a task."""
        while not self._any_tripped():
            waker = TaskWaker()
            try:
                self._attach(waker)
                if not self._any_tripped():
                    yield from waker.future.__await__()
            finally:
                self._detach(waker)
        if self._settle and self._any_tripped():
            yield from asyncio.sleep(self._settle).__await__()
        return self._taken()

    def _any_tripped(self) -> bool:
        return any(watch._tripped for watch in self)

    def _attach(self, waker: Waker) -> None:
        with self._lock:
            if self._waker is not None:
                raise RuntimeError("another thread or task waits on this WatchSet; make one for each waiter")
            self._waker = waker
            for watch in self._watches:
                watch._registry.attach(watch, waker)

    def _detach(self, waker: Waker) -> None:
        with self._lock:
            if self._waker is waker:
                self._waker = None
            for watch in self._watches:
                watch._registry.detach(watch, waker)

    def _taken(self) -> set[Watch]:
        with self._lock:
            tripped = {watch for watch in self._watches if watch._tripped}
            for watch in tripped:
                del self._watches[watch]
            return tripped
