"""The newest state of one table: plain dicts, changed by one writer at a time, read by everybody.

Knows rows, keys and the commit chain; knows no transactions and no snapshots.

    rows       primary key -> row                  apart from the revisions, so that reads run at C speed
    revisions  primary key -> revision
    indexes    secondary key -> primary key, or a Bucket of them from the second on
    orders     the keys of each of these dicts, sorted lazily
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, TypeAlias, cast
from weakref import ref

from .history import Commit, Key, Pin, Redo, Root, Row, State, Undo, compact
from .keys import fits_none
from .networks import Steps, length_of, nearest, steps_of
from .order import Order
from .reserve import Reservation
from .schema import AnyIndex, Keys, PrefixIndex, Table, UniqueIndex
from .watch import Registry

_COMPACT_EVERY = 256
_NO_STEPS: tuple[int, Steps] = (0, ())

Moves: TypeAlias = dict[Key, State]
"""Rows that leave index keys, or that enter them, by primary key: those that the state names."""


class Bucket(set[Any]):
    """The primary keys under one index key, with their sorted list cached until the membership changes.

    A cached list counts while it has the bucket's version and length: whatever comes makes the bucket longer, and the
    writer bumps the version after a key has gone. The reader reads the version before it copies. Made by
    ``bucket_of`` alone: an initializer in Python would cost as much again.
    """

    __slots__ = ("cached", "version")

    version: int
    cached: tuple[int, list[Key]] | None

    def ordered(self) -> list[Key]:
        """The keys in order; do not change the list. Cost: O(1) while the membership does not change."""
        version = self.version
        cached = self.cached
        if cached is not None and cached[0] == version and len(cached[1]) == len(self):
            return cached[1]
        keys = list(self)
        keys.sort()
        self.cached = (version, keys)
        return keys


def bucket_of(keys: tuple[Key, Key]) -> Bucket:
    """A bucket of these keys."""
    bucket = Bucket(keys)
    bucket.version = 0
    bucket.cached = None
    return bucket


def fit(store: TableStore | IndexStore, keys: list[Key]) -> bool:
    """Whether all of these keys have the types of those that are there."""
    return {store.plain}.issuperset(map(type, keys)) or all(map(store.fits, keys))


class IndexStore:
    """One secondary index, newest state."""

    __slots__ = (
        "as_tuple",
        "entries",
        "fits",
        "index",
        "keys_of",
        "lengths",
        "order",
        "place",
        "plain",
        "position",
        "shape",
        "shaped_at",
        "steps",
        "unique",
    )

    def __init__(self, index: AnyIndex[Any, Any]) -> None:
        """An empty index."""
        self.index = index
        self.keys_of, self.as_tuple = index.extractor()
        self.position = index.position
        self.place = index.position - 1
        self.unique = index.unique
        self.entries: dict[Key, Any] = {}
        self.order = Order(self.entries)
        self.shape: Any = None
        self.shaped_at = 0
        self.plain: type | None = None
        self.fits: Callable[[Key], bool] = fits_none
        # The prefix lengths ever present, at most 129. Only for prefix indexes.
        self.lengths: dict[int, None] | None = {} if isinstance(index, PrefixIndex) else None
        self.steps: dict[int, tuple[int, Steps]] = {}  # by size of key: for how many lengths, and how to try them

    def nearest(self, packed: bytes) -> Any:
        """What stands under the longest network that contains this one, or None. Only for prefix indexes."""
        entry = self.entries.get(packed)
        if entry is not None:
            return entry
        assert self.lengths is not None
        size = len(packed)
        count, steps = self.steps.get(size, _NO_STEPS)
        if count != len(self.lengths):
            present = tuple(self.lengths)  # they only become more
            steps = steps_of(present, size)
            self.steps[size] = (len(present), steps)
        return nearest(packed, steps, self.entries)

    def primary_keys(self, key: Key) -> list[Key]:
        """The primary keys under an index key, in order; do not change the list."""
        entry = self.entries.get(key)
        if type(entry) is Bucket:
            return entry.ordered()
        return [] if entry is None else [entry]

    def names(self, key: Key, primary: Key) -> bool:
        """Whether the entry of an index key names this row."""
        entry = self.entries.get(key)
        if type(entry) is Bucket:
            return primary in entry
        return entry is not None and bool(entry == primary)

    def known_column_of(self, rows: list[Row]) -> list[Keys] | None:
        """The keys of each row, or None where not all are of the index's types. Raises what the index function does."""
        column = list(map(self.keys_of, rows))
        if set(map(type, column)) != {tuple}:
            column = [keys if type(keys) is tuple else self.as_tuple(keys) for keys in column]
        return column if fit(self, list(chain.from_iterable(column))) else None

    def leave(self, moves: Moves) -> None:
        """Take rows out from under keys. Idempotent.

        A row leaves a key only where it still stands there: with a unique key another may have taken its place.
        """
        entries, place = self.entries, self.place
        for primary, state in moves.items():
            for key in state[3][place]:
                entry = entries.get(key)
                if type(entry) is Bucket:
                    entry.discard(primary)
                    entry.version += 1
                    entry.cached = None
                    if not entry:
                        entries.pop(key, None)
                elif entry is not None and entry == primary:
                    entries.pop(key, None)

    def enter(self, moves: Moves) -> None:
        """Put rows under keys, after all that leave have left. Idempotent."""
        entries, place = self.entries, self.place
        if self.unique:
            for primary, state in moves.items():
                for key in state[3][place]:
                    entries[key] = primary
        else:
            for primary, state in moves.items():
                for key in state[3][place]:
                    entry = entries.setdefault(key, primary)
                    if type(entry) is Bucket:
                        entry.add(primary)
                    elif entry is not primary and entry != primary:
                        entries[key] = bucket_of((entry, primary))
        if self.lengths is not None:
            for state in moves.values():
                for key in state[3][place]:
                    self.lengths[length_of(key)] = None

    def note(self, leave: Moves, enter: Moves) -> None:
        """Remember for the order which keys may have come or gone."""
        place = self.place
        moved = (*leave.values(), *enter.values())
        self.order.note([key for state in moved for key in state[3][place]], self.entries)


