"""Write transactions: changes are staged in a private overlay; everything that can fail fails there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast, overload

from ._commit import CommitPlan, TableCommit, finish_torn
from ._errors import (
    DuplicateKey,
    IndexFunctionError,
    InitializerError,
    InvalidKey,
    InvalidRow,
    RevisionMismatch,
    RowNotFound,
    TableNotOpen,
    TransactionClosed,
)
from ._history import Commit, Initializer, Key, Layer, Pin, Redo, Root, Row, Undo
from ._keys import describe, shape_of
from ._read import (
    Entry,
    IndexView,
    PrefixIndexView,
    Source,
    TableView,
    UniqueIndexView,
    view_of,
)
from ._reserve import Holder
from ._schema import AnyIndex, Index, K, Keys, N, PrefixIndex, R, Table, UniqueIndex, check_row_type
from ._store import IndexStore, TableStore

if TYPE_CHECKING:
    from ._database import Snapshot

I = TypeVar("I")  # noqa: E741 - the key type of an index
_NOT_CLAIMED: Any = object()
_NO_PIN = Pin(Commit(0, 0, 0, ()))


class Overlay(Source):
    """What a transaction has staged on one table, over the newest state, which it alone may change."""

    __slots__ = ("_layer", "claims", "count", "holder", "log", "pending", "redo", "revision", "undo")

    def __init__(self, store: TableStore, pin: Pin, holder: Holder) -> None:
        """Nothing staged."""
        super().__init__(store, pin)
        self.holder = holder
        self.undo: Undo = {}
        self.redo: Redo = {}
        self.log: list[Key] = []
        self.revision = pin.commit.revision
        self.count = pin.commit.count
        self.pending = pin.commit.pending
        # Unique secondary keys that this transaction gave to a row, or took from one (None).
        self.claims: list[dict[Key, Key | None]] | None = [{} for _ in store.unique_indexes] or None
        self._layer = Layer(cast("dict[Key, Any]", self.redo), self.log)

    def layers(self) -> tuple[Layer, ...]:
        """The staged rows, if there are any."""
        return (self._layer,) if self.redo else ()

    def check_open(self) -> None:
        """Raise TransactionClosed after commit or abort."""
        if self.holder.closed:
            raise TransactionClosed(
                f"table {self.store.name!r}: the transaction was {self.holder.closed}; open a new one with db.write"
            )

    @property
    def changed(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.redo) or self.pending != self.pin.commit.pending

    # -- staging ---------------------------------------------------------------------------------------------

    def stage(self, row: Row, key: Key, old: Row | None) -> None:
        """Stage a row over ``old``, the one that is there now. Nothing is changed where it raises."""
        store = self.store
        keys = self.checked_keys(row)
        before = self.redo.get(key)
        if before is not None:
            old_keys: tuple[Keys, ...] = () if before[2] else before[3]
            undo_state = _NOT_CLAIMED
        elif old is None:
            old_keys = ()
            undo_state = None
            if type(key) is not store.shape or key != key:
                self.check_shape(store, key, row)
        else:
            old_keys = store.keys_of(old)
            undo_state = (old, store.revisions[key], False, old_keys)
        if keys != old_keys or old is None:
            self.check_new_keys(key, row, keys, old_keys if old is not None else ())
            if self.claims is not None:
                self.claim(key, keys, old_keys if old is not None else ())
        if undo_state is not _NOT_CLAIMED:
            self.undo[key] = undo_state
        revision = self.revision + 1
        self.redo[key] = (row, revision, False, keys)
        self.revision = revision
        if old is None:
            self.count += 1
        self.log.append(key)

    def stage_deletion(self, key: Key, old: Row) -> None:
        """Stage that the row, which is there, is gone."""
        before = self.redo.get(key)
        keys = before[3] if before is not None else self.store.keys_of(old)
        if self.claims is not None:
            self.claim(key, (), keys)
        if before is None:
            self.undo[key] = (old, self.store.revisions[key], False, keys)
        self.revision += 1
        self.redo[key] = (old, self.revision, True, keys)
        self.count -= 1
        self.log.append(key)

    # -- checking --------------------------------------------------------------------------------------------

    def key_of(self, row: Row) -> Key:
        """The primary key of a row, of a type that this table takes. Raises InvalidRow, IndexFunctionError."""
        if self.holder.closed:
            self.check_open()
        store = self.store
        if type(row) not in store.row_types:
            self.check_row_type(row)
        try:
            key = store.key_of(row)
        except Exception as error:
            raise self.index_error("primary", row, error) from error
        if key is None:
            raise IndexFunctionError(f"table {store.name!r}: the primary index has no key for {row!r}")
        return key

    def check_row_type(self, row: Row) -> None:
        """Accept a row's type once it is known to be frozen, and of the table's own."""
        store = self.store
        kind = type(row)
        declared = store.table.row_type
        if row is None or (isinstance(declared, type) and not isinstance(row, declared)):
            wanted = declared.__name__ if isinstance(declared, type) else "immutable values"
            raise InvalidRow(f"table {store.name!r} holds rows of {wanted}, not {kind.__name__}: {row!r}")
        check_row_type(store.name, kind)
        store.row_types.add(kind)

    def index_error(self, index: str, row: Row, error: Exception) -> Exception:
        """An index function's exception, told with table, index and row; ours pass through."""
        if isinstance(error, InvalidKey):
            return InvalidKey(f"table {self.store.name!r}, index {index!r}: {error}; row {row!r}")
        reason = str(error) if isinstance(error, IndexFunctionError) else f"{type(error).__name__}: {error}"
        return IndexFunctionError(f"table {self.store.name!r}, index {index!r}: {reason}; row {row!r}")

    def checked_keys(self, row: Row) -> tuple[Keys, ...]:
        """The keys of a row in all secondary indexes; tells which index failed."""
        try:
            return tuple([store.index.keys_of(row) for store in self.store.indexes])
        except Exception:
            for store in self.store.indexes:
                try:
                    store.index.keys_of(row)
                except Exception as error:
                    raise self.index_error(store.index.name, row, error) from error
            raise

    def check_shape(self, store: TableStore | IndexStore, key: Key, row: Row) -> None:
        """Demand of a new key the type shape of the index's first one, so that no comparison fails in a reader."""
        index = "primary" if isinstance(store, TableStore) else store.index.name
        try:
            shape = shape_of(key)
        except InvalidKey as error:
            raise self.index_error(index, row, error) from error
        keys: dict[Key, Any] = store.rows if isinstance(store, TableStore) else store.entries
        if store.shape is None or not (keys or self.redo):
            store.shape = shape
        elif shape != store.shape:
            raise InvalidKey(
                f"table {self.store.name!r}, index {index!r}: the key {key!r} is {describe(shape)}, but the others are "
                f"{describe(store.shape)}; all keys of an index must have one type; row {row!r}"
            )

    def check_new_keys(self, key: Key, row: Row, keys: tuple[Keys, ...], old_keys: tuple[Keys, ...]) -> None:
        """Check index keys that come, and that those that go were really there."""
        for place, store in enumerate(self.store.indexes):
            entries = store.entries
            new = keys[place]
            for secondary in new:
                try:
                    if secondary not in entries and (type(secondary) is not store.shape or secondary != secondary):
                        self.check_shape(store, secondary, row)
                except TypeError as error:
                    if isinstance(error, InvalidKey):
                        raise
                    raise InvalidKey(
                        f"table {self.store.name!r}, index {store.index.name!r}: {error}; "
                        f"keys must be hashable; row {row!r}"
                    ) from error
            if old_keys and new != old_keys[place] and key not in self.redo:
                for secondary in old_keys[place]:
                    if not store.names(secondary, key):
                        raise IndexFunctionError(
                            f"table {self.store.name!r}, index {store.index.name!r}: the function gives "
                            f"{secondary!r} now and did not when row {key!r} was stored; it must be pure"
                        )

    def claim(self, key: Key, keys: tuple[Keys, ...], old_keys: tuple[Keys, ...]) -> None:
        """Give and take unique secondary keys, against the transaction's own state. Raises DuplicateKey."""
        assert self.claims is not None
        for claims, store in zip(self.claims, self.store.unique_indexes):
            for secondary in keys[store.position - 1] if keys else ():
                owner = claims.get(secondary, _NOT_CLAIMED)
                if owner is _NOT_CLAIMED:
                    owner = store.entries.get(secondary)
                if owner is not None and owner != key:
                    raise DuplicateKey(
                        f"table {self.store.name!r}, unique index {store.index.name!r}: {secondary!r} belongs to row "
                        f"{owner!r} and cannot go to {key!r} as well; delete or change the other row first"
                    )
        for claims, store in zip(self.claims, self.store.unique_indexes):
            for secondary in old_keys[store.position - 1] if old_keys else ():
                claims[secondary] = None
            for secondary in keys[store.position - 1] if keys else ():
                claims[secondary] = key


