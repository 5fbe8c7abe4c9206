"""The newest state of one table: plain dicts, changed by one writer at a time, read by everybody.

Knows rows, keys and the commit chain; knows no transactions and no snapshots.

    rows       primary key -> row                  apart from the revisions, so that reads run at C speed
    revisions  primary key -> revision
    indexes    secondary key -> primary key, or a Bucket of them from the second on
    orders     the keys of each of these dicts, sorted lazily
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast
from weakref import ref

from ._history import Commit, Key, Pin, Redo, Root, Row, Undo, compact
from ._networks import length_of
from ._order import Order
from ._reserve import Reservation
from ._schema import AnyIndex, Keys, PrefixIndex, Table, UniqueIndex
from ._watch import Registry

_COMPACT_EVERY = 256


class Bucket(set[Any]):
    """The primary keys under one index key, with their sorted list cached until the membership changes.

    A cache counts only where its version is the bucket's: the reader reads the version before it copies, the writer
    bumps it after it changed.
    """

    __slots__ = ("_cached", "version")

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        """A bucket of these keys."""
        super().__init__(keys)
        self.version = 0
        self._cached: tuple[int, list[Key]] | None = None

    def changed(self) -> None:
        """Called by the writer after each change."""
        self.version += 1
        self._cached = None

    def ordered(self) -> list[Key]:
        """The keys in order; do not change the list. Cost: O(1) while the membership does not change."""
        version = self.version
        cached = self._cached
        if cached is not None and cached[0] == version:
            return cached[1]
        keys = list(self)
        keys.sort()
        self._cached = (version, keys)
        return keys


class IndexStore:
    """One secondary index, newest state."""

    __slots__ = ("entries", "index", "lengths", "order", "position", "shape", "unique")

    def __init__(self, index: AnyIndex[Any, Any]) -> None:
        """An empty index."""
        self.index = index
        self.position = index.position
        self.unique = index.unique
        self.entries: dict[Key, Any] = {}
        self.order = Order(self.entries)
        self.shape: Any = None
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

    def remove(self, key: Key, primary: Key) -> None:
        """Take a row out from under a key, if it stands there. Idempotent."""
        entry = self.entries.get(key)
        if type(entry) is Bucket:
            entry.discard(primary)
            entry.changed()
            if not entry:
                self.entries.pop(key, None)
        elif entry is not None and entry == primary:
            self.entries.pop(key, None)

    def add(self, key: Key, primary: Key) -> None:
        """Put a row under a key. Idempotent."""
        entries = self.entries
        entry = entries.get(key)
        if entry is None or self.unique:
            entries[key] = primary
            if self.lengths is not None:
                self.lengths[length_of(key)] = None
        elif type(entry) is Bucket:
            entry.add(primary)
            entry.changed()
        elif entry != primary:
            entries[key] = Bucket((entry, primary))


class Delta:
    """What one commit does to one index: pairs of (index key, primary key)."""

    __slots__ = ("additions", "removals", "store")

    def __init__(self, store: IndexStore) -> None:
        """Nothing yet."""
        self.store = store
        self.removals: list[tuple[Key, Key]] = []
        self.additions: list[tuple[Key, Key]] = []

    def apply(self) -> None:
        """All removals first, then all additions. Idempotent."""
        store = self.store
        remove = store.remove
        for key, primary in self.removals:
            remove(key, primary)
        add = store.add
        for key, primary in self.additions:
            add(key, primary)
        if store.order.wanted:
            keys = [key for key, _ in self.removals]
            keys += [key for key, _ in self.additions]
            store.order.note(keys, store.entries)


class TableStore:
    """One table of one database: its newest rows, indexes, orders, write reservation, history and watches."""

    __slots__ = (
        "commits",
        "indexes",
        "key_of",
        "lengths",
        "name",
        "order",
        "registry",
        "replaced",
        "reservation",
        "revisions",
        "root",
        "row_types",
        "rows",
        "shape",
        "table",
        "unfinished",
        "unique_indexes",
    )  # fmt: skip

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
        self.indexes = tuple(IndexStore(index) for index in list(table.indexes.values())[1:])
        self.unique_indexes = tuple(store for store in self.indexes if store.unique)
        self.row_types: set[type] = {table.row_type} if isinstance(table.row_type, type) else set()
        self.reservation = Reservation(table.name)
        self.replaced: list[ref[Pin]] = []
        self.registry = Registry([False, *[store.lengths is not None for store in self.indexes]])
        self.unfinished: Any = None

    @property
    def pin(self) -> Pin:
        """The pin of the newest committed state."""
        return self.root.pins[self.table]

    def first_pin(self) -> Pin:
        """The pin of the empty table at revision 0."""
        return Pin(Commit(0, 0, 0, ()))

    def keys_of(self, row: Row) -> tuple[Keys, ...]:
        """The keys of a row in every secondary index. Raises what the index functions raise."""
        return tuple([store.index.keys_of(row) for store in self.indexes])

    def deltas(self, undo: Undo, redo: Redo) -> list[Delta]:
        """What turning ``undo`` into ``redo`` does to each index; a row whose keys stay costs one comparison."""
        deltas = [Delta(store) for store in self.indexes]
        for key, state in redo.items():
            before = undo[key]
            old = None if before is None else before[3]
            new = None if state[2] else state[3]
            if old == new:
                continue
            for delta in deltas:
                place = delta.store.position - 1
                gone = old[place] if old is not None else ()
                come = new[place] if new is not None else ()
                if gone == come:
                    continue
                delta.removals += [(k, key) for k in gone if k not in come]
                delta.additions += [(k, key) for k in come if k not in gone]
        return [delta for delta in deltas if delta.removals or delta.additions]

    def apply(self, undo: Undo, redo: Redo, deltas: list[Delta]) -> None:
        """Change the newest state. Called after the old commit has its link; idempotent, so it can be run again."""
        rows, revisions = self.rows, self.revisions
        moved: list[Key] = []
        for key, (row, revision, deleted, _) in redo.items():
            if deleted:
                rows.pop(key, None)
                revisions.pop(key, None)
                moved.append(key)
            else:
                rows[key] = row
                revisions[key] = revision
                if undo[key] is None:
                    moved.append(key)
        for delta in deltas:
            delta.apply()
        if moved and self.order.wanted:
            self.order.note(moved, rows)

    def remember(self, pin: Pin, commit: Commit) -> None:
        """Keep an eye on a pin that is about to be replaced, and now and then shorten the history."""
        if commit.sequence % _COMPACT_EVERY == 0:
            self.replaced = compact(self.replaced, pin)
        self.replaced.append(ref(pin))
