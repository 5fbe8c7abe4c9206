"""A naive model of a database, without regard to speed: dicts are copied, and lists are scanned.

The model has the same methods as the engine, so that one function can write to or read from both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from types import TracebackType
from typing import Any, Self

from statedb.engine.errors import (
    DuplicateKey,
    InitializerError,
    InvalidRow,
    RevisionMismatch,
    RowNotFound,
    TableNotOpen,
    TransactionClosed,
    UnknownTable,
)
from statedb.engine.history import Initializer
from statedb.engine.row_change import Change
from statedb.engine.schema import AnyIndex, Table, UniqueIndex
from statedb.engine.source import Entry

from ._model_index import in_range, model_index, under

AnyTable = type[Table[Any, Any]]
Key = Any  # rows and keys are the user's
Row = Any


class ModelTable(Mapping[Any, Any]):
    """One table of a model. It has the reads of a ``TableView`` and the writes of a ``TableWriter``, all by scanning.

    Writing to a table of a model or of its snapshot changes it in place; ``Model.write`` works on copies. Types of rows
    and shapes of keys are not checked.
    """

    def __init__(self, table: AnyTable) -> None:
        """An empty table at revision 0."""
        self.table = table
        self.rows: dict[Key, Row] = {}
        self.revisions: dict[Key, int] = {}
        self.revision = 0
        self.pending: tuple[Initializer, ...] = ()
        self.begun_at = 0
        """The revision at which the transaction of this copy began."""
        self.log: list[tuple[Key, Change[Any]]] = []
        """All writes so far, except for aborted ones."""

    def __repr__(self) -> str:
        """The name, the number of rows and the revision."""
        return f"<ModelTable {self.table.name}: {len(self.rows)} rows at revision {self.revision}>"

    def copy(self) -> ModelTable:
        """An independent copy of this state."""
        copy = ModelTable(self.table)
        copy.rows = dict(self.rows)
        copy.revisions = dict(self.revisions)
        copy.revision = copy.begun_at = self.revision
        copy.pending = self.pending
        copy.log = list(self.log)
        return copy

    # -- reading ---------------------------------------------------------------------------------------------

    def __getitem__(self, key: Key) -> Row:
        """The row. Raises RowNotFound."""
        if key not in self.rows:
            raise RowNotFound(f"table {self.table.name!r} has no row {key!r}")
        return self.rows[key]

    def __iter__(self) -> Iterator[Key]:
        """The primary keys in order."""
        return iter(sorted(self.rows))

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.rows)

    def entry(self, key: Key) -> Entry[Any] | None:
        """The row with its revision, or None."""
        return Entry(self.rows[key], self.revisions[key]) if key in self.rows else None

    def __reversed__(self) -> Iterator[Key]:
        """The primary keys in descending order."""
        return iter(sorted(self.rows, reverse=True))

    def first(self) -> Row | None:
        """The row with the smallest key, or None."""
        return self.rows[min(self.rows)] if self.rows else None

    def last(self) -> Row | None:
        """The row with the largest key, or None."""
        return self.rows[max(self.rows)] if self.rows else None

    def entries(self, rows: Iterable[Row] | None = None) -> tuple[Entry[Any], ...]:
        """Rows with their revisions, in the given order."""
        keys = list(self) if rows is None else map(self.table.key_of, rows)
        return tuple([Entry(self.rows[key], self.revisions[key]) for key in keys])

    def prefix(self, prefix: Any, *, reverse: bool = False) -> tuple[Row, ...]:
        """The rows under a key prefix, in order."""
        return tuple([self.rows[key] for key in sorted(self.rows, reverse=reverse) if under(key, prefix)])

    def range(
        self,
        start: Key = None,
        stop: Key = None,
        *,
        limit: int | None = None,
        reverse: bool = False,
        bounds: str = "[)",
    ) -> tuple[Row, ...]:
        """The rows of a range, in ascending or descending order, at most ``limit``."""
        keys = [key for key in sorted(self.rows, reverse=reverse) if in_range(key, start, stop, bounds)]
        return tuple([self.rows[key] for key in keys[:limit]])

    def key_at(self, position: int) -> Key | None:
        """The key at a position in order; None after the last."""
        return next(islice(self, position, None), None)

    def since(self, revision: int) -> tuple[Entry[Any], ...]:
        """The rows written after a revision, in revision order."""
        entries = [Entry(self.rows[key], written) for key, written in self.revisions.items() if written > revision]
        return tuple(sorted(entries, key=lambda entry: entry.revision))

    @property
    def initialized(self) -> bool:
        """Whether no initializer is pending."""
        return not self.pending

    @property
    def pending_initializers(self) -> tuple[str, ...]:
        """The names of the pending initializers, in order of registration."""
        return tuple([initializer.name for initializer in self.pending])

    def changes(self, revision: int) -> tuple[Change[Any], ...]:
        """The changes after a revision, as one batch of a stream."""
        newest = {key: change for key, change in self.log if change.revision > revision}
        before = {key: change for key, change in self.log if change.revision <= revision}
        there = {key for key, change in before.items() if not change.deleted}
        changed = [
            change._replace(old=before[key].row if key in there else None)
            for key, change in newest.items()
            if key in there or not change.deleted
        ]
        return tuple(sorted(changed, key=lambda change: change.revision))

    def staged(self) -> tuple[Change[Any], ...]:
        """What has changed since the transaction began."""
        return self.changes(self.begun_at)

    # -- writing ---------------------------------------------------------------------------------------------

    def insert(self, row: Row, *, force: bool = False) -> Row | None:
        """Insert a row, or replace the one with its key. Returns the replaced row or None. Raises DuplicateKey."""
        old = self.rows.get(self.table.key_of(row))
        if old is None or force or old != row:
            self._put(row)
        return old

    def insert_new(self, row: Row) -> Row | None:
        """Insert a row if its key is free, and return None; otherwise return the existing row. Raises DuplicateKey."""
        old = self.get(self.table.key_of(row))
        if old is None:
            self.insert(row)
        return old

    def insert_all(self, rows: Iterable[Row]) -> int:
        """Insert rows, all or none. Returns how many were written. Raises DuplicateKey."""
        trial = self.copy()
        for row in rows:
            trial.insert(row)
        written = trial.revision - self.revision
        self.rows, self.revisions, self.revision, self.log = trial.rows, trial.revisions, trial.revision, trial.log
        return written

    def replace(self, row: Row, *, at: int | None = None) -> Row:
        """Replace the row with this row's key. Returns the replaced row.

        Raises RowNotFound, RevisionMismatch, DuplicateKey.
        """
        key = self.table.key_of(row)
        old = self[key]
        self._check_revision(key, at)
        if old != row:
            self._put(row)
        return old

    def modify(self, key: Key, change: Callable[[Row], Row]) -> Row:
        """Replace a row by ``change(row)``. Returns the new row. Raises RowNotFound, InvalidRow, DuplicateKey."""
        old = self[key]
        new = change(old)
        if self.table.key_of(new) != key:
            raise InvalidRow(f"table {self.table.name!r}: the new row has another primary key than {key!r}")
        if new != old:
            self._put(new)
        return new

    def delete(self, key: Key, *, at: int | None = None) -> Row | None:
        """Delete a row. Returns the deleted row, or None. Raises RevisionMismatch."""
        if key not in self.rows:
            return None
        self._check_revision(key, at)
        row = self.rows.pop(key)
        del self.revisions[key]
        self.revision += 1
        self.log.append((key, Change(row, self.revision, True)))
        return row

    def delete_all(self, rows: Iterable[Row]) -> int:
        """Delete the rows that have the keys of these. Returns how many existed."""
        return len([key for key in map(self.table.key_of, rows) if self.delete(key) is not None])

    def clear(self) -> int:
        """Delete every row, in key order. Returns how many."""
        return len([self.delete(key) for key in list(self)])

    def begin_initializer(self, name: str) -> Initializer:
        """Promise to fill the table. Raises InitializerError if an initializer of this name is pending."""
        if name in self.pending_initializers:
            raise InitializerError(f"table {self.table.name!r}: initializer {name!r} is pending")
        initializer = Initializer(name, self.table)
        self.pending = (*self.pending, initializer)
        return initializer

    def finish_initializer(self, initializer: Initializer) -> None:
        """Finish an initializer. Repeated calls do nothing. Raises InitializerError for one of another table."""
        if initializer.table is not self.table:
            raise InitializerError(f"table {self.table.name!r}: initializer {initializer.name!r} is of another table")
        self.pending = tuple([pending for pending in self.pending if pending is not initializer])

    def _check_revision(self, key: Key, at: int | None) -> None:
        if at is not None and self.revisions[key] != at:
            raise RevisionMismatch(f"table {self.table.name!r}: row {key!r} is not at revision {at}")

    def _put(self, row: Row) -> None:
        key = self.table.key_of(row)
        for index in self.table.indexes.values():
            if isinstance(index, UniqueIndex) and index.position:
                taken = {secondary for k, other in self.rows.items() if k != key for secondary in index.keys_of(other)}
                if taken.intersection(index.keys_of(row)):
                    raise DuplicateKey(f"table {self.table.name!r}, unique index {index.name!r}: taken by another row")
        self.revision += 1
        self.rows[key] = row
        self.revisions[key] = self.revision
        self.log.append((key, Change(row, self.revision, False)))


class ModelSnapshot:
    """All tables of a model at one instant: table or index -> its reads."""

    def __init__(self, tables: Mapping[AnyTable, ModelTable]) -> None:
        """``tables`` are not copied."""
        self._tables = dict(tables)

    def __getitem__(self, table: Any) -> Any:
        """The state of a table, or the view of an index over it. Raises UnknownTable."""
        if table in self._tables:
            return self._tables[table]
        if isinstance(table, AnyIndex) and table.table in self._tables:
            return model_index(self._tables[table.table].rows, table)
        raise UnknownTable(f"{table!r} is not part of this model")

    def __iter__(self) -> Iterator[AnyTable]:
        """The tables."""
        return iter(self._tables)


class ModelTransaction(ModelSnapshot):
    """A write transaction of a model: copies of its tables, which ``commit`` stores in the model.

    A context manager like that of the engine: commits at the end of the block, aborts if the block raises.
    """

    def __init__(self, model: Model, tables: tuple[AnyTable, ...]) -> None:
        """Made by ``Model.write``."""
        super().__init__({table: model.tables[table].copy() for table in tables})
        self._model = model
        self._closed = ""
        self._outcome = ModelSnapshot({})

    def __getitem__(self, table: Any) -> Any:
        """The writer of a table, or the view of an index. Raises TransactionClosed, TableNotOpen."""
        if self._closed:
            raise TransactionClosed(f"the transaction was {self._closed}")
        try:
            return super().__getitem__(table)
        except UnknownTable as error:
            raise TableNotOpen(str(error)) from None

    def __enter__(self) -> Self:
        """The transaction itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, or abort if the block raised."""
        if kind is not None:
            self.abort()
        elif not self._closed:
            self.commit()

    def snapshot(self) -> ModelSnapshot:
        """All tables, staged rows included."""
        return ModelSnapshot({table: state.copy() for table, state in {**self._model.tables, **self._tables}.items()})

    def commit(self) -> ModelSnapshot:
        """Make the writes visible. Returns a snapshot that includes them. Raises TransactionClosed after an abort."""
        if self._closed == "aborted":
            raise TransactionClosed("the transaction was already aborted")
        if not self._closed:
            self._closed = "committed"
            self._model.tables.update(self._tables)
            self._outcome = self._model.snapshot()
        return self._outcome

    def abort(self) -> None:
        """Discard the writes."""
        self._closed = self._closed or "aborted"


class Model:
    """A database of plain dicts, to compare the engine with. For one thread.

    >>> class Words(Table[str, str], name="words"):
    ...     primary = UniqueIndex[str, str](lambda word: word)
    >>> model = Model(Words)
    >>> with model.write(Words) as txn:
    ...     txn[Words].insert("hello")
    >>> list(model.snapshot()[Words])
    ['hello']
    """

    def __init__(self, *tables: AnyTable) -> None:
        """A model of an empty database of these tables."""
        self.tables: dict[AnyTable, ModelTable] = {table: ModelTable(table) for table in tables}

    def snapshot(self) -> ModelSnapshot:
        """A copy of all tables."""
        return ModelSnapshot({table: state.copy() for table, state in self.tables.items()})

    def insert(self, table: AnyTable, row: Row) -> Row | None:
        """Insert one row, in a transaction of its own. Returns the replaced row or None. Raises DuplicateKey."""
        with self.write(table) as txn:
            return txn[table].insert(row)

    def delete(self, table: AnyTable, key: Key) -> Row | None:
        """Delete one row, in a transaction of its own. Returns the deleted row or None."""
        with self.write(table) as txn:
            return txn[table].delete(key)

    def write(self, *tables: AnyTable) -> ModelTransaction:
        """Open a write transaction on these tables. If two are open on one table, the later commit wins."""
        return ModelTransaction(self, tables)
