"""The writing half of a transaction: one table, read and written over the staged rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from threading import get_ident
from typing import Any, cast

from .errors import InitializerError, InvalidRow, RevisionMismatch, RowNotFound
from .history import Initializer
from .overlay import NO_PIN, Overlay
from .row_change import Change, changes_of
from .sameness import same
from .schema import K, R
from .source import Entry
from .states import Key, State, Undo
from .table_view import TableView

_FEW = 3
"""Up to this many rows are staged faster one by one, measured with four indexes."""


class TableWriter(TableView[K, R]):
    """One table in a write transaction. Its reads include the transaction's own writes.

    Nobody else sees these until it commits. A call that raises leaves the transaction as it was, and usable.
    """

    __slots__ = ("_redo",)

    _source: Overlay

    def __init__(self, source: Overlay) -> None:
        """Made by transactions: ``txn[Services]``."""
        self._source = source
        self._commit = NO_PIN.commit  # a writer that outlives its transaction keeps no history
        self._redo = source.redo
        self._get = source.store.rows.get

    def __repr__(self) -> str:
        """The name, the number of rows and the revision, staged rows included. Never raises."""
        source = self._source
        state = source.plan.closed or f"{source.count} rows at revision {source.revision}"
        return f"<TableWriter {source.store.name}: {state}>"

    # -- writing ---------------------------------------------------------------------------------------------

    def insert(self, row: R, *, force: bool = False) -> R | None:
        """Insert a row, or replace the one with its key. Returns the replaced row or None.

        A row equal to the stored one is not written: its revision stays, and no watch trips (``force`` writes it).
        Raises DuplicateKey, InvalidRow, InvalidKey, IndexFunctionError.
        """
        source = self._source  # _located inlined: it saves a call, which is 5 percent of a bulk load
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
            old = live_row(staged)
        elif key is not None:
            old = self._get(key)
            if old is None and source.stage_new(row, key):
                return None
        else:
            raise source.missing_key(row)
        if old is not None and not force and old == row and same(old, row):
            return old
        source.stage(row, key, old, staged)
        return old

    def insert_new(self, row: R) -> R | None:
        """Insert a row if its key is free, and return None. Otherwise return the existing row, which stays. Raises as
        `insert`.
        """
        old = self._located(row)[2]
        if old is None:
            self.insert(row)
        return old

    def insert_all(self, rows: Iterable[R]) -> int:
        """Insert rows one after the other, as `insert` does. Returns how many were written.

        Rows equal to the stored ones are not written. All or none: if one row raises, none is staged. Of several rows
        with one key the last one is kept. Cost: rows that are all new, or that all replace others, take half the time
        of as many calls of `insert`. Raises as `insert`.
        """
        source = self._source
        source.check_open()
        given = list(rows)
        many = len(given) > _FEW
        return n if many and (n := source.stage_all(given)) is not None else self._insert_each(given)

    def _insert_each(self, rows: list[R]) -> int:
        source = self._source
        revision = source.revision
        staged_before: dict[Any, State | None] = {}
        learning = any(shape.shape is None for shape in (source.key_shape, *source.index_shapes))
        try:
            for row in rows:
                key, staged, old = self._located(row)
                if old is None or not same(old, row):
                    staged_before.setdefault(key, staged)
                    source.stage(row, key, old, staged)
                if learning and source.stage_all(rows[1:]) is not None:  # only the first row had first keys
                    break
                learning = False
        except BaseException:
            source.undoing += 1
            new = [key for key, state in self._redo.items() if state[1] > revision]  # those of stage_all too
            source.unstage({**dict.fromkeys(new), **staged_before})
            raise
        return source.revision - revision

    def replace(self, row: R, *, at: int | None = None) -> R:
        """Replace the row with this row's key. Returns the replaced row. Raises RowNotFound if there is none.

        With ``at``, only if that is the revision of the stored row. Otherwise raises RevisionMismatch.
        """
        key, staged, old = self._located(row)
        if old is None:
            raise self._missing(key)
        if at is not None:
            self._check_revision(key, at)
        if not same(old, row):
            self._source.stage(row, key, old, staged)
        return old

    def modify(self, key: K, change: Callable[[R], R]) -> R:
        """Replace a row by ``change(row)``. Returns the new row. Raises RowNotFound if there is none.

        Raises InvalidRow if the primary key changes: delete and insert instead.
        """
        old = self.get(key)
        if old is None:
            raise self._missing(key, "modify")
        new = change(cast(R, old))
        moved, staged, now = self._located(new)
        if moved != key:
            raise InvalidRow(
                f"table {self._source.store.name!r}: the new row has another primary key than {key!r}; "
                f"delete the old one and insert the new one: {new!r}"
            )
        if not same(new, now):
            self._source.stage(new, key, now, staged)
        return new

    def delete(self, key: K, *, at: int | None = None) -> R | None:
        """Delete a row. Returns the deleted row, or None if there was none.

        With ``at``, only if that is the revision of the stored row. Otherwise raises RevisionMismatch.
        """
        if self._source.plan.closed or self._source.plan.thread != get_ident():
            self._source.check_open()
        staged = self._redo.get(key)
        old: R | None = self._get(key) if staged is None else live_row(staged)
        if old is None:
            return None
        if at is not None:
            self._check_revision(key, at)
        self._source.stage_deletion(key, old, staged)
        return old

    def delete_all(self, rows: Iterable[R]) -> int:
        """Delete the rows that have the keys of these, which may come from any query. Returns how many existed.

        Deletes none of them if it raises. Raises InvalidRow for a value that is not a row of the table. Examples:
        ``pods.delete_all(pods.prefix("kube-system/"))`` and ``pods.delete_all(txn[Pods.by_node]["node1"])``.
        """
        return self._delete_each([self._located(row)[0] for row in rows])

    def clear(self) -> int:
        """Delete every row, or none if it raises. Returns how many."""
        return self._delete_each(list(self))

    def _delete_each(self, keys: list[K]) -> int:
        many = len(keys) > _FEW
        return n if many and (n := self._source.stage_deletions(keys)) is not None else self._delete_one_by_one(keys)

    def _delete_one_by_one(self, keys: list[K]) -> int:
        staged_before = {key: self._redo.get(key) for key in keys}
        try:
            deleted = [key for key in keys if self.delete(key) is not None]
        except BaseException:
            self._source.undoing += 1
            self._source.unstage(staged_before)
            raise
        return len(deleted)

    def staged(self) -> tuple[Change[R], ...]:
        """What this transaction has changed so far, in revision order: each row before (``old``) and after.

        A change stream will return the same once it commits. A row that was inserted and deleted again is left out.
        Cost: O(staged rows).
        """
        source = self._source
        source.check_open()
        return changes_of(cast("Undo", source.before), source.redo)

    def begin_initializer(self, name: str) -> Initializer:
        """Promise to fill the table. After the commit it is not initialized until ``finish_initializer``.

        Raises InitializerError if an initializer of this name is pending.
        """
        source = self._source
        source.check_open()
        if any(initializer.name == name for initializer in source.pending):
            raise InitializerError(
                f"table {source.store.name!r}: initializer {name!r} is pending; finish it, or choose another name"
            )
        initializer = Initializer(name, source.store.table, source.store)
        source.pending = (*source.pending, initializer)
        return initializer

    def finish_initializer(self, initializer: Initializer) -> None:
        """Fulfil the promise, from the commit on. Idempotent. An abort undoes it.

        Raises InitializerError for an initializer of another table or of another database.
        """
        source = self._source
        source.check_open()
        if not isinstance(initializer, Initializer):
            raise InitializerError(
                f"table {source.store.name!r}: {initializer!r} is no initializer; pass what begin_initializer returned"
            )
        if initializer.table is not source.store.table:
            raise InitializerError(
                f"table {source.store.name!r}: initializer {initializer.name!r} was begun on another table; "
                "finish it there"
            )
        if initializer.store is not source.store:
            raise InitializerError(
                f"table {source.store.name!r}: initializer {initializer.name!r} was begun in another database; "
                "finish it there"
            )
        source.pending = tuple([pending for pending in source.pending if pending is not initializer])

    def _located(self, row: R) -> tuple[Any, State | None, R | None]:
        """The primary key of a row to be written, what is staged for it, and the current row."""
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
            return key, staged, live_row(staged)
        if key is None:
            raise source.missing_key(row)
        return key, None, self._get(key)

    def _missing(self, key: Key, what: str = "replace") -> RowNotFound:
        return RowNotFound(f"table {self._source.store.name!r} has no row {key!r} to {what}; insert it")

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
        row = self._get(key) if staged is None else live_row(staged)
        return default if row is None else row

    def entry(self, key: K) -> Entry[R] | None:
        """The row with its revision as the transaction sees it, or None."""
        return super().entry(key)

    def __len__(self) -> int:
        """The number of rows, staged ones included."""
        self._source.check_open()
        return self._source.count

    @property
    def revision(self) -> int:
        """The revision of the table, staged rows included."""
        self._source.check_open()
        return self._source.revision

    @property
    def initialized(self) -> bool:
        """Whether the table is initialized, staged changes included."""
        self._source.check_open()
        return not self._source.pending

    @property
    def pending_initializers(self) -> tuple[str, ...]:
        """The names of the initializers that are pending, staged changes included."""
        self._source.check_open()
        return tuple([initializer.name for initializer in self._source.pending])

    def key_at(self, position: int) -> K | None:
        """As `TableView.key_at`, among the rows that this transaction sees. Cost: O(n)."""
        if position < 0:
            raise ValueError(f"a position must be 0 or more, not {position}")
        self._source.check_open()
        return next(islice(self, position, None), None)

    def _rows_in_order(self) -> list[R]:
        self._source.check_open()
        return self._source.all_in_order()


def live_row(staged: State) -> Any:
    """The row of a staged state. None if it is staged as deleted."""
    return None if staged[2] else staged[0]
