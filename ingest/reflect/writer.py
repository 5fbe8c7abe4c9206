"""Writes a batch in one transaction: rows, rejected objects and the state of the source change together."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeAlias

from statedb import Database, DuplicateKey, IndexFunctionError, InvalidKey, InvalidRow
from statedb.catalog import Rejected, Sources

from ..source import AnyTable
from ..status import Status
from .feed import Timings
from .initializers import Initializers

Changes: TypeAlias = dict[AnyTable, dict[Any, Any]]
"""table -> key -> row or None (Any: tables of many key and row types)."""

Refusal: TypeAlias = Callable[[AnyTable, Any, Exception], None]
"""Called with each row that a table refuses, within the transaction."""

ROW_ERRORS = (InvalidKey, InvalidRow, IndexFunctionError, DuplicateKey)

_RETRY_S = 1.0


class TableWriter:
    """Writes the changes of one source. A row that its table refuses is tried again; the others are written."""

    def __init__(
        self,
        db: Database,
        status: Status,
        initializers: Initializers,
        split: Timings,
        refused: Refusal,
        accepted: Callable[[AnyTable, Any], None],
        clock: Callable[[], float],
    ) -> None:
        """``refused`` is called for each refused row, ``accepted`` when a later try has written it."""
        self._db = db
        self._status = status
        self._initializers = initializers
        self._split = split
        self._on_refused = refused
        self._on_accepted = accepted
        self._clock = clock
        self._refused: dict[AnyTable, dict[Any, Any]] = {}
        self._retry_at = 0.0

    def refused(self, table: AnyTable, key: Any) -> Any:
        """The row that the table refused under this key, or None."""
        return self._refused.get(table, {}).get(key)

    def retry(self) -> None:
        """Try refused rows again, once a second: the row that they conflict with may be gone."""
        if self._refused and self._clock() >= self._retry_at:
            self._retry_at = self._clock() + _RETRY_S
            self._commit({table: {} for table in self._refused}, ())

    def commit(self, changes: Changes, finished: Collection[AnyTable]) -> None:
        """Commit one transaction over the tables that change or are finished; none if there are none."""
        touched = {table: change for table, change in changes.items() if change}
        touched.update({table: {} for table in finished if table not in touched})
        self._commit(touched, finished)

    def _commit(self, touched: Changes, finished: Collection[AnyTable]) -> None:
        about = (Sources, Rejected) if self._status.is_waiting else ()
        if not touched and not about:
            return
        started = time.perf_counter()
        # A refusal is known only within the transaction, so it is reported in the same transaction.
        with self._db.write(*touched, *((Sources, Rejected) if touched else about)) as txn:
            for table, change in touched.items():
                self._write(txn[table], table, change)
            for table in finished:
                self._initializers.finish(txn[table], table)
            if touched:
                self._status.rows_change(touched)
            if self._status.is_waiting:
                self._status.stage(txn)
        self._initializers.finished(finished)
        self._split.commit_s += time.perf_counter() - started
        self._split.rows += sum(map(len, touched.values()))

    def _write(self, writer: Any, table: AnyTable, change: Mapping[Any, Any]) -> None:
        """Write deletes first, then rows, then rows that were refused before."""
        rows = []
        for key, row in change.items():
            if row is None:
                writer.delete(key)
            else:
                rows.append(row)
        before = self._refused.pop(table, None)
        waiting = {} if before is None else {key: row for key, row in before.items() if key not in change}
        refused = _insert(writer, [*rows, *waiting.values()])
        while refused:  # a later row may have freed a key of a unique index
            again = _insert(writer, [row for row, _ in refused])
            if len(again) == len(refused):
                break
            refused = again
        if refused:
            self._keep_refused(table, refused)
        for key in waiting:
            if key not in self._refused.get(table, ()):
                self._on_accepted(table, key)

    def _keep_refused(self, table: AnyTable, refused: Iterable[tuple[Any, Exception]]) -> None:
        kept = self._refused.setdefault(table, {})
        for row, error in refused:
            kept[table.key_of(row)] = row
            self._on_refused(table, row, error)


def _insert(writer: Any, rows: list[Any]) -> list[tuple[Any, Exception]]:
    """Insert rows. Returns those that the table refuses, with the errors."""
    try:
        writer.insert_all(rows)
    except ROW_ERRORS:
        return _insert_each(writer, rows)
    return []


def _insert_each(writer: Any, rows: list[Any]) -> list[tuple[Any, Exception]]:
    refused: list[tuple[Any, Exception]] = []
    insert = writer.insert
    for row in rows:
        try:
            insert(row)
        except ROW_ERRORS as error:
            refused.append((row, error))
    return refused