class TableWriter(TableView[K, R]):
    """One table in a write transaction: reads see the transaction's own writes, and nobody else does until it commits.

    A call that raises leaves the transaction as it was before, and usable.
    """

    __slots__ = ("_redo", "_rows", "_source")

    _source: Overlay

    def __init__(self, source: Overlay) -> None:
        """Transactions make these: ``txn[Services]``."""
        super().__init__(source)
        self._commit = _NO_PIN.commit  # a writer that outlives its transaction holds no history back
        self._redo = source.redo
        self._rows = source.store.rows

    # -- writing ---------------------------------------------------------------------------------------------

    def insert(self, row: R, *, force: bool = False) -> R | None:
        """Put a row in, over the one with its key if there is one; the replaced row or None.

        A row equal to the stored one is not written: its revision stays, nobody wakes (``force`` writes it). Raises
        DuplicateKey, InvalidRow, InvalidKey, IndexFunctionError.
        """
        source = self._source
        key = source.key_of(row)
        old: R | None = self._current(key)
        if old is not None and not force and old == row:
            return old
        source.stage(row, key, old)
        return old

    def replace(self, row: R, *, at: int | None = None) -> R:
        """Put a row over the one with its key; the replaced row. Raises RowNotFound where there is none.

        With ``at`` only if the stored row's revision is that one: raises RevisionMismatch where it is not.
        """
        key = self._source.key_of(row)
        old = self._expected(key, at)
        if old != row:
            self._source.stage(row, key, old)
        return old

    def modify(self, key: K, change: Callable[[R], R]) -> R:
        """Put ``change(row)`` in the place of the row; the new row. Raises RowNotFound where there is none.

        Raises InvalidRow where the change moves the primary key: delete and insert instead.
        """
        self._source.check_open()
        old = self._expected(key, None)
        new = change(old)
        if self._source.key_of(new) != key:
            raise InvalidRow(
                f"table {self._source.store.name!r}: the change moves row {key!r} to another primary key; "
                f"delete it and insert the new one: {new!r}"
            )
        if new != old:
            self._source.stage(new, key, old)
        return new

    def delete(self, key: K, *, at: int | None = None) -> R | None:
        """Take a row out; the deleted row, or None where there was none.

        With ``at`` only if its revision is that one: raises RevisionMismatch where it is not.
        """
        self._source.check_open()
        old: R | None = self._current(key)
        if old is None:
            return None
        if at is not None:
            self._check_revision(key, at)
        self._source.stage_deletion(key, old)
        return old

    def clear(self) -> int:
        """Delete every row; how many."""
        keys = list(self)
        for key in keys:
            self.delete(key)
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
        initializer = Initializer(name)
        source.pending = (*source.pending, initializer)
        return initializer

    def finish_initializer(self, initializer: Initializer) -> None:
        """Keep the promise, from the commit on. Twice does no harm; in an aborted transaction it does not count."""
        source = self._source
        source.check_open()
        source.pending = tuple([pending for pending in source.pending if pending is not initializer])

    def _current(self, key: Key) -> Any:
        state = self._redo.get(key)
        if state is not None:
            return None if state[2] else state[0]
        return self._rows.get(key)

    def _expected(self, key: Key, at: int | None) -> R:
        old = self._current(key)
        if old is None:
            raise RowNotFound(f"table {self._source.store.name!r} has no row {key!r} to replace; insert it")
        if at is not None:
            self._check_revision(key, at)
        return cast(R, old)

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
        if self._source.holder.closed:
            self._source.check_open()
        row = self._current(key)
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
        return self._source.revision

    @property
    def initialized(self) -> bool:
        """Whether the table is initialized with what is staged."""
        return not self._source.pending

    @property
    def pending_initializers(self) -> tuple[str, ...]:
        """The names of those still pending with what is staged."""
        return tuple([initializer.name for initializer in self._source.pending])

    def _rows_in_order(self) -> list[R]:
        self._source.check_open()
        return self._source.ordered() if self._redo else list(super()._rows_in_order())


