"""Write transactions: changes are staged in a private overlay; everything that can fail fails there."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from threading import Lock, get_ident
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast, overload

from .commit import CommitPlan, prepared
from .errors import InitializerError, InvalidRow, RevisionMismatch, RowNotFound, TableNotOpen
from .history import Initializer, Key, Pin, State
from .read import Entry, IndexView, PrefixIndexView, TableView, UniqueIndexView, view_of
from .reserve import HOLDER
from .schema import AnyIndex, Index, K, N, PrefixIndex, R, Table, UniqueIndex
from .stage import NO_PIN, Overlay
from .store import TableStore

if TYPE_CHECKING:
    from .database import Database, Snapshot

I = TypeVar("I")  # noqa: E741 - the key type of an index
_TIMES = Lock()
_NO_PINS: dict[Any, Pin] = {}
_NO_WRITERS: dict[Any, Any] = {}
_NO_PARTS: list[Any] = []


class TableWriter(TableView[K, R]):
    """One table in a write transaction: reads see the transaction's own writes, and nobody else does until it commits.

    A call that raises leaves the transaction as it was before, and usable.
    """

    __slots__ = ("_redo",)

    _source: Overlay

    def __init__(self, source: Overlay) -> None:
        """Transactions make these: ``txn[Services]``."""
        self._source = source
        self._commit = NO_PIN.commit  # a writer that outlives its transaction holds no history back
        self._redo = source.redo
        self._get = source.store.rows.get

    # -- writing ---------------------------------------------------------------------------------------------

    def insert(self, row: R, *, force: bool = False) -> R | None:
        """Put a row in, over the one with its key if there is one; the replaced row or None.

        A row equal to the stored one is not written: its revision stays, nobody wakes (``force`` writes it). Raises
        DuplicateKey, InvalidRow, InvalidKey, IndexFunctionError.
        """
        source = self._source  # the lines of _located, spelled out: a call less is 5 percent of a bulk load
        if source.plan.closed or source.plan.thread != get_ident():
            source.check_open()
        store = source.store
        if type(row) not in store.row_types:
            source.check_row_type(row)
        try:
            key = store.key_of(row)
            staged = self._redo.get(key)
        except Exception as error:
            raise source.key_error(row, error) from error
        old: R | None
        if staged is not None:
            old = _live(staged)
        elif key is not None:
            old = self._get(key)
            if old is None and source.stage_new(row, key):
                return None
        else:
            raise source.no_key(row)
        if old is not None and not force and old == row:
            return old
        source.stage(row, key, old, staged)
        return old

    def insert_all(self, rows: Iterable[R]) -> int:
        """Put rows in as `insert` does, one after the other; how many were written: those equal to the stored are not.

        All or none: where a row raises, none of them is staged. Of rows with one key the last one stays. Cost: new
        rows, which is what bulk loads are made of, take half the time of as many calls of `insert`. Raises as there.
        """
        source = self._source
        source.check_open()
        given = list(rows)
        return len(given) if source.stage_all_new(given) else self._insert_each(given)

    def _insert_each(self, rows: list[R]) -> int:
        source = self._source
        revision = source.revision
        staged_before: dict[Any, State | None] = {}
        try:
            for row in rows:
                key, staged, old = self._located(row)
                if old is None or old != row:
                    staged_before.setdefault(key, staged)
                    source.stage(row, key, old, staged)
        except BaseException:
            source.unstage(staged_before)
            raise
        return source.revision - revision

    def replace(self, row: R, *, at: int | None = None) -> R:
        """Put a row over the one with its key; the replaced row. Raises RowNotFound where there is none.

        With ``at`` only if the stored row's revision is that one: raises RevisionMismatch where it is not.
        """
        key, staged, old = self._located(row)
        if old is None:
            raise self._missing(key)
        if at is not None:
            self._check_revision(key, at)
        if old != row:
            self._source.stage(row, key, old, staged)
        return old

    def modify(self, key: K, change: Callable[[R], R]) -> R:
        """Put ``change(row)`` in the place of the row; the new row. Raises RowNotFound where there is none.

        Raises InvalidRow where the change moves the primary key: delete and insert instead.
        """
        old = self.get(key)
        if old is None:
            raise self._missing(key)
        new = change(cast(R, old))
        moved, staged, now = self._located(new)
        if moved != key:
            raise InvalidRow(
                f"table {self._source.store.name!r}: the change moves row {key!r} to another primary key; "
                f"delete it and insert the new one: {new!r}"
            )
        if new != now:
            self._source.stage(new, key, now, staged)
        return new

    def delete(self, key: K, *, at: int | None = None) -> R | None:
        """Take a row out; the deleted row, or None where there was none.

        With ``at`` only if its revision is that one: raises RevisionMismatch where it is not.
        """
        if self._source.plan.closed or self._source.plan.thread != get_ident():
            self._source.check_open()
        staged = self._redo.get(key)
        old: R | None = self._get(key) if staged is None else _live(staged)
        if old is None:
            return None
        if at is not None:
            self._check_revision(key, at)
        self._source.stage_deletion(key, old, staged)
        return old

    def clear(self) -> int:
        """Delete every row, or none where that raises; how many."""
        keys = list(self)
        staged_before = {key: self._redo.get(key) for key in keys}
        try:
            for key in keys:
                self.delete(key)
        except BaseException:
            self._source.unstage(staged_before)
            raise
        return len(keys)

    def begin_initializer(self, name: str) -> Initializer:
        """Promise to fill the table: from the commit on it is not initialized until ``finish_initializer``.

        Raises InitializerError where one of this name is pending.
        """
        source = self._source
        source.check_open()
        if any(initializer.name == name for initializer in source.pending):
            raise InitializerError(
                f"table {source.store.name!r}: initializer {name!r} is pending; finish it, or choose another name"
            )
        initializer = Initializer(name, source.store.table)
        source.pending = (*source.pending, initializer)
        return initializer

    def finish_initializer(self, initializer: Initializer) -> None:
        """Keep the promise, from the commit on. Twice does no harm; in an aborted transaction it does not count.

        Raises InitializerError for one of another table.
        """
        source = self._source
        source.check_open()
        if not isinstance(initializer, Initializer):
            raise InitializerError(
                f"table {source.store.name!r}: {initializer!r} is no initializer; give what begin_initializer returned"
            )
        if initializer.table is not source.store.table:
            raise InitializerError(
                f"table {source.store.name!r}: initializer {initializer.name!r} was begun on another table; "
                "finish it there"
            )
        source.pending = tuple([pending for pending in source.pending if pending is not initializer])

    def _located(self, row: R) -> tuple[Any, State | None, R | None]:
        """The primary key of a row to be written, what is staged for it, and the row that is there now."""
        source = self._source
        if source.plan.closed or source.plan.thread != get_ident():
            source.check_open()
        store = source.store
        if type(row) not in store.row_types:
            source.check_row_type(row)
        try:
            key = store.key_of(row)
            staged = self._redo.get(key)
        except Exception as error:
            raise source.key_error(row, error) from error
        if staged is not None:
            return key, staged, _live(staged)
        if key is None:
            raise source.no_key(row)
        return key, None, self._get(key)

    def _missing(self, key: Key) -> RowNotFound:
        return RowNotFound(f"table {self._source.store.name!r} has no row {key!r} to replace; insert it")

    def _check_revision(self, key: Key, at: int) -> None:
        entry = self._source.entry(key)
        if entry is not None and entry.revision != at:
            raise RevisionMismatch(
                f"table {self._source.store.name!r}: row {key!r} is at revision {entry.revision}, not {at}; "
                "read it again"
            )

    # -- reading, over what is staged ------------------------------------------------------------------------

    def get(self, key: Any, default: Any = None, /) -> Any:
        """The row as the transaction sees it, or the default."""
        if self._source.plan.closed or self._source.plan.thread != get_ident():
            self._source.check_open()
        staged = self._redo.get(key)
        row = self._get(key) if staged is None else _live(staged)
        return default if row is None else row

    def entry(self, key: K) -> Entry[R] | None:
        """The row with its revision as the transaction sees it, or None."""
        return super().entry(key)

    def __len__(self) -> int:
        """How many rows, staged ones included."""
        self._source.check_open()
        return self._source.count

    @property
    def revision(self) -> int:
        """The revision that the table has with what is staged."""
        self._source.check_open()
        return self._source.revision

    @property
    def initialized(self) -> bool:
        """Whether the table is initialized with what is staged."""
        self._source.check_open()
        return not self._source.pending

    @property
    def pending_initializers(self) -> tuple[str, ...]:
        """The names of those still pending with what is staged."""
        self._source.check_open()
        return tuple([initializer.name for initializer in self._source.pending])

    def _rows_in_order(self) -> list[R]:
        self._source.check_open()
        return self._source.ordered() if self._redo else list(super()._rows_in_order())


def _live(staged: State) -> Any:
    """The row of a staged state; None where it is staged as deleted."""
    return None if staged[2] else staged[0]


class WriteTransaction:
    """Writes to one or several tables that become visible together, or not at all.

    A context manager: commits at the end of the block, aborts if the block raises. Its tables are locked from
    ``db.write`` on until then; readers never wait. One that is dropped open aborts with a ResourceWarning. It is for
    the thread that opened it: elsewhere every call but ``abort`` raises WrongThread.
    """

    __slots__ = ("__weakref__", "_database", "_pins", "_plan", "_writers")

    def __init__(self, database: Database, stores: tuple[TableStore, ...]) -> None:
        """Take all tables, in the order given; ``Database.write`` sorts them."""
        self._database = database
        self._writers: dict[Any, TableWriter[Any, Any]] = {}
        self._pins = _NO_PINS
        self._plan = plan = CommitPlan(stores)
        try:
            for store in stores:
                if store.reservation.holder.setdefault(HOLDER, plan) is not plan:
                    store.reservation.take(plan)
                if store.unfinished is not None:
                    store.unfinished()
            self._pins = database._root.pins  # after the last table was taken
        except BaseException:
            self.abort()
            raise

    @overload
    def __getitem__(self, table: type[Table[K, R]]) -> TableWriter[K, R]: ...
    @overload
    def __getitem__(self, table: UniqueIndex[I, R]) -> UniqueIndexView[I, R]: ...
    @overload
    def __getitem__(self, table: Index[I, R]) -> IndexView[I, R]: ...
    @overload
    def __getitem__(self, table: PrefixIndex[N, R]) -> PrefixIndexView[N, R]: ...
    def __getitem__(self, table: Any) -> Any:
        """The writer of a table, or the view of an index, both seeing what is staged. Raises TableNotOpen."""
        if self._plan.closed or self._plan.thread != get_ident():
            self._plan.check_open()
        try:
            writer = self._writers.get(table)
        except TypeError:
            raise TableNotOpen(f"{table!r} is no table and no index; give the class, or an index of it") from None
        if writer is not None:
            return writer
        for store in self._plan.reserved:
            if store.table is table:
                writer = self._writers[table] = TableWriter(Overlay(store, self._pins[table], self._plan))
                return writer
        if isinstance(table, AnyIndex) and getattr(table, "table", None) is not None:
            return view_of(self[table.table], table)
        raise TableNotOpen(
            f"table {getattr(table, 'name', table)!r} is not open for writing in this transaction "
            f"(open: {self._plan.tables}); name it in db.write(...), or read it from a snapshot"
        )

    def __repr__(self) -> str:
        """Its tables and whether it is open."""
        return f"<WriteTransaction on {self._plan.tables}, {self._plan.closed or 'open'}>"

    def __enter__(self) -> Self:
        """The transaction itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        """Commit, or abort where the block raised. Nothing where that was done by hand."""
        try:
            if kind is None and not self._plan.closed:
                self._plan.check_open()
                self._commit()
        finally:
            if not self._plan.closed:
                self.abort()
        return False

    def commit(self) -> Snapshot:
        """Make the writes visible, all at once; the snapshot of the database with them.

        A second time gives the same snapshot. Raises TransactionClosed after an abort.
        """
        if self._plan.pins is None:
            self._plan.check_open()
            self._commit()
        assert self._plan.pins is not None
        return self._database._snapshot_of(self._plan.pins)

    def _commit(self) -> None:
        plan = self._plan
        try:
            for writer in self._writers.values():
                source = writer._source
                if source.redo or source.pending != source.pin.commit.pending:
                    plan.parts.append(prepared(source))
                source.pin = NO_PIN
            if not plan.parts:
                plan.pins = self._database._root.pins
            try:
                plan.finish()
            except BaseException:
                plan.finish_again()  # forward: what follows the first link is idempotent
                raise
        finally:
            if not plan.closed:
                self.abort()
            self._writers = _NO_WRITERS
            self._pins = _NO_PINS
            if plan.torn is None:
                plan.parts = _NO_PARTS

    def abort(self) -> None:
        """Drop the writes and free the tables. Nothing happens where the transaction is closed. From any thread."""
        try:
            self._let_go()
        except BaseException:
            self._let_go()  # an interrupt must not leave a table taken by a transaction that is closed
            raise

    def _let_go(self) -> None:
        """Idempotent."""
        if not self._plan.closed:
            self._plan.closed = "aborted"
        if self._plan.torn is None:
            for store in self._plan.reserved:
                store.reservation.release(self._plan)
        self._forget()

    def _forget(self) -> None:
        """Let go of the base snapshot and of what was staged, so that a closed transaction pins nothing."""
        for writer in self._writers.values():
            writer._source.pin = NO_PIN
        self._writers.clear()
        self._pins = _NO_PINS
        if self._plan.torn is None:
            self._plan.parts = []

    def __del__(self) -> None:
        """Abort where nobody did."""
        plan = getattr(self, "_plan", None)
        if plan is not None and not plan.closed:
            self.abort()
            warnings.warn(
                f"a write transaction on {plan.tables} was dropped open and is aborted; use `with db.write(...)`",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )


class ObservedTransaction(WriteTransaction):
    """One of a database whose commits are timed, or checked."""

    __slots__ = ()

    def _commit(self) -> None:
        begun = perf_counter()
        super()._commit()
        seconds = perf_counter() - begun
        with _TIMES:
            for store in self._plan.reserved:
                store.commits_timed += 1
                store.commits_s += seconds
        if self._database._check:
            self._database.check()
