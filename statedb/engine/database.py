"""The database as users see it: a `Head`, and the ways to write it, to follow it and to look after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, cast, overload

from .dump import Decoder
from .errors import InvalidTable, UnknownTable
from .head import Head
from .history import StagedPin
from .origins import HeldState, Origins
from .owner import Owner
from .schema import K, R, Table
from .single import deletion, insertion, write_one
from .snapshot import AnyTable, Snapshot, unhashable_table, unknown_table
from .stats import TableStats, table_stats
from .store import TableStore
from .streams import ChangeStream, TablesStream
from .transaction import ObservedTransaction, WriteTransaction


class Database(Head):
    """Immutable, revisioned tables in memory. All methods may be called from any thread.

    >>> from statedb import Database, Table, UniqueIndex
    >>> class Words(Table[str, str], name="words"):
    ...     primary = UniqueIndex[str, str](lambda word: word)
    >>> db = Database(Words)
    >>> with db.write(Words) as txn:
    ...     txn[Words].insert("hello")
    >>> list(db.snapshot()[Words])
    ['hello']
    """

    __slots__ = ("_chosen", "_transaction")

    def __init__(self, *tables: AnyTable) -> None:
        """A database of these tables, empty. More may be registered later.

        With ``STATEDB_CHECK=1`` in the environment all invariants are checked after every commit: slow, for tests.
        """
        super().__init__()
        self._chosen: dict[tuple[AnyTable, ...], tuple[TableStore, ...]] = {}  # what ``write`` was asked for, in order
        self._transaction = ObservedTransaction if self._check else WriteTransaction
        for table in tables:
            self.register(table)

    def __repr__(self) -> str:
        """Its tables."""
        return f"<Database {', '.join([table.name for table in self._stores]) or 'without tables'}>"

    def _repr_html_(self) -> str:
        """Every table with its number of rows now, for notebooks."""
        return self.snapshot()._repr_html_()

    @property
    def tables(self) -> tuple[AnyTable, ...]:
        """The registered tables, in order of registration."""
        return tuple(self._root.pins)

    def table(self, name: str) -> AnyTable:
        """The registered table of this name. Raises UnknownTable."""
        for table in self.tables:
            if table.name == name:
                return table
        names = ", ".join([table.name for table in self.tables]) or "none"
        raise UnknownTable(f"no table is called {name!r} in this database (tables: {names})")

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
            first = store.first_pin()
            while True:  # as a commit does: nothing runs under the root's lock
                seen = self._root.pins
                pins = {**seen, table: first}
                with self._root.lock:
                    if self._root.pins is seen:
                        self._root.pins = pins
                        break

    def write(self, *tables: AnyTable, owner: Owner | None = None, timeout: float | None = None) -> WriteTransaction:
        """Open a write transaction on these tables, waiting for others that write them. Naming one twice does no harm.

        Tables are taken in one order, so that transactions never wait for each other in a circle. With ``timeout``
        (seconds) it waits no longer than that. Raises UnknownTable, NestedWrite where this thread itself holds one of
        them, WriteTimeout, and TableOwned where one belongs to another ``owner``.
        """
        try:
            chosen = self._chosen.get(tables) or self._choose(tables)
        except TypeError:
            raise unhashable_table(tables, self._stores) from None
        return self._transaction(self, chosen, owner, timeout)

    def insert(self, table: type[Table[K, R]], row: R, *, owner: Owner | None = None) -> R | None:
        """Put one row in, in a transaction of its own; the replaced row or None. As ``txn[table].insert(row)`` does.

        Half the cost of ``with db.write(table)`` around it. Raises what the two of them raise.
        """
        store = self._plain_store(table)
        if store is not None:
            try:
                done, old = write_one(store, insertion, row, owner)
            finally:
                self._taken = None
            if done:
                return cast("R | None", old)
        with self.write(table, owner=owner) as txn:
            return txn[table].insert(row)

    def delete(self, table: type[Table[K, R]], key: K, *, owner: Owner | None = None) -> R | None:
        """Take one row out, in a transaction of its own; the deleted row, or None where there was none."""
        store = self._plain_store(table)
        if store is not None:
            try:
                done, old = write_one(store, deletion, key, owner)
            finally:
                self._taken = None
            if done:
                return cast("R | None", old)
        with self.write(table, owner=owner) as txn:
            return txn[table].delete(key)

    def _plain_store(self, table: Any) -> TableStore | None:
        """The store of a table, where commits are neither timed nor checked."""
        try:
            return self._stores.get(table) if self._transaction is WriteTransaction else None
        except TypeError:
            return None  # the long way says what is wrong

    @asynccontextmanager
    async def write_async(
        self, *tables: AnyTable, owner: Owner | None = None, timeout: float | None = None
    ) -> AsyncGenerator[WriteTransaction]:
        """``write`` for a task: ``async with db.write_async(Services) as txn``. While it waits, the loop goes on.

        It waits for transactions of other tasks of this thread too; where this task itself holds a table it raises
        NestedWrite. The block itself may await; keep it short, for others wait.
        """
        try:
            chosen = self._chosen.get(tables) or self._choose(tables)
        except TypeError:
            raise unhashable_table(tables, self._stores) from None
        with await self._transaction.in_task(self, chosen, owner, timeout) as txn:
            yield txn

    def own(self, *tables: AnyTable, name: str) -> Owner:
        """Make these tables writable by the returned owner alone; transactions that are open on them end first.

        ``name`` says who it is, for messages. Raises TableOwned where another one owns a table, UnknownTable,
        NestedWrite, and ValueError without a table.
        """
        if not tables:
            raise ValueError("name at least one table to own, as in db.own(Services, name='source kvstore')")
        owner = Owner(name, tables, (self.write, self.write_async, self._disown))
        with self.write(*tables):
            for table in tables:
                self._stores[table].owner = owner
        return owner

    def _disown(self, owner: Owner) -> None:
        for table in owner.tables:
            store = self._stores[table]
            if store.owner is owner:
                store.owner = None

    def _choose(self, tables: tuple[AnyTable, ...]) -> tuple[TableStore, ...]:
        """The stores of tables in the one order, remembered. Raises UnknownTable."""
        stores = self._stores
        for table in tables:
            if table not in stores:
                raise unknown_table(table, stores)
        chosen = tuple([store for table, store in stores.items() if table in tables])
        self._chosen[tables] = chosen
        return chosen

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
        of another database or from before the table was registered; ValueError without a table, or for a snapshot
        of what a transaction has staged.
        """
        if not tables:
            raise ValueError("name at least one table to follow, as in db.changes(Services)")
        try:
            chosen = tuple(dict.fromkeys(tables))
        except TypeError:
            raise unhashable_table(tables, self._stores) from None
        for table in chosen:
            if table not in self._stores:
                raise unknown_table(table, self._stores)
            if since is not None and since._stores.get(table) is not self._stores[table]:
                raise unknown_table(table, since._pins)
            if since is not None and isinstance(since._pins[table], StagedPin):
                raise ValueError(
                    f"table {table.name!r}: a stream cannot begin at what a transaction has staged, for no commit "
                    "has made it; give the snapshot that commit() returns"
                )
        stores = tuple([self._stores[table] for table in chosen])
        stream: ChangeStream[Any, Any] | TablesStream
        stream = (ChangeStream if len(tables) == 1 else TablesStream)(self, stores, since)
        for store in stores:
            store.follow(stream)
        return stream

    def dump(self, *tables: AnyTable, decoder: Decoder | None = None) -> Iterator[bytes]:
        """These tables, or all, as they are now, as JSON lines: ``db.snapshot().dump(...)``."""
        return self.snapshot().dump(*tables, decoder=decoder)

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
            self._taken = None

    def held(self) -> tuple[HeldState, ...]:
        """The older states that somebody holds, and so the history that is kept; the oldest of each table first.

        Where they were taken is known from ``observe(origins=True)`` on.
        """
        origins = self._origins or Origins()
        return origins.held([self._stores[table] for table in self.tables])

    def wait_initialized(self, *tables: AnyTable, timeout: float | None = None) -> bool:
        """Block until these tables are initialized (all tables where none is named); False when the time is over.

        ``timeout`` is in seconds. In a task use `wait_initialized_async`.
        """
        deadline = None if timeout is None else monotonic() + timeout
        for table in tables or self.tables:
            while not (view := self.snapshot()[table]).initialized:
                left = None if deadline is None else deadline - monotonic()
                if (left is not None and left <= 0) or not view.watch_initializers().wait(left):
                    return False
        return True

    async def wait_initialized_async(self, *tables: AnyTable, timeout: float | None = None) -> bool:
        """`wait_initialized` for a task: while it waits, the loop goes on."""
        try:
            async with asyncio.timeout(timeout):
                for table in tables or self.tables:
                    while not (view := self.snapshot()[table]).initialized:
                        await view.watch_initializers()
        except TimeoutError:
            return False
        return True
