"""Watches: one-shot flags that trip when a commit changes what they watch. Knows keys, not rows' meaning.

A commit looks its changed keys up among the registered ones, so its cost grows with what changed and not with how
many watches there are.

Nothing is lost, because both sides order their steps:

    asking      add to the registry   then   read the root, and walk from the snapshot's commit to it
    committing  swap the root         then   look up in the registry, and trip

Whoever comes second sees the other. The registry holds watches weakly, and strongly while anything waits on them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Any
from weakref import ref

from .concern import Concern, within
from .keys import prefix_of
from .networks import covering
from .states import Key, Redo, Undo, keys_before_and_after, reaches_streams, really_changed
from .wakers import TaskWaker, ThreadWaker, Waker, wake_all


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

    __slots__ = ("concern", "sequence")

    __eq__ = object.__eq__  # by identity: a weak reference that dies before it was ever hashed could not be hashed
    __hash__ = object.__hash__

    concern: Concern
    sequence: int


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
    """All watches of one table, by what they watch. Takes no lock: each step is an atomic one on a dict, set or list.

    A lock would be held while the collector or a signal handler runs, and a ``__del__`` that uses the table would wait
    for its own thread forever; a commit that waited for the lock would wait with it. Instead:

        asking      entry into the set of its key, then look whether that set still stands (``_register``)
        sweeping    entry out of the set; where the set is empty, set out of the dict (``_take_out``)

    A set that was swept away between the two steps of asking is found out by the look, and the entry goes into the next
    one. A sweeper takes out no set but the one it emptied: another sweeper may have taken that out already, and a newer
    one stand under the key. Who comes into a set between the look that finds it empty and the step that takes it out
    has looked already: these are tripped, early rather than never. With the GIL that takes a key whose ``__hash__`` is
    written in Python.

        attaching   waker into the list, then look at the flag
        tripping    set the flag, then take the wakers

    Whoever comes second sees the other. All steps may be run again after an interrupt.
    """

    __slots__ = (
        "_dead",
        "_held",
        "_initializers",
        "_keys",
        "_networked",
        "_places",
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
        self._dead: deque[Any] = deque()
        self._held: dict[Watch, None] = {}
        self._tables: dict[Key, set[_Entry]] = {}
        self._streams: dict[Key, set[_Entry]] = {}
        self._initializers: dict[Key, set[_Entry]] = {}
        self._keys: list[dict[Key, set[_Entry]]] = [{} for _ in networked]
        self._prefixes: list[dict[Key, set[_Entry]]] = [{} for _ in networked]
        self._ranges: list[dict[Key, set[_Entry]]] = [{} for _ in networked]
        self._sizes: list[dict[int, int]] = [{} for _ in networked]
        self._networked = networked
        self._places = {
            "table": [self._tables],
            "stream": [self._streams],
            "initializers": [self._initializers],
            "key": self._keys,
            "prefix": self._prefixes,
            "range": self._ranges,
        }
        # Of each secondary index: its place among a row's keys, and who watches its keys, prefixes and ranges.
        self._secondary = [
            (position - 1, self._keys[position], self._prefixes[position], self._ranges[position])
            for position in range(1, len(networked))
        ]

    def __len__(self) -> int:
        """How many watches are registered, a few dropped ones included."""
        return len(self.entries)

    def waiting(self) -> int:
        """How many watches somebody waits on."""
        return len(self._held)

    # -- asking ----------------------------------------------------------------------------------------------

    def add(self, concern: Concern, sequence: int) -> Watch:
        """A new watch, registered. ``sequence`` is that of the commit it looks from."""
        watch = Watch(self)
        entry = _Entry(watch, self._dead.append)
        entry.sequence = sequence
        entry.concern = concern
        watch._entry = entry
        places = self._places[concern.place][concern.position]
        if self._dead:
            self._sweep()
        self.entries.add(entry)
        if concern.place == "prefix":
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
        """Take out the watches that were dropped or have tripped. Several threads may do so at once."""
        dead = self._dead
        while dead:
            for entry in list(dead):
                self._take_out(entry)
                try:
                    dead.remove(entry)  # only afterwards: an interrupt must not lose it. O(1), for it is the first
                except ValueError:  # another thread was faster
                    pass

    def _take_out(self, entry: _Entry) -> None:
        self.entries.discard(entry)
        concern = getattr(entry, "concern", None)
        if concern is None:  # an interrupt came before it was set
            return
        places = self._places[concern.place][concern.position]
        for key in concern.keys:
            watching = places.get(key)
            if watching is None:
                continue
            watching.discard(entry)
            try:
                # From here to the pop there is no call, so no other thread comes in between.
                empty = places[key] is watching and not watching
            except KeyError:  # another sweeper took it out
                continue
            if empty:
                late = places.pop(key, None)
                if late:
                    self._trip_all(late)

    def _trip_all(self, late: Iterable[_Entry]) -> None:
        """Trip those who came into a set just before it was taken away: they might miss what comes."""
        for watch in [watch for entry in list(late) if (watch := entry()) is not None]:
            self.trip_now(watch)

    # -- waiting ---------------------------------------------------------------------------------------------

    def attach(self, watch: Watch, waker: Waker) -> bool:
        """Have the waker woken when the watch trips; False where it has tripped already."""
        watch._wakers.append(waker)
        self._held[watch] = None
        if watch._tripped:  # looked at last: either we see the flag, or whoever sets it sees the waker
            self._held.pop(watch, None)
            return False
        return True

    def detach(self, watch: Watch, waker: Waker) -> None:
        """Forget a waker. Nothing happens where it is not attached."""
        try:
            watch._wakers.remove(waker)
        except ValueError:
            pass
        if not watch._wakers:
            self._held.pop(watch, None)
        if watch._wakers:  # of one that was attached just now
            self._held[watch] = None
        if watch._tripped:
            self._held.pop(watch, None)

    # -- tripping --------------------------------------------------------------------------------------------

    def may_concern(self, undo: Undo, redo: Redo) -> bool:
        """Whether a commit may concern any watch; False is certain. The quick look.

        Idle watches on other rows must cost a commit next to nothing: this is all that they cost.
        """
        if self._tables or self._streams or self._initializers:
            return True
        watched = self._keys[0]
        if watched:
            for key in redo:
                if key in watched:
                    return True
        for place, watched, prefixes, ranges in self._secondary:
            if prefixes or ranges:
                return True
            if watched and _touches(watched, place, undo, redo):
                return True
        return bool(self._prefixes[0] or self._ranges[0])

    def trip(self, undo: Undo, redo: Redo, pending_changed: bool, sequence: int, wakers: list[Waker]) -> None:
        """Trip what a commit concerns; ``wakers`` grows by whom to wake.

        Called after the root was swapped. The list is the caller's, so that an interrupt between tripping and waking
        loses nobody: it wakes whom the list holds, and calls again.
        """
        for entry in self._hit(undo, redo, pending_changed):
            if entry.sequence < sequence:
                self._set(entry(), wakers)
        self._sweep()

    def trip_now(self, watch: Watch) -> None:
        """Trip a watch, whatever changed."""
        wakers: list[Waker] = []
        try:
            self._set(watch, wakers)
        finally:
            wake_all(wakers)
        self._sweep()

    def _set(self, watch: Watch | None, wakers: list[Waker]) -> None:
        if watch is None:
            return
        watch._tripped = True  # first the flag, then the wakers: see attach
        wakers += watch._wakers
        watch._wakers = []
        self._held.pop(watch, None)
        if watch._entry is not None:
            self._dead.append(watch._entry)
            watch._entry = None

    def _hit(self, undo: Undo, redo: Redo, pending_changed: bool) -> set[_Entry]:
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
                self._hit_index(position, undo, redo, hit)
        return hit

    def _hit_index(self, position: int, undo: Undo, redo: Redo, hit: set[_Entry]) -> None:
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
        """Who stands at any registered prefix of the key."""
        prefixes = self._prefixes[position]
        sizes = list(self._sizes[position])
        candidates = covering(key, sizes) if self._networked[position] else [prefix_of(key, size) for size in sizes]
        for prefix in candidates:
            watching = prefixes.get(prefix)
            if watching is not None:
                yield watching

    def _containing_entries(self, position: int, key: Key) -> Iterator[set[_Entry]]:
        """Who stands at any registered range with the key in it. Cost: one comparison for each range."""
        ranges = self._ranges[position]
        for limits in list(ranges):
            watching = ranges.get(limits)
            if watching is not None and within(key, *limits):
                yield watching
