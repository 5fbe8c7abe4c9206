"""The newest state of one table: plain dicts, changed by one writer at a time, read by everybody.

Knows rows, keys and the commit chain; knows no transactions and no snapshots.

    rows       primary key -> row                  apart from the revisions, so that reads run at C speed
    revisions  primary key -> revision
    indexes    secondary key -> primary key, or a Bucket of them from the second on
    orders     the keys of each of these dicts, sorted lazily
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, cast
from weakref import ref

from ._history import Commit, Key, Pin, Redo, Root, Row, Undo
from ._keys import fits_none
from ._networks import length_of
from ._order import Order
from ._reserve import Reservation
from ._schema import AnyIndex, Keys, PrefixIndex, Table, UniqueIndex
from ._watch import Registry

Entries: TypeAlias = tuple[Key, tuple[Keys, ...]]
"""Where a row stands in the indexes: its primary key, and its keys in each of them."""


class Bucket(set[Any]):
    """The primary keys under one index key, with their sorted list cached until the membership changes.

    A cache counts only where its version is the bucket's: the reader reads the version before it copies, the writer
    bumps it after it changed.
    """

    __slots__ = ("cached", "version")

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        """A bucket of these keys."""
        super().__init__(keys)
        self.version = 0
        self.cached: tuple[int, list[Key]] | None = None

    def changed(self) -> None:
        """Called by the writer after each change."""
        self.version += 1
        self.cached = None

    def ordered(self) -> list[Key]:
        """The keys in order; do not change the list. Cost: O(1) while the membership does not change."""
        version = self.version
        cached = self.cached
        if cached is not None and cached[0] == version:
            return cached[1]
        keys = list(self)
        keys.sort()
        self.cached = (version, keys)
        return keys


class IndexStore:
    """One secondary index, newest state."""

    __slots__ = (
        "entries",
        "fits",
        "index",
        "lengths",
        "order",
        "place",
        "plain",
        "position",
        "shape",
        "shaped_at",
        "unique",
    )

    def __init__(self, index: AnyIndex[Any, Any]) -> None:
        """An empty index."""
        self.index = index
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

    def move(self, leave: list[Entries], enter: list[Entries]) -> None:
        """Take rows out from under the keys that they leave, then put rows under those that they enter. Idempotent.

        A row leaves a key only where it still stands there: with a unique key another may have taken its place.
        """
        entries, unique, lengths, place = self.entries, self.unique, self.lengths, self.place
        for primary, keys in leave:
            for key in keys[place]:
                entry = entries.get(key)
                if type(entry) is Bucket:
                    entry.discard(primary)
                    entry.changed()
                    if not entry:
                        entries.pop(key, None)
                elif entry is not None and entry == primary:
                    entries.pop(key, None)
        for primary, keys in enter:
            for key in keys[place]:
                entry = entries.get(key)
                if entry is None or unique:
                    entries[key] = primary
                    if lengths is not None:
                        lengths[length_of(key)] = None
                elif type(entry) is Bucket:
                    entry.add(primary)
                    entry.version += 1
                    entry.cached = None
                elif entry != primary:
                    entries[key] = Bucket((entry, primary))


class TableStore:
    """One table of one database: its newest rows, indexes, orders, write reservation, history and watches."""

    __slots__ = (
        "fits",
        "indexes",
        "key_of",
        "keys_of",
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
        self.unique_indexes = tuple([store for store in self.indexes if store.unique])
        self.row_types: set[type] = {table.row_type} if isinstance(table.row_type, type) else set()
        self.reservation = Reservation(table.name)
        self.replaced: list[ref[Pin]] = []
        self.registry = Registry([False, *[store.lengths is not None for store in self.indexes]])
        self.unfinished: Callable[[], None] | None = None  # finishes a commit that exceptions tore
        self.streams: list[ref[Any]] = []

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

    def apply(self, redo: Redo, leave: list[Entries], enter: list[Entries]) -> None:
        """Change the newest state. Called after the old commit has its link; idempotent, so it can be run again."""
        rows, revisions = self.rows, self.revisions
        for key, state in redo.items():
            if state[2]:
                rows.pop(key, None)
                revisions.pop(key, None)
            else:
                rows[key] = state[0]
                revisions[key] = state[1]
        if not leave and not enter:
            return
        for store in self.indexes:
            store.move(leave, enter)
            if store.order.noted is not None:
                place = store.place
                store.order.note([key for _, keys in leave + enter for key in keys[place]], store.entries)
        if self.order.noted is not None:
            self.order.note([key for key, _ in leave + enter], rows)


def difference(undo: Undo, redo: Redo) -> tuple[list[Entries], list[Entries]]:
    """What rows leave which keys of the indexes, and what rows enter which; a row whose keys stay does neither."""
    leave: list[Entries] = []
    enter: list[Entries] = []
    for key, state in redo.items():
        before = undo[key]
        if before is None:
            if not state[2]:
                enter.append((key, state[3]))
        elif state[2]:
            leave.append((key, before[3]))
        elif before[3] != state[3]:
            leave.append((key, _without(before[3], state[3])))
            enter.append((key, _without(state[3], before[3])))
    return leave, enter


def _without(keys: tuple[Keys, ...], others: tuple[Keys, ...]) -> tuple[Keys, ...]:
    """The keys, of each index, that are not among the others."""
    return tuple([tuple([key for key in own if key not in other]) for own, other in zip(keys, others)])


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