class WriteTransaction:
    """Writes to one or several tables that become visible together, or not at all.

    A context manager: commits at the end of the block, aborts if the block raises. Its tables are locked from
    ``db.write`` on until then; readers never wait. One that is dropped open aborts with a ResourceWarning.
    """

    __slots__ = ("__weakref__", "_holder", "_make_snapshot", "_outcome", "_overlays", "_root", "_stores", "_writers")

    def __init__(
        self,
        root: Root,
        stores: tuple[TableStore, ...],
        make_snapshot: Callable[[dict[Any, Pin]], Snapshot],
    ) -> None:
        """Take all tables, in the order given; ``Database.write`` sorts them."""
        self._root = root
        self._stores = stores
        self._make_snapshot = make_snapshot
        self._outcome: Snapshot | None = None
        self._writers: dict[Any, TableWriter[Any, Any]] = {}
        self._overlays: dict[Any, Overlay] = {}
        self._holder = Holder(", ".join([store.name for store in stores]))
        try:
            for store in stores:
                store.reservation.take(self._holder)
                if store.unfinished is not None:
                    finish_torn(store)
            pins = root.pins
            for store in stores:
                overlay = Overlay(store, pins[store.table], self._holder)
                self._overlays[store.table] = overlay
                self._writers[store.table] = TableWriter(overlay)
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
        if self._holder.closed:
            raise TransactionClosed(f"the transaction was {self._holder.closed}; open a new one with db.write(...)")
        writer = self._writers.get(table)
        if writer is not None:
            return writer
        if isinstance(table, AnyIndex):
            owner = self._writers.get(table.table)
            if owner is not None:
                owner._source.check_open()
                return view_of(owner, table)
        owner_table = table.table if isinstance(table, AnyIndex) else table
        name = getattr(owner_table, "name", repr(table))
        raise TableNotOpen(
            f"table {name!r} is not open for writing in this transaction (open: {self._holder.tables or 'none'}); "
            "name it in db.write(...), or read it from a snapshot"
        )

    def __repr__(self) -> str:
        """Its tables and whether it is open."""
        return f"<WriteTransaction on {self._holder.tables or 'no tables'}, {self._holder.closed or 'open'}>"

    def __enter__(self) -> Self:
        """The transaction itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        """Commit, or abort where the block raised. Nothing where that was done by hand."""
        try:
            if kind is None and not self._holder.closed:
                self.commit()
        finally:
            if not self._holder.closed:
                self.abort()
        return False

    def commit(self) -> Snapshot:
        """Make the writes visible, all at once; the snapshot of the database with them.

        A second time gives the same snapshot. Raises TransactionClosed after an abort.
        """
        if self._holder.closed:
            if self._outcome is None:
                raise TransactionClosed(f"the transaction on {self._holder.tables} was {self._holder.closed} already")
            return self._outcome
        try:
            plan = CommitPlan(self._root, self._holder, self._stores, self._parts())
            plan.run()
            self._outcome = self._make_snapshot(plan.pins)
        finally:
            if not self._holder.closed:
                self.abort()
            self._forget()
        return self._outcome

    def _parts(self) -> list[TableCommit]:
        return [
            TableCommit(o.store, o.pin, o.undo, o.redo, o.revision, o.pending)
            for o in self._overlays.values()
            if o.changed
        ]

    def abort(self) -> None:
        """Drop the writes and free the tables. Nothing happens where the transaction is closed."""
        if not self._holder.closed:
            self._holder.closed = "aborted"
        for store in self._stores:
            store.reservation.release(self._holder)
        self._forget()

    def _forget(self) -> None:
        """Let go of the base snapshot and of what was staged, so that a closed transaction pins nothing."""
        for overlay in self._overlays.values():
            overlay.pin = _NO_PIN
        self._overlays = {}
        self._writers = {}

    def __del__(self) -> None:
        """Abort where nobody did."""
        holder = getattr(self, "_holder", None)
        if holder is not None and not holder.closed:
            self.abort()
            warnings.warn(
                f"a write transaction on {holder.tables} was dropped open and is aborted; use `with db.write(...)`",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
