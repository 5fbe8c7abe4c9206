"""Write transactions: changes are staged in a private overlay; everything that can fail fails there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from threading import Lock
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast, overload

from ._commit import CommitPlan, prepared
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
from ._history import Commit, Initializer, Key, Layer, Pin, Redo, Row, State
from ._keys import PLAIN, describe, fits_of, shape_of
from ._read import (
    Entry,
    IndexView,
    PrefixIndexView,
    Source,
    TableView,
    UniqueIndexView,
    view_of,
)
from ._reserve import HOLDER
from ._schema import AnyIndex, Index, K, Keys, N, PrefixIndex, R, Table, UniqueIndex, check_row_type
from ._store import IndexStore, TableStore

if TYPE_CHECKING:
    from ._database import Database, Snapshot

I = TypeVar("I")  # noqa: E741 - the key type of an index
REFUSED = (DuplicateKey, InvalidKey, IndexFunctionError)
"""What staging raises before it has changed anything."""
_NOT_CLAIMED: Any = object()
_TIMES = Lock()
_NO_PINS: dict[Any, Pin] = {}
_NO_WRITERS: dict[Any, Any] = {}
_NO_PARTS: list[Any] = []
_NO_PIN = Pin(Commit(0, 0, 0, ()))
_LINKED = Commit(0, 0, 0, ())
_LINKED.link = ({}, {}, _NO_PIN.commit)


class Overlay(Source):
    """What a transaction has staged on one table, over the newest state, which it alone may change."""

    __slots__ = ("before", "claims", "count", "layer", "log", "moved", "pending", "plan", "redo", "revision")

    def __init__(self, store: TableStore, pin: Pin, plan: CommitPlan) -> None:
        """Nothing staged."""
        commit = pin.commit
        self.store = store
        self.pin = pin
        self.plan = plan
        self.before: dict[Key, State] = {}  # what the rows were that are staged over; new rows are not among them
        self.redo: Redo = {}
        self.revision = commit.revision
        self.count = commit.count
        self.pending = commit.pending
        self.moved = False  # whether a row leaves an index key: others are spared the comparison
        # Unique secondary keys that this transaction gave to a row, or took from one (None).
        self.claims: list[dict[Key, Key | None]] | None = None
        if store.unique_indexes:
            self.claims = [{} for _ in store.unique_indexes]
        self.layer: Layer | None = None  # made for the first read that needs one, and kept up to date by the log
        self.log: list[Key] | None = None

    @property
    def commit(self) -> Commit:
        """One with a link: the newest rows may be staged over, or not ours to read any more."""
        return _LINKED

    def layers(self) -> tuple[Layer, ...]:
        """The staged rows, if there are any."""
        if not self.redo:
            return ()
        if self.layer is None:
            self.log = list(self.redo)
            self.layer = Layer(cast("dict[Key, Any]", self.redo), self.log)
        return (self.layer,)

    def check_open(self) -> None:
        """Raise TransactionClosed after commit or abort."""
        if self.plan.closed:
            raise TransactionClosed(
                f"table {self.store.name!r}: the transaction was {self.plan.closed}; open a new one with db.write"
            )

    # -- staging ---------------------------------------------------------------------------------------------

    def stage(self, row: Row, key: Key, old: Row | None, staged: State | None) -> None:
        """Stage a row over ``old``, the one that is there now; ``staged`` is what is staged for its key already.

        Everything that can fail comes first: where this raises, nothing has changed.
        """
        store = self.store
        try:
            keys = store.keys_of(row)
        except MemoryError:
            raise
        except Exception:
            raise self.explained(row) from None
        stored: State | None = None
        old_keys: tuple[Keys, ...] | None = None
        if staged is not None:
            if not staged[2]:
                old_keys = staged[3]
        elif old is not None:
            old_keys = store.keys_of(old)
            stored = (old, store.revisions[key], False, old_keys)
        elif type(key) is not store.plain and not store.fits(key):
            self.check_key(store, store.rows, key, row)
        try:
            if old_keys is None or keys != old_keys:
                for index, new in zip(store.indexes, keys):
                    for secondary in new:
                        if type(secondary) is not index.plain and not index.fits(secondary):
                            self.check_key(index, index.entries, secondary, row)
                if old is not None or staged is not None:
                    self.moved = True
                    if stored is not None:
                        self.check_pure(key, keys, stored[3])
                if self.claims is not None:
                    self.claim(key, keys, old_keys)
            else:
                keys = old_keys  # history keeps them once
            if stored is not None:
                self.before[key] = stored
            self.revision = revision = self.revision + 1
            self.redo[key] = (row, revision, False, keys)
            if old is None:
                self.count += 1
            if self.log is not None:
                self.log.append(key)
        except REFUSED:
            raise
        except BaseException:
            self.unstage(key, staged)
            raise

    def stage_new(self, row: Row, key: Key) -> bool:
        """Stage a row where there is none and nothing is staged: what bulk loads are made of.

        False, with nothing staged, where any of its keys is the first, or unlike others, or claimed, or cannot be
        taken: ``stage`` sees to all that, and tells what is wrong.
        """
        store = self.store
        if self.claims is not None or (type(key) is not store.plain and not store.fits(key)):
            return False
        try:
            keys = store.known_keys_of(row)
        except MemoryError:
            raise
        except Exception:  # told by stage
            return False
        if keys is None:
            return False
        try:
            self.revision = revision = self.revision + 1
            self.redo[key] = (row, revision, False, keys)
            self.count += 1
            if self.log is not None:
                self.log.append(key)
        except BaseException:
            self.unstage(key, None)
            raise
        return True

    def stage_deletion(self, key: Key, old: Row, staged: State | None) -> None:
        """Stage that the row, which is there, is gone."""
        keys = staged[3] if staged is not None else self.store.keys_of(old)
        self.moved = True
        try:
            if self.claims is not None:
                self.claim(key, None, keys)
            if staged is None:
                self.before[key] = (old, self.store.revisions[key], False, keys)
            self.revision = revision = self.revision + 1
            self.redo[key] = (old, revision, True, keys)
            self.count -= 1
            if self.log is not None:
                self.log.append(key)
        except BaseException:
            self.unstage(key, staged)
            raise

    def unstage(self, key: Key, staged: State | None) -> None:
        """Put back what an interrupt (Ctrl-C, MemoryError) left half staged for a key. Cost: O(staged rows)."""
        before, redo = self.before, self.redo
        if staged is None:
            before.pop(key, None)
            redo.pop(key, None)
        else:
            redo[key] = staged
        commit = self.pin.commit
        self.revision = max([commit.revision, *[state[1] for state in redo.values()]])
        self.count = commit.count + sum([(k not in before) - state[2] for k, state in redo.items()])
        self.layer = self.log = None
        if self.claims is not None:
            self.claims = [self._claimed(store.place) for store in self.store.unique_indexes]

    def _claimed(self, place: int) -> dict[Key, Key | None]:
        """The unique keys that the staged rows left (None) or took."""
        claims: dict[Key, Key | None] = {}
        for before in self.before.values():
            claims.update(dict.fromkeys(before[3][place]))
        for key, state in self.redo.items():
            if not state[2]:
                claims.update(dict.fromkeys(state[3][place], key))
        return claims

    # -- checking --------------------------------------------------------------------------------------------

    def key_error(self, row: Row, error: Exception) -> Exception:
        """Why the primary key of a row could not be taken or looked up."""
        name = self.store.name
        if isinstance(error, TypeError) and "unhashable" in str(error):
            return InvalidKey(f"table {name!r}, index 'primary': {error}; keys must be hashable; row {row!r}")
        return self.index_error("primary", row, error)

    def no_key(self, row: Row) -> IndexFunctionError:
        """The primary index function gave None."""
        return IndexFunctionError(f"table {self.store.name!r}: the primary index has no key for {row!r}")

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
        """An index function's exception, told with table, index and row; ours keep their class."""
        if isinstance(error, InvalidKey):
            return InvalidKey(f"table {self.store.name!r}, index {index!r}: {error}; row {row!r}")
        reason = str(error) if isinstance(error, IndexFunctionError) else f"{type(error).__name__}: {error}"
        return IndexFunctionError(f"table {self.store.name!r}, index {index!r}: {reason}; row {row!r}")

    def explained(self, row: Row) -> Exception:
        """The exception of the index function that fails for this row."""
        for store in self.store.indexes:
            try:
                store.index.keys_of(row)
            except Exception as error:
                explained = self.index_error(store.index.name, row, error)
                explained.__cause__ = error
                return explained
        return IndexFunctionError(
            f"table {self.store.name!r}: an index function failed once for row {row!r}; it must be pure"
        )

    def check_key(self, store: TableStore | IndexStore, keys: dict[Key, Any], key: Key, row: Row) -> None:
        """Demand of a new key the type shape of the index's first one, so that no comparison fails in a reader."""
        try:
            if key in keys:
                return
            shape = shape_of(key)
        except TypeError as error:  # unhashable, or InvalidKey
            raise self.index_error(self._name_of(store), row, _as_invalid_key(error)) from error
        sequence = self.pin.commit.sequence
        # A shape is for ever once it was committed: old snapshots compare with keys of today. An abort takes it back.
        if store.shape is None or (store.shaped_at == sequence and not self.redo):
            store.shape = shape
            store.shaped_at = sequence
            store.plain = shape if isinstance(shape, type) and shape in PLAIN else None
            store.fits = fits_of(shape)
        elif shape != store.shape:
            raise InvalidKey(
                f"table {self.store.name!r}, index {self._name_of(store)!r}: the key {key!r} is {describe(shape)}, "
                f"but the others are {describe(store.shape)}; all keys of an index must have one type; row {row!r}"
            )

    def _name_of(self, store: TableStore | IndexStore) -> str:
        return "primary" if isinstance(store, TableStore) else store.index.name

    def check_pure(self, key: Key, keys: tuple[Keys, ...], old_keys: tuple[Keys, ...]) -> None:
        """Raise where an index does not hold the stored row under the keys that its function gives for it now."""
        for index, new, old in zip(self.store.indexes, keys, old_keys):
            if new == old:
                continue
            for secondary in old:
                if not index.names(secondary, key):
                    raise IndexFunctionError(
                        f"table {self.store.name!r}, index {index.index.name!r}: the function gives {secondary!r} "
                        f"now and did not when row {key!r} was stored; it must be pure"
                    )

    def claim(self, key: Key, keys: tuple[Keys, ...] | None, old_keys: tuple[Keys, ...] | None) -> None:
        """Give and take unique secondary keys, against the transaction's own state. Raises DuplicateKey."""
        assert self.claims is not None
        for claims, store in zip(self.claims, self.store.unique_indexes):
            for secondary in keys[store.place] if keys is not None else ():
                owner = claims.get(secondary, _NOT_CLAIMED)
                if owner is _NOT_CLAIMED:
                    owner = store.entries.get(secondary)
                if owner is not None and owner != key:
                    raise DuplicateKey(
                        f"table {self.store.name!r}, unique index {store.index.name!r}: {secondary!r} belongs to row "
                        f"{owner!r} and cannot go to {key!r} as well; delete or change the other row first"
                    )
        for claims, store in zip(self.claims, self.store.unique_indexes):
            for secondary in old_keys[store.place] if old_keys is not None else ():
                claims[secondary] = None
            for secondary in keys[store.place] if keys is not None else ():
                claims[secondary] = key