class TableStore:
    """One table of one database: its newest rows, indexes, orders, write reservation, history and watches."""

    __slots__ = (
        "commits_s",
        "commits_timed",
        "fits",
        "indexes",
        "key_of",
        "keys_of",
        "known_keys_of",
        "name",
        "order",
        "plain",
        "registry",
        "replaced",
        "reservation",
        "revisions",
        "root",
        "row_types",
        "rows",
        "shape",
        "shaped_at",
        "streams",
        "table",
        "unfinished",
        "unique_indexes",
    )

    def __init__(self, table: type[Table[Any, Any]], root: Root) -> None:
        """An empty table; the caller puts its first pin into the root."""
        self.table = table
        self.name = table.name
        self.root = root
        self.key_of: Callable[[Row], Key] = cast("UniqueIndex[Any, Any]", table.indexes["primary"]).key
        self.rows: dict[Key, Row] = {}
        self.revisions: dict[Key, int] = {}
        self.order = Order(self.rows)
        self.shape: Any = None
        self.shaped_at = 0
        self.plain: type | None = None
        self.fits: Callable[[Key], bool] = fits_none
        self.indexes = tuple([IndexStore(index) for index in list(table.indexes.values())[1:]])
        self.keys_of = extractor_of([store.index for store in self.indexes])
        self.known_keys_of = checking_extractor_of(self.indexes)
        self.unique_indexes = tuple([store for store in self.indexes if store.unique])
        self.row_types: set[type] = {table.row_type} if isinstance(table.row_type, type) else set()
        self.reservation = Reservation(table.name)
        self.replaced: list[ref[Pin]] = []
        self.registry = Registry([False, *[store.lengths is not None for store in self.indexes]])
        self.unfinished: Callable[[], None] | None = None  # finishes a commit that exceptions tore
        self.streams: list[ref[Any]] = []
        self.commits_timed = 0
        self.commits_s = 0.0

    @property
    def pin(self) -> Pin:
        """The pin of the newest committed state."""
        return self.root.pins[self.table]

    def follow(self, stream: Any) -> None:
        """Remember an open stream, weakly; those that are closed or gone are forgotten. One caller at a time."""
        self.streams = [weak for weak in self.streams if (other := weak()) is not None and not other.closed]
        self.streams.append(ref(stream))

    def open_streams(self) -> int:
        """How many streams follow the table."""
        return sum([1 for weak in self.streams if (stream := weak()) is not None and not stream.closed])

    def first_pin(self) -> Pin:
        """The pin of the empty table at revision 0."""
        return Pin(Commit(0, 0, 0, ()))

    def apply(self, base: Pin, undo: Undo, redo: Redo, leave: Moves, enter: Moves, after: Pin) -> None:
        """Publish the link on the old commit, then change the newest state. Idempotent, so it can be run again.

        The pin replaced is kept an eye on: while it lives, somebody holds the old state.
        """
        old = base.commit
        if old.link is None:
            old.link = (undo, redo, after.commit)
        if base.ordered is not None:
            base.ordered = None
        rows, revisions = self.rows, self.revisions
        for key, (row, revision, deleted, _) in redo.items():
            if deleted:
                rows.pop(key, None)
                revisions.pop(key, None)
            else:
                rows[key] = row
                revisions[key] = revision
        if enter or leave:
            for store in self.indexes:
                if leave:
                    store.leave(leave)
                store.enter(enter)
                if store.order.noted is not None:
                    store.note(leave, enter)
            if self.order.noted is not None:
                self.order.note([*leave, *enter], rows)
        self.replaced.append(ref(base))
        if old.sequence % _COMPACT_EVERY == 0:
            self.replaced = compact(self.replaced)


