"""The database as users see it: a `Head`, and the methods to write, follow and maintain it."""

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
        """An empty database with these tables. More can be registered later.

        ``STATEDB_CHECK=1`` in the environment checks all invariants after every commit. This is slow, and meant for
        tests.
        """
        super().__init__()
        self._chosen: dict[tuple[AnyTable, ...], tuple[TableStore, ...]] = {}  # cached, in reservation order
        self._transaction = ObservedTransaction if self._check else WriteTransaction
        for table in tables:
            self.register(table)

    def __repr__(self) -> str:
        """The names of its tables."""
        return f"<Database {', '.join([table.name for table in self._stores]) or 'without tables'}>"

    def _repr_html_(self) -> str:
        """Every table with its current number of rows, for notebooks."""
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
        """Add an empty table. Snapshots taken before do not have it. Registering a table again does nothing.

        Raises InvalidTable if ``table`` is not a table class, or if another table has its name.
        """
        if not (isinstance(table, type) and issubclass(table, Table) and table.name):
            raise InvalidTable(
                f"{table!r} is not a table; derive a class from Table[K, R] with a name and a primary index"
            )
        with self._lock:
            if table in self._root.pins:
                return
            if any(other.name == table.name for other in self._root.pins):
                raise InvalidTable(f"another table is already registered as {table.name!r}; names are unique")
            store = self._stores.get(table) or TableStore(table, self._root)  # the one of an interrupted call, if any
            self._stores = {**self._stores, table: store}
            first = store.first_pin()
            while True:  # as in a commit: nothing is called under the root's lock
                seen = self._root.pins
                pins = {**seen, table: first}
                with self._root.lock:
                    if self._root.pins is seen:
                        self._root.pins = pins
                        break

    def write(self, *tables: AnyTable, owner: Owner | None = None, timeout: float | None = None) -> WriteTransaction:
        """Open a write transaction on these tables. Waits for other transactions that write them.

        Tables are always reserved in the order of their registration, so transactions cannot deadlock. Naming a table
        twice is allowed. ``timeout`` is in seconds; None waits without limit. Raises UnknownTable, NestedWrite if this
        thread itself holds one of the tables, WriteTimeout, and TableOwned if a table belongs to another ``owner``.
        """
        try:
            chosen = self._chosen.get(tables) or self._choose(tables)
        except TypeError:
            raise unhashable_table(tables, self._stores) from None
        return self._transaction(self, chosen, owner, timeout)

    def insert(self, table: type[Table[K, R]], row: R, *, owner: Owner | None = None) -> R | None:
        """Insert one row, in a transaction of its own. Returns the replaced row or None.

        Does what ``txn[table].insert(row)`` in ``with db.write(table)`` does, at half the cost, and raises what these
        two raise.
        """
        store = self._plain_store(table)
        if store is not None:
            try:
                done, old = write_one(store, insertion, row, owner)
            finally:
                self._cached = None
            if done:
                return cast("R | None", old)
        with self.write(table, owner=owner) as txn:
            return txn[table].insert(row)

    def delete(self, table: type[Table[K, R]], key: K, *, owner: Owner | None = None) -> R | None:
        """Delete one row, in a transaction of its own. Returns the deleted row, or None if there was none."""
        store = self._plain_store(table)
        if store is not None:
            try:
                done, old = write_one(store, deletion, key, owner)
            finally:
                self._cached = None
            if done:
                return cast("R | None", old)
        with self.write(table, owner=owner) as txn:
            return txn[table].delete(key)

    def _plain_store(self, table: Any) -> TableStore | None:
        """The store of a table, or None if commits are timed or checked."""
        try:
            return self._stores.get(table) if self._transaction is WriteTransaction else None
        except TypeError:
            return None  # the general path raises the right error

    @asynccontextmanager
    async def write_async(
        self, *tables: AnyTable, owner: Owner | None = None, timeout: float | None = None
    ) -> AsyncGenerator[WriteTransaction]:
        """``write`` for a task: ``async with db.write_async(Services) as txn``. The event loop runs while it waits.

        It also waits for transactions of other tasks of this thread. Raises NestedWrite if this task itself holds a
        table. The block may await, but keep it short: other writers wait for it.
        """
        try:
            chosen = self._chosen.get(tables) or self._choose(tables)
        except TypeError:
            raise unhashable_table(tables, self._stores) from None
        with await self._transaction.in_task(self, chosen, owner, timeout) as txn:
            yield txn

    def own(self, *tables: AnyTable, name: str) -> Owner:
        """Make these tables writable only through the returned owner. Waits for open transactions on them to end.

        ``name`` identifies the owner in messages. Raises TableOwned if a table already has an owner, UnknownTable,
        NestedWrite, and ValueError without a table.
        """
        if not tables:
            raise ValueError("name at least one table to own, as in db.own(Services, name='source kvstore')")
        owner = Owner(name, tables, (self.write, self.write_async, self._disown))
        try:
            with self.write(*tables):
                for table in tables:
                    self._stores[table].owner = owner
            return owner
        except BaseException:  # nobody has the owner, so nobody else can release it
            owner._released = True  # no call comes before this, so a second exception does not prevent it
            raise

    def _disown(self, owner: Owner) -> None:
        for table in owner.tables:
            store = self._stores[table]
            if store.owner is owner:
                store.owner = None

    def _choose(self, tables: tuple[AnyTable, ...]) -> tuple[TableStore, ...]:
        """The stores of these tables in registration order, cached. Raises UnknownTable."""
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
        """Follow a table: first its current rows, then every change. Close the stream, or use it in a ``with`` block.

        A stream of several tables returns batches that are consistent across them. With ``since`` the stream begins
        with what changed after that snapshot, deletions included: ``since=db.snapshot()`` skips the current rows.

        Raises UnknownTable, also for a snapshot of another database or from before the table was registered. Raises
        ValueError without a table, and for the snapshot of an open transaction.
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
                    f"table {table.name!r}: a stream cannot begin at the staged rows of a transaction; pass the "
                    "snapshot that commit() returns"
                )
        stores = tuple([self._stores[table] for table in chosen])
        stream: ChangeStream[Any, Any] | TablesStream
        stream = (ChangeStream if len(tables) == 1 else TablesStream)(self, stores, since)
        for store in stores:
            store.follow(stream)
        return stream

    def dump(self, *tables: AnyTable, decoder: Decoder | None = None) -> Iterator[bytes]:
        """These tables, or all, in their current state, as JSON lines: ``db.snapshot().dump(...)``."""
        return self.snapshot().dump(*tables, decoder=decoder)

    def stats(self) -> tuple[TableStats, ...]:
        """Statistics of every table, for operators: rows, kept history, watches, streams, writers. Never blocks."""
        return tuple([table_stats(self._stores[table]) for table in self.tables])

    def observe(self, *, origins: bool = False) -> None:
        """Measure the duration of commits from now on, for ``stats``. Costs a microsecond per commit.

        With ``origins``, also record where snapshots and batches are taken, for ``held``. Costs some microseconds for
        each.
        """
        self._transaction = ObservedTransaction
        if origins and self._origins is None:
            self._origins = Origins()
            self._cached = None

    def held(self) -> tuple[HeldState, ...]:
        """The older states that are still referenced, and so keep history alive. The oldest of each table comes first.

        Where they were taken is known only after ``observe(origins=True)``.
        """
        origins = self._origins or Origins()
        return origins.held([self._stores[table] for table in self.tables])

    def wait_initialized(self, *tables: AnyTable, timeout: float | None = None) -> bool:
        """Block until these tables are initialized, or all tables if none is named. False after a timeout.

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
        """`wait_initialized` for a task. The event loop runs while it waits."""
        try:
            async with asyncio.timeout(timeout):
                for table in tables or self.tables:
                    while not (view := self.snapshot()[table]).initialized:
                        await view.watch_initializers()
        except TimeoutError:
            return False
        return True