def _as_invalid_key(error: TypeError) -> InvalidKey:
    return error if isinstance(error, InvalidKey) else InvalidKey(f"{error}; keys must be hashable and ordered")


class TableWriter(TableView[K, R]):
    """One table in a write transaction: reads see the transaction's own writes, and nobody else does until it commits.

    A call that raises leaves the transaction as it was before, and usable.
    """

    __slots__ = ("_redo",)

    _source: Overlay

    def __init__(self, source: Overlay) -> None:
        """Transactions make these: ``txn[Services]``."""
        self._source = source
        self._commit = _NO_PIN.commit  # a writer that outlives its transaction holds no history back
        self._redo = source.redo
        self._get = source.store.rows.get

    # -- writing ---------------------------------------------------------------------------------------------

    def insert(self, row: R, *, force: bool = False) -> R | None:
        """Put a row in, over the one with its key if there is one; the replaced row or None.

        A row equal to the stored one is not written: its revision stays, nobody wakes (``force`` writes it). Raises
        DuplicateKey, InvalidRow, InvalidKey, IndexFunctionError.
        """
        source = self._source  # the lines of _located, spelled out: a call less is 5 percent of a bulk load
        if source.plan.closed:
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
        if self._source.plan.closed:
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
        initializer = Initializer(name, source.store.table)
        source.pending = (*source.pending, initializer)
        return initializer

    def finish_initializer(self, initializer: Initializer) -> None:
        """Keep the promise, from the commit on. Twice does no harm; in an aborted transaction it does not count.

        Raises InitializerError for one of another table.
        """
        source = self._source
        source.check_open()
        if initializer.table is not source.store.table:
            raise InitializerError(
                f"table {source.store.name!r}: initializer {initializer.name!r} was begun on another table; "
                "finish it there"
            )
        source.pending = tuple([pending for pending in source.pending if pending is not initializer])

    def _located(self, row: R) -> tuple[Any, State | None, R | None]:
        """The primary key of a row to be written, what is staged for it, and the row that is there now."""
        source = self._source
        if source.plan.closed:
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
        if self._source.plan.closed:
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


def _live(staged: State) -> Any:
    """The row of a staged state; None where it is staged as deleted."""
    return None if staged[2] else staged[0]


class WriteTransaction:
    """Writes to one or several tables that become visible together, or not at all.

    A context manager: commits at the end of the block, aborts if the block raises. Its tables are locked from
    ``db.write`` on until then; readers never wait. One that is dropped open aborts with a ResourceWarning.
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
        if self._plan.closed:
            raise TransactionClosed(f"the transaction was {self._plan.closed}; open a new one with db.write(...)")
        writer = self._writers.get(table)
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
            if self._plan.closed:
                raise TransactionClosed(f"the transaction on {self._plan.tables} was {self._plan.closed} already")
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
                source.pin = _NO_PIN
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
        """Drop the writes and free the tables. Nothing happens where the transaction is closed."""
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
            writer._source.pin = _NO_PIN
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
