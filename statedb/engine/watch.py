"""Watches: one-shot flags that trip when a commit changes what they watch. Knows keys, not the meaning of rows.

A commit looks up its changed keys among the registered ones. Its cost grows with the number of changes, and not with
the number of watches.

No change is missed, because both sides order their steps:

    watching    add to the registry   then   read the root, and walk from the snapshot's commit to it
    committing  swap the root         then   look up in the registry, and trip

Whichever comes second sees the other. The registry refers to watches weakly, and strongly while anything waits on them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any
from weakref import ref

from .concern import Concern, within
from .keys import prefix_of
from .networks import covering
from .states import KEYS, Key, Redo, Undo, keys_before_and_after, reaches_streams, really_changed
from .wakers import TaskWaker, ThreadWaker, Waker, wake_all


class Watch:
    """A one-shot flag that trips when a later commit changes what it watches. It is never reset.

    A watch from a superseded snapshot may be tripped from the start. It never trips for an aborted transaction, for a
    change of something else, or for a write that left the row equal. Wait for it in a thread (``wait``) or in a task
    (``await watch``), with any number of waiters, before or after it trips. It needs no closing: drop it when you are
    done.
    """

    __slots__ = ("__weakref__", "_entry", "_registry", "_tripped", "_wakers")

    def __init__(self, registry: Registry) -> None:
        """Made by views: ``view.watch(...)``."""
        self._registry = registry
        self._entry: _Entry | None = None
        self._tripped = False
        self._wakers: list[Waker] = []

    def __repr__(self) -> str:
        """Whether it has tripped."""
        return f"<Watch {'tripped' if self._tripped else 'waiting'}>"

    def __bool__(self) -> bool:
        """Raises TypeError: the truth value would be ambiguous."""
        raise TypeError("a Watch has no truth value; use watch.tripped or watch.wait(timeout=0)")

    @property
    def tripped(self) -> bool:
        """Whether what it watches has changed since its snapshot."""
        return self._tripped

    def wait(self, timeout: float | None = None) -> bool:
        """Block this thread until the watch trips. False if ``timeout`` (seconds) passes first.

        Returns at once if it has tripped. In a task use ``await watch`` instead.
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
        """Suspend this task until the watch trips. A cancelled wait leaves nothing behind."""
        if self._tripped:
            return
        waker = TaskWaker()
        try:
            if self._registry.attach(self, waker):
                yield from waker.future.__await__()
        finally:
            self._registry.detach(self, waker)

    def trip(self) -> None:
        """Trip it by hand, and wake its waiters. Streams use it when they are closed."""
        self._registry.trip_now(self)


class _Entry(ref[Watch]):
    """The registry's weak reference to a watch. It names the watch's place: a reference to it would be a cycle."""

    __slots__ = ("concern", "sequence")

    __eq__ = object.__eq__  # by identity: a weak reference that died before its first hash cannot be hashed
    __hash__ = object.__hash__

    concern: Concern
    sequence: int


def _changes_watched_key(watched: dict[Key, set[_Entry]], position: int, undo: Undo, redo: Redo) -> bool:
    """Whether a row of a commit is or was under a watched index key."""
    for primary, after in redo.items():
        keys = after[position + KEYS]
        for key in keys:
            if key in watched:
                return True
        before = undo[primary]
        if before is not None and before[position + KEYS] != keys:
            for key in before[position + KEYS]:
                if key in watched:
                    return True
    return False


