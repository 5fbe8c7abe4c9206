"""Write transactions: they reserve their tables, stage changes with a writer for each table, and commit or abort."""

from __future__ import annotations

import asyncio
import warnings
from threading import get_ident
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, overload

from .commit import CommitPlan, prepared
from .errors import TableNotOpen, TransactionClosed
from .head import Head
from .history import Pin
from .index_views import IndexView, TextPrefixIndexView, UniqueIndexView
from .network_view import PrefixIndexView
from .overlay import NO_PIN, Overlay
from .reserve import ABORTED, COMMITTED, DECISION, HOLDER, RELEASER
from .schema import AnyIndex, Index, K, N, PrefixIndex, R, T, Table, TextPrefixIndex, UniqueIndex
from .snapshot import I, Snapshot, view_of
from .store import TableStore
from .writer import TableWriter

_NO_PINS: dict[Any, Pin] = {}
_NO_WRITERS: dict[Any, Any] = {}
_NO_PARTS: list[Any] = []


class WriteTransaction:
    """Writes to one or several tables that become visible together, or not at all.

    A context manager: commits at the end of the block, aborts if the block raises. It holds its tables from
    ``db.write`` until then; readers never wait. If it is garbage collected while open, it aborts with a
    ResourceWarning. Only the thread that opened it may use it: elsewhere every call but ``abort`` raises WrongThread.
    """

    __slots__ = ("__weakref__", "_head", "_pins", "_plan", "_writers")

    def __init__(
        self,
        head: Head,
        stores: tuple[TableStore, ...],
        owner: object | None = None,
        timeout: float | None = None,
    ) -> None:
        """Reserve all tables, in the given order. ``Database.write`` sorts them."""
        deadline = None if timeout is None else monotonic() + timeout
        self._head = head
        self._writers: dict[Any, TableWriter[Any, Any]] = {}
        self._pins = _NO_PINS
        self._plan = plan = CommitPlan(stores)
        try:
            for store in stores:
                if store.reservation.holder.setdefault(HOLDER, plan) is not plan:
                    store.check_owner(owner)  # before waiting, and again afterwards
                    store.reservation.take(plan, deadline)
                if store.owner is not None:
                    store.check_owner(owner)
                if store.unfinished is not None:
                    store.unfinished.finish_torn()
            self._pins = head._root.pins  # after the last table is reserved
        except BaseException:
            self.abort()
            raise

    @classmethod
    async def in_task(
        cls, head: Head, stores: tuple[TableStore, ...], owner: object | None, timeout: float | None
    ) -> Self:
        """Reserve all tables, in the given order, while the event loop runs. Raises what the blocking form raises."""
        deadline = None if timeout is None else monotonic() + timeout
        txn = cls(head, ())
        plan = txn._plan
        plan.reserved = stores
        plan.task = asyncio.current_task()
        try:
            for store in stores:
                store.check_owner(owner)
                await store.reservation.take_in_task(plan, deadline)
                store.check_owner(owner)
                if store.unfinished is not None:
                    store.unfinished.finish_torn()
            txn._pins = head._root.pins  # after the last table is reserved
        except BaseException:
            txn.abort()
            raise
        return txn

    @overload
    def __getitem__(self, table: type[Table[K, R]]) -> TableWriter[K, R]: ...
    @overload
    def __getitem__(self, table: UniqueIndex[I, R]) -> UniqueIndexView[I, R]: ...
    @overload
    def __getitem__(self, table: TextPrefixIndex[T, R]) -> TextPrefixIndexView[T, R]: ...
    @overload
    def __getitem__(self, table: Index[I, R]) -> IndexView[I, R]: ...
    @overload
    def __getitem__(self, table: PrefixIndex[N, R]) -> PrefixIndexView[N, R]: ...
    def __getitem__(self, table: Any) -> Any:
        """The writer of a table, or the view of an index. Both include staged rows. Raises TableNotOpen."""
        if self._plan.closed or self._plan.thread != get_ident():
            self._plan.check_open()
        try:
            writer = self._writers.get(table)
        except TypeError:
            raise TableNotOpen(f"{table!r} is neither a table nor an index; use a table class or its index") from None
        if writer is not None:
            return writer
        for store in self._plan.reserved:
            if store.table is table:
                pin = self._pins.get(table)
                if pin is None:  # another thread has aborted since the check: it decides first, then drops the pins
                    self._plan.check_open()
                    raise AssertionError(f"an open transaction holds no state of table {store.name!r}")
                writer = self._writers[table] = TableWriter(Overlay(store, pin, self._plan))
                return writer
        if isinstance(table, AnyIndex) and getattr(table, "table", None) is not None:
            return view_of(self[table.table], table)
        raise TableNotOpen(
            f"table {getattr(table, 'name', table)!r} is not open for writing in this transaction "
            f"(open: {self._plan.tables}); name it in db.write(...), or read it from a snapshot"
        )

    def __repr__(self) -> str:
        """Its tables, and whether it is open."""
        return f"<WriteTransaction on {self._plan.tables}, {self._plan.closed or 'open'}>"

    def __enter__(self) -> Self:
        """The transaction itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        """Commit, or abort if the block raised. Does nothing if it is already closed."""
        try:
            if kind is None and not self._plan.closed:
                self._plan.check_open()
                self._commit()
        finally:
            if not self._plan.closed:
                self.abort()
        return False

    def snapshot(self) -> Snapshot:
        """All tables of the database as this transaction sees them now, with staged rows: a snapshot like any other.

        It does not change with what is staged later, nor with a commit or abort. Pass it to code that reads snapshots.
        Staged rows have the revisions that they get if the transaction commits. Watches on it start at the state before
        the transaction, as those of the transaction do. ``db.changes(since=...)`` rejects it. Cost: O(staged rows).
        """
        self._plan.check_open()
        pins = self._pins.copy()
        for table, writer in list(self._writers.items()):
            pins[table] = writer._source.staged_pin()
        self._plan.check_open()  # again: an abort by another thread decides first, then drops the pins
        return self._head._snapshot_of(pins)

    def commit(self) -> Snapshot:
        """Make the writes visible, all at once. Returns a snapshot of the database that includes them.

        A second call returns the same state. Raises TransactionClosed after an abort.
        """
        if self._plan.pins is None:
            self._plan.check_open()
            self._commit()
        assert self._plan.pins is not None
        return self._head._snapshot_of(self._plan.pins)

    def _commit(self) -> None:
        plan = self._plan
        try:
            if plan.parts:  # of a call that two exceptions broke, the second one in its `abort`
                self._refuse_broken()
            for writer in list(self._writers.values()):
                source = writer._source
                if source.undoing or source.pin is NO_PIN:
                    self._refuse_broken()
                if source.redo or source.pending != source.pin.commit.pending:
                    plan.parts.append(prepared(source))
                source.pin = NO_PIN
            try:
                plan.finish()
                if plan.pins is None:
                    plan.pins = self._head._root.pins
            except BaseException:
                try:
                    if plan.outcome.get(DECISION) is COMMITTED:
                        plan.finish()  # roll forward: all steps after the first link are idempotent
                except BaseException:
                    if DECISION in plan.outcome and plan.outcome[DECISION] is COMMITTED:  # no call, so no third one
                        plan.torn = plan.finish_torn
                        plan.leave_torn()
                    raise
                raise
        finally:
            if not plan.closed:
                self.abort()
            self._head._cached = None  # it keeps the state before: see Head.snapshot
            self._writers = _NO_WRITERS
            self._pins = _NO_PINS
            if plan.torn is None:
                plan.parts = _NO_PARTS

    def _refuse_broken(self) -> NoReturn:
        self._plan.check_open()  # another thread may have aborted it meanwhile
        raise TransactionClosed(
            f"the transaction on {self._plan.tables} is aborted: an exception broke an earlier commit(), or the "
            "undoing of a call that had raised, so what is staged is not known; open a new one with db.write(...)"
        )

    def abort(self) -> None:
        """Discard the writes and release the tables. Does nothing if the transaction is closed.

        May be called from any thread. If another thread commits at the same time, one of the two wins: see
        ``Holder.decide``.
        """
        plan, call = self._plan, [get_ident()]
        try:
            self._release_tables(call)
        except BaseException:
            try:
                self._release_tables(call)  # an interrupt must not leave a table reserved by a closed transaction
            except BaseException:
                outcome = plan.outcome
                if DECISION in outcome and outcome[DECISION] == ABORTED:  # nothing is called, so no third one comes
                    if RELEASER in outcome and outcome[RELEASER] is call:
                        del outcome[RELEASER]
                    plan.torn = self.abort  # the next writer does it
                raise
            raise

    def _release_tables(self, call: list[int]) -> None:
        """Idempotent for one call of ``abort``. Changes nothing if a commit was decided.

        Of several aborts at once, in other threads or in a handler that interrupts one, the first releases the tables
        and the others change nothing. Without that:

            abort in thread A           abort in thread B         a writer in thread C
            checks: the table is ours
                                        checks, frees the table
                                                                  takes the table
            frees the table of C
        """
        plan = self._plan
        if not plan.decide(ABORTED) or plan.outcome.setdefault(RELEASER, call) is not call:
            return
        # A thread may still be staging with the writers: it finds the transaction closed at its next call.
        # So that a closed transaction pins nothing, everything reachable from here is replaced and not emptied.
        for writer in list(self._writers.values()):
            writer._source.pin = NO_PIN
        self._writers = {}
        self._pins = _NO_PINS
        plan.parts = []
        for store in plan.reserved:  # last: from here on the next writer may start
            store.reservation.release(plan)

    def __del__(self) -> None:
        """Abort if it is still open."""
        plan = getattr(self, "_plan", None)
        if plan is not None and not plan.closed:
            self.abort()
            warnings.warn(
                f"a write transaction on {plan.tables} was dropped while open; it is aborted; use `with db.write(...)`",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )


class ObservedTransaction(WriteTransaction):
    """A transaction of a database whose commits are timed or checked."""

    __slots__ = ()

    def _commit(self) -> None:
        begun = perf_counter()
        super()._commit()
        seconds = perf_counter() - begun
        with self._head._lock:
            for store in self._plan.reserved:
                store.commits_timed += 1
                store.commits_s += seconds
        if self._head._check:
            self._head.check()
