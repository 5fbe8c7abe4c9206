"""The database: its tables, its one root, snapshots of it, and the doors to writing and following.

    Database ─▶ Root.pins   table ─▶ Pin ─▶ Commit        replaced whole at every commit: a snapshot is that mapping
             └▶ TableStore  rows, revisions, indexes      the newest state, which all snapshots share

To look a row up: read it from the newest dict, then look whether the snapshot's commit has a link (``_read``).
To write: stage in an overlay (``_write``), then link, change, swap the root, release, wake (``_commit``).
To follow: fold the links between two pins (``_changes``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from time import monotonic
from typing import Any, TypeVar, overload

from .changes import ChangeStream, TablesStream
from .dump import dump
from .errors import InvalidTable, UnknownTable
from .history import Pin, Root
from .observe import HeldState, Origins
from .read import IndexView, PrefixIndexView, Source, TableView, UniqueIndexView, view_of
from .schema import AnyIndex, Index, K, N, PrefixIndex, R, Table, UniqueIndex
from .stats import TableStats, table_stats
from .store import TableStore
from .write import ObservedTransaction, WriteTransaction

I = TypeVar("I")  # noqa: E741 - the key type of an index
AnyTable = type[Table[Any, Any]]


class Snapshot:
    """All tables at one instant, for ever: a mapping from table to view, and from index to view.

    Cheap to take and to keep: it holds on to nothing but the rows that were changed or deleted since. May be shared
    by threads.
    """

    __slots__ = ("_pins", "_stores")

    def __init__(self, stores: Mapping[Any, TableStore], pins: dict[Any, Pin]) -> None:
        """``Database.snapshot`` and ``WriteTransaction.commit`` make these."""
        self._stores = stores
        self._pins = pins

    @overload
    def __getitem__(self, table: type[Table[K, R]]) -> TableView[K, R]: ...
    @overload
    def __getitem__(self, table: UniqueIndex[I, R]) -> UniqueIndexView[I, R]: ...
    @overload
    def __getitem__(self, table: Index[I, R]) -> IndexView[I, R]: ...
    @overload
    def __getitem__(self, table: PrefixIndex[N, R]) -> PrefixIndexView[N, R]: ...
    def __getitem__(self, table: Any) -> Any:
        """The view of a table or of an index. Raises UnknownTable."""
        try:
            pin = self._pins.get(table)
        except TypeError:
            raise _unhashable([table], self._pins) from None
        if pin is not None:
            return TableView(Source(self._stores[table], pin))
        if isinstance(table, AnyIndex) and (pin := self._pins.get(getattr(table, "table", None))) is not None:
            return view_of(TableView(Source(self._stores[table.table], pin)), table)
        raise _unknown(table, self._pins)

    def __contains__(self, table: object) -> bool:
        """Whether this table was registered when the snapshot was taken."""
        return table in self._pins

    def __iter__(self) -> Iterator[AnyTable]:
        """The tables, in order of registration."""
        return iter(self._pins)

    def __len__(self) -> int:
        """How many tables."""
        return len(self._pins)

    def __repr__(self) -> str:
        """Every table with its revision."""
        return f"<Snapshot {', '.join([f'{t.name}@{pin.commit.revision}' for t, pin in self._pins.items()])}>"

    def dump(self, *tables: AnyTable) -> Iterator[bytes]:
        """These tables, or all, as JSON lines, each with its newline, for `statedb.load`. Writers go on meanwhile.

        Rows of msgspec may be nested; dataclasses too; what else they hold must be what JSON knows: raises TypeError.
        Raises UnknownTable.
        """
        return dump(self, tables)

    def _pin_of(self, store: TableStore) -> Pin:
        return self._pins[store.table]


def _unhashable(tables: Iterable[Any], known: Mapping[Any, Any]) -> UnknownTable:
    """What to raise where a table was asked for by what no dict can hold, as a list of tables is."""
    found = [table for table in tables if type(table).__hash__ is None] or list(tables)
    return UnknownTable(
        f"{found[0]!r} is no table; name tables themselves, one after the other "
        f"(tables: {', '.join([table.name for table in known])})"
    )


def _unknown(table: Any, known: Mapping[Any, Any]) -> UnknownTable:
    if isinstance(table, AnyIndex):
        table = getattr(table, "table", table)
    name = getattr(table, "name", None)
    names = ", ".join([other.name for other in known]) or "none"
    what = f"table {name!r}" if isinstance(table, type) and name else f"{table!r}"
    return UnknownTable(f"{what} is not part of this database (tables: {names}); register it, or take a new snapshot")


class Database:
    """Immutable, revisioned tables in memory. All methods may be called from any thread.

    >>> class Words(Table[str, str], name="words"):
    ...     primary = UniqueIndex[str, str](lambda word: word)
    >>> db = Database(Words)
    >>> with db.write(Words) as txn:
    ...     txn[Words].insert("hello")
    >>> list(db.snapshot()[Words])
    ['hello']
    """

    __slots__ = ("__weakref__", "_check", "_chosen", "_lock", "_origins", "_root", "_stores", "_transaction")

    def __init__(self, *tables: AnyTable) -> None:
        """A database of these tables, empty. More may be registered later.

        With ``STATEDB_CHECK=1`` in the environment all invariants are checked after every commit: slow, for tests.
        """
        self._root = Root()
        self._lock = Lock()
        self._stores: dict[Any, TableStore] = {}
        self._chosen: dict[tuple[AnyTable, ...], tuple[TableStore, ...]] = {}  # what ``write`` was asked for, in order
        self._check = os.environ.get("STATEDB_CHECK", "0") not in ("", "0")
        self._transaction = ObservedTransaction if self._check else WriteTransaction
        self._origins: Origins | None = None
        for table in tables:
            self.register(table)

    def __repr__(self) -> str:
        """Its tables."""
        return f"<Database {', '.join([table.name for table in self._stores])}>"

    @property
    def tables(self) -> tuple[AnyTable, ...]:
        """The registered tables, in order of registration."""
        return tuple(self._root.pins)

    def register(self, table: AnyTable) -> None:
        """Add an empty table; snapshots taken before do not have it. Registering a table again does nothing.

        Raises InvalidTable for what is no table, and where another table has its name.
        """
        if not (isinstance(table, type) and issubclass(table, Table) and table.name):
            raise InvalidTable(
                f"{table!r} is not a table; derive a class from Table[K, R] with a name and a primary index"
            )
        with self._lock:
            if table in self._root.pins:
                return
            if any(other.name == table.name for other in self._root.pins):
                raise InvalidTable(f"another table is registered as {table.name!r} already; names are unique")
            store = TableStore(table, self._root)
            self._stores = {**self._stores, table: store}
            with self._root.lock:
                self._root.pins = {**self._root.pins, table: store.first_pin()}

    def snapshot(self) -> Snapshot:
        """All tables at this instant. Cost: one attribute read and one small object."""
        return self._snapshot_of(self._root.pins)  # the root first: a table in it is in the stores already

    def write(self, *tables: AnyTable) -> WriteTransaction:
        """Open a write transaction on these tables, waiting for others that write them. Naming one twice does no harm.

        Tables are taken in one order, so that transactions never wait for each other in a circle. Raises UnknownTable,
        and NestedWrite where this thread itself holds one of them.
        """
        try:
            chosen = self._chosen.get(tables) or self._choose(tables)
        except TypeError:
            raise _unhashable(tables, self._stores) from None
        return self._transaction(self, chosen)

    def _choose(self, tables: tuple[AnyTable, ...]) -> tuple[TableStore, ...]:
        """The stores of tables in the one order, remembered. Raises UnknownTable."""
        stores = self._stores
        for table in tables:
            if table not in stores:
                raise _unknown(table, stores)
        chosen = tuple([store for table, store in stores.items() if table in tables])
        self._chosen[tables] = chosen
        return chosen

    def _snapshot_of(self, pins: dict[Any, Pin]) -> Snapshot:
        if self._origins is not None:
            self._origins.note(pins.values())
        return Snapshot(self._stores, pins)

    def check(self) -> None:
        """Check all invariants; raises AssertionError. Slow, and only for tests."""
        from .invariants import check_invariants

        check_invariants(self)

    @overload
    def changes(self, table: type[Table[K, R]], /, *, since: Snapshot | None = None) -> ChangeStream[K, R]: ...
    @overload
    def changes(
        self, table: AnyTable, second: AnyTable, /, *more: AnyTable, since: Snapshot | None = None
    ) -> TablesStream: ...
    def changes(self, *tables: AnyTable, since: Snapshot | None = None) -> ChangeStream[Any, Any] | TablesStream:
        """Follow a table: its rows as they are now, then what changes. Close it, or use it in a ``with`` block.

        Several tables are followed as one, in consistent cuts. With ``since`` it begins with what changed after that
        snapshot, deletions included: ``since=db.snapshot()`` is from now on. Raises UnknownTable, also for a snapshot
        of another database or from before the table was registered; ValueError without a table.
        """
        if not tables:
            raise ValueError("name at least one table to follow, as in db.changes(Services)")
        try:
            chosen = tuple(dict.fromkeys(tables))
        except TypeError:
            raise _unhashable(tables, self._stores) from None
        for table in chosen:
            if table not in self._stores:
                raise _unknown(table, self._stores)
            if since is not None and since._stores.get(table) is not self._stores[table]:
                raise _unknown(table, since._pins)
        stores = tuple([self._stores[table] for table in chosen])
        stream: ChangeStream[Any, Any] | TablesStream
        stream = (ChangeStream if len(tables) == 1 else TablesStream)(self, stores, since)
        with self._lock:
            for store in stores:
                store.follow(stream)
        return stream

    def dump(self, *tables: AnyTable) -> Iterator[bytes]:
        """These tables, or all, as they are now, as JSON lines: ``db.snapshot().dump(...)``."""
        return self.snapshot().dump(*tables)

    def stats(self) -> tuple[TableStats, ...]:
        """How every table is doing, for operators: rows, history kept, watches, streams, writers. Waits for nobody."""
        return tuple([table_stats(self._stores[table]) for table in self.tables])

    def observe(self, *, origins: bool = False) -> None:
        """From now on measure the time in commits, for ``stats``. Costs a microsecond a commit.

        With ``origins`` also remember who takes snapshots and batches, for ``held``: some microseconds each.
        """
        self._transaction = ObservedTransaction
        if origins and self._origins is None:
            self._origins = Origins()

    def held(self) -> tuple[HeldState, ...]:
        """The older states that somebody holds, and so the history that is kept; the oldest of each table first.

        Where they were taken is known from ``observe(origins=True)`` on.
        """
        origins = self._origins or Origins()
        return origins.held([self._stores[table] for table in self.tables])

    def wait_initialized(self, *tables: AnyTable, timeout: float | None = None) -> bool:
        """Block until these tables are initialized (all tables where none is named); False when the time is over.

        ``timeout`` is in seconds. In a task wait for ``view.watch()`` until ``view.initialized``.
        """
        deadline = None if timeout is None else monotonic() + timeout
        for table in tables or self.tables:
            while not (view := self.snapshot()[table]).initialized:
                left = None if deadline is None else deadline - monotonic()
                if (left is not None and left <= 0) or not view.watch().wait(left):
                    return False
        return True