class Registry:
    """All watches of one table, by what they watch.

    Takes no lock: each step is an atomic operation on a dict, set or list. A lock would be held while the garbage
    collector or a signal handler runs. A ``__del__`` that uses the table would then wait for its own thread forever,
    and a commit that waited for the lock would wait with it. Instead:

        watching    add the entry to the set of its key, then check that the set is still in the dict (``_register``)
        sweeping    remove the entry from the set; if the set is empty, remove the set from the dict (``_unregister``)

    If a set is removed between the two steps of watching, the check detects it, and the entry is added to the next set.
    A sweeper removes only the set that it emptied: another sweeper may have removed that one already, and a newer one
    may be under the key. An entry that is added to a set after a sweeper found it empty, and before the sweeper removes
    it, has passed the check already: such watches are tripped, early rather than never. With the GIL that can happen
    only with a key whose ``__hash__`` is written in Python.

        attaching   add the waker to the list, then read the flag
        tripping    set the flag, then take the wakers

    Whichever comes second sees the other. All steps may be repeated after an interrupt.
    """

    __slots__ = (
        "_by_kind",
        "_dead",
        "_died",
        "_held",
        "_initializers",
        "_is_network",
        "_keys",
        "_prefixes",
        "_ranges",
        "_secondary",
        "_sizes",
        "_streams",
        "_tables",
        "entries",
    )

    def __init__(self, networked: list[bool]) -> None:
        """One flag for each index, the primary first: whether its prefixes are networks."""
        self.entries: set[_Entry] = set()
        self._dead: dict[Any, None] = {}  # not a deque: without the GIL a copy of one may raise
        self._died = self._dead.setdefault  # one object for all watches, which the collector need not look at again
        self._held: dict[Watch, None] = {}
        self._tables: dict[Key, set[_Entry]] = {}
        self._streams: dict[Key, set[_Entry]] = {}
        self._initializers: dict[Key, set[_Entry]] = {}
        self._keys: list[dict[Key, set[_Entry]]] = [{} for _ in networked]
        self._prefixes: list[dict[Key, set[_Entry]]] = [{} for _ in networked]
        self._ranges: list[dict[Key, set[_Entry]]] = [{} for _ in networked]
        self._sizes: list[dict[int, int]] = [{} for _ in networked]
        self._is_network = networked
        self._by_kind = {
            "table": [self._tables],
            "stream": [self._streams],
            "initializers": [self._initializers],
            "key": self._keys,
            "prefix": self._prefixes,
            "range": self._ranges,
        }
        # For each secondary index: its position, and the watches of its keys, prefixes and ranges.
        self._secondary = [
            (position, self._keys[position], self._prefixes[position], self._ranges[position])
            for position in range(1, len(networked))
        ]

    def __len__(self) -> int:
        """The number of registered watches. May include a few that were dropped."""
        return len(self.entries)

    def waiting(self) -> int:
        """The number of watches that somebody waits on."""
        return len(self._held)

    # -- watching --------------------------------------------------------------------------------------------

    def add(self, concern: Concern, sequence: int) -> Watch:
        """A new, registered watch. ``sequence`` is that of the commit it starts from."""
        watch = Watch(self)
        entry = _Entry(watch, self._died)
        entry.sequence = sequence
        entry.concern = concern
        watch._entry = entry
        places = self._by_kind[concern.kind][concern.position]
        if self._dead:
            self._sweep()
        self.entries.add(entry)
        if concern.kind == "prefix":
            self._sizes[concern.position].setdefault(concern.size, 0)
        for key in concern.keys:
            self._register(places, key, entry)
        return watch

    @staticmethod
    def _register(places: dict[Key, set[_Entry]], key: Key, entry: _Entry) -> None:
        while True:
            watching = places.setdefault(key, set())
            watching.add(entry)
            if places.get(key) is watching:
                return

    def _sweep(self) -> None:
        """Remove the watches that were dropped or have tripped. Several threads may do so at once."""
        dead = self._dead
        while dead:
            for entry in list(dead):
                self._unregister(entry)
                dead.pop(entry, None)  # only afterwards: an interrupt must not lose it

    def _unregister(self, entry: _Entry) -> None:
        self.entries.discard(entry)
        concern = getattr(entry, "concern", None)
        if concern is None:  # an interrupt came before it was set
            return
        places = self._by_kind[concern.kind][concern.position]
        for key in concern.keys:
            watching = places.get(key)
            if watching is None:
                continue
            watching.discard(entry)
            try:
                # There is no call between here and the pop, so no other thread runs in between.
                empty = places[key] is watching and not watching
            except KeyError:  # another sweeper removed it
                continue
            if empty:
                late = places.pop(key, None)
                if late:
                    self._trip_all(late)

    def _trip_all(self, late: Iterable[_Entry]) -> None:
        """Trip entries that were added to a set just before it was removed: they might miss later changes."""
        for watch in [watch for entry in list(late) if (watch := entry()) is not None]:
            self.trip_now(watch)

    # -- waiting ---------------------------------------------------------------------------------------------

    def attach(self, watch: Watch, waker: Waker) -> bool:
        """Wake ``waker`` when the watch trips. False if it has already tripped."""
        watch._wakers.append(waker)
        self._held[watch] = None
        if watch._tripped:  # read last: either we see the flag, or whoever sets it sees the waker
            self._held.pop(watch, None)
            return False
        return True

    def detach(self, watch: Watch, waker: Waker) -> None:
        """Remove a waker. Does nothing if it is not attached."""
        try:
            watch._wakers.remove(waker)
        except ValueError:
            pass
        if not watch._wakers:
            self._held.pop(watch, None)
        if watch._wakers:  # another one was attached just now
            self._held[watch] = None
        if watch._tripped:
            self._held.pop(watch, None)

    # -- tripping --------------------------------------------------------------------------------------------

    def may_concern(self, undo: Undo, redo: Redo) -> bool:
        """A quick check whether a commit may match any watch. False is certain.

        Idle watches on other rows must cost a commit almost nothing: this check is their whole cost.
        """
        if self._tables or self._streams or self._initializers:
            return True
        watched = self._keys[0]
        if watched:
            for key in redo:
                if key in watched:
                    return True
        for position, watched, prefixes, ranges in self._secondary:
            if prefixes or ranges:
                return True
            if watched and _changes_watched_key(watched, position, undo, redo):
                return True
        return bool(self._prefixes[0] or self._ranges[0])

    def trip(self, undo: Undo, redo: Redo, pending_changed: bool, sequence: int, wakers: list[Waker]) -> None:
        """Trip the watches that a commit matches, and add the wakers of their waiters to ``wakers``.

        Called after the root was swapped. The list belongs to the caller, so that an interrupt between tripping and
        waking loses no waiter: the caller wakes those in the list, and calls this again.
        """
        for entry in self._matching(undo, redo, pending_changed):
            if entry.sequence < sequence:
                self._trip(entry(), wakers)
        self._sweep()

    def trip_now(self, watch: Watch) -> None:
        """Trip a watch, whatever has changed. Wakes its waiters again if it has tripped already."""
        try:
            self._trip_and_wake(watch)
        except BaseException:
            self._trip_and_wake(watch)
            raise
        self._sweep()

    def _trip_and_wake(self, watch: Watch) -> None:
        """Idempotent. The wakers stay with the watch until they are woken, so an exception loses none of them."""
        watch._tripped = True  # first the flag, then the wakers: see attach
        wake_all(list(watch._wakers))
        self._trip(watch, [])

    def _trip(self, watch: Watch | None, wakers: list[Waker]) -> None:
        if watch is None:
            return
        watch._tripped = True  # first the flag, then the wakers: see attach
        wakers += watch._wakers
        watch._wakers = []
        self._held.pop(watch, None)
        if watch._entry is not None:
            self._dead[watch._entry] = None
            watch._entry = None

    def _matching(self, undo: Undo, redo: Redo, pending_changed: bool) -> set[_Entry]:
        hit: set[_Entry] = set()
        if self._streams and (pending_changed or any(map(reaches_streams, map(undo.get, redo), redo.values()))):
            hit.update(self._streams.get(None, ()))
        if self._tables and (pending_changed or any(really_changed(undo[key], after) for key, after in redo.items())):
            hit.update(self._tables.get(None, ()))
        if self._initializers and pending_changed:
            hit.update(self._initializers.get(None, ()))
        keys = self._keys[0]
        if keys:
            for key in redo.keys() & list(keys) if len(redo) > len(keys) else redo:
                watching = keys.get(key)
                if watching is not None and really_changed(undo[key], redo[key]):
                    hit.update(watching)
        for position in range(len(self._keys)):
            if (position and self._keys[position]) or self._prefixes[position] or self._ranges[position]:
                self._match_index(position, undo, redo, hit)
        return hit

    def _match_index(self, position: int, undo: Undo, redo: Redo, hit: set[_Entry]) -> None:
        watched = self._keys[position] if position else {}
        for primary, after in redo.items():
            before = undo[primary]
            keys = keys_before_and_after(before, after, position) if position else (primary,)
            for key in keys:
                watching = watched.get(key)
                if watching is not None and really_changed(before, after):
                    hit.update(watching)
                if self._prefixes[position] or self._ranges[position]:
                    for watching in (*self._covering_entries(position, key), *self._containing_entries(position, key)):
                        if really_changed(before, after):
                            hit.update(watching)

    def _covering_entries(self, position: int, key: Key) -> Iterator[set[_Entry]]:
        """The watches of every registered prefix of the key."""
        prefixes = self._prefixes[position]
        sizes = list(self._sizes[position])
        candidates = covering(key, sizes) if self._is_network[position] else [prefix_of(key, size) for size in sizes]
        for prefix in candidates:
            watching = prefixes.get(prefix)
            if watching is not None:
                yield watching

    def _containing_entries(self, position: int, key: Key) -> Iterator[set[_Entry]]:
        """The watches of every registered range that contains the key. Cost: one comparison for each range."""
        ranges = self._ranges[position]
        for limits in list(ranges):
            watching = ranges.get(limits)
            if watching is not None and within(key, *limits):
                yield watching