def difference(undo: Moves, redo: Redo) -> tuple[Moves, Moves]:
    """What rows leave which keys of the indexes, and what rows enter which; a row whose keys stay does neither.

    ``undo`` has the rows that were there.
    """
    leave: Moves = {}
    enter: Moves = {}
    for key, state in redo.items():
        before = undo.get(key)
        if before is None:
            if not state[2]:
                enter[key] = state
        elif state[2]:
            leave[key] = before
        elif before[3] != state[3]:
            leave[key] = (*before[:3], _without(before[3], state[3]))
            enter[key] = (*state[:3], _without(state[3], before[3]))
    return leave, enter


def _without(keys: tuple[Keys, ...], others: tuple[Keys, ...]) -> tuple[Keys, ...]:
    """The keys, of each index, that are not among the others."""
    return tuple(
        [() if own == other else tuple([key for key in own if key not in other]) for own, other in zip(keys, others)]
    )


def extractor_of(indexes: list[AnyIndex[Any, Any]]) -> Callable[[Row], tuple[Keys, ...]]:
    """One function that gives a row's keys in all of these indexes.

    Spelled out for up to two indexes: half the time of the general form, which every insert and replace pays.
    """
    parts = [index.extractor() for index in indexes]
    if not parts:
        return lambda _: ()
    if len(parts) == 1:
        ((first, first_tuple),) = parts

        def one(row: Row) -> tuple[Keys, ...]:
            a = first(row)
            return (a if type(a) is tuple else first_tuple(a),)

        return one
    if len(parts) == 2:
        (first, first_tuple), (second, second_tuple) = parts

        def two(row: Row) -> tuple[Keys, ...]:
            a, b = first(row), second(row)
            return (a if type(a) is tuple else first_tuple(a), b if type(b) is tuple else second_tuple(b))

        return two

    def several(row: Row) -> tuple[Keys, ...]:
        return tuple([a if type(a := keys(row)) is tuple else as_tuple(a) for keys, as_tuple in parts])

    return several


def checking_extractor_of(indexes: tuple[IndexStore, ...]) -> Callable[[Row], tuple[Keys, ...] | None]:
    """One function that gives a row's keys in all of these indexes, or None where not all are of the indexes' types.

    Spelled out for two indexes, as above.
    """
    parts = [(store, *store.index.extractor()) for store in indexes]
    if len(parts) == 2:
        (one, first, first_tuple), (other, second, second_tuple) = parts

        def two(row: Row) -> tuple[Keys, ...] | None:
            a, b = first(row), second(row)
            if type(a) is not tuple:
                a = first_tuple(a)
            if type(b) is not tuple:
                b = second_tuple(b)
            for key in a:
                if type(key) is not one.plain and not one.fits(key):
                    return None
            for key in b:
                if type(key) is not other.plain and not other.fits(key):
                    return None
            return a, b

        return two

    def several(row: Row) -> tuple[Keys, ...] | None:
        found = []
        for store, keys_of, as_tuple in parts:
            keys = keys_of(row)
            if type(keys) is not tuple:
                keys = as_tuple(keys)
            for key in keys:
                if type(key) is not store.plain and not store.fits(key):
                    return None
            found.append(keys)
        return tuple(found)

    return several
