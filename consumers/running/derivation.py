"""Derived tables: tables kept equal to a pure function of other tables, at a cost proportional to the changes.

Two functions define the table:

    affected    source table -> (snapshot, row) -> the keys of the derived table whose rows this row may change
    compute     (snapshot, key) -> the derived row of this key, or None if there is none

When a row changes, the keys that it affected before and the keys that it affects now are computed again, each once, and
written in one transaction. For a join it is enough to return the keys that a row affects *through the rows of the same
snapshot*: if those rows change too, the function is called for them as well.

A key or a row for which one of the functions fails is set aside: its derived row stays, and all others are updated. The
same holds for a key whose derived row the table rejects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary, finalize

from statedb import (
    Change,
    ChangeBatch,
    Database,
    DuplicateKey,
    IndexFunctionError,
    InvalidKey,
    InvalidRow,
    Snapshot,
    Table,
    TablesBatch,
)

from .follower import RETRY_MAX_S, RETRY_MIN_S, AnyTable, Follower, Report
from .set_aside import Part, SetAside
from .source_snapshot import SourceSnapshot
from .steps import FAILURES

K = TypeVar("K")
R = TypeVar("R")

RETRY_FOR_S = 600.0

_ROW_ERRORS = (InvalidKey, InvalidRow, IndexFunctionError, DuplicateKey)
"""What a table raises if it rejects a row."""

Affected = Mapping[AnyTable, Callable[[SourceSnapshot, Any], Iterable[K]]]
"""For each source table, the function from a row to the derived keys that it may change (Any: any row type)."""

_derivations: WeakKeyDictionary[Database, WeakValueDictionary[AnyTable, Any]] = WeakKeyDictionary()
"""The derivation of each derived table, by database."""

_promises: WeakKeyDictionary[Database, dict[AnyTable, Any]] = WeakKeyDictionary()
"""The pending initializer of each table, by database. The next derivation of the table takes it over."""


class Derivation(Follower, Generic[K, R]):
    """Maintains a derived table; made by `derive`. Run it like any `Follower`. It owns the table until it ends."""

    def __init__(
        self,
        db: Database,
        target: type[Table[K, R]],
        compute: Callable[[SourceSnapshot, K], R | None],
        affected: Affected[K],
        *,
        name: str = "",
        report: Report | None = None,
        retry_min_s: float = RETRY_MIN_S,
        retry_max_s: float = RETRY_MAX_S,
        retry_for_s: float = RETRY_FOR_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Registers the table and an initializer, and becomes its owner. Raises TableOwned, NameTaken."""
        super().__init__(
            db,
            tuple(affected),
            self._derive,
            name=name or f"derive {target.name}",
            maintain=self._retry_set_aside,
            report=report,
            retry_min_s=retry_min_s,
            retry_max_s=retry_max_s,
            clock=clock,
        )
        self.target = target
        self._compute = compute
        self._affected = dict(affected)
        self._before: SourceSnapshot | None = None  # the state that the table is derived from
        self._dirty: dict[K, None] = {}
        self._duplicates: dict[K, None] = {}  # rejected for another row's unique key, which any write may free
        self._batch: object = None  # the batch whose changes are in ``_dirty``
        self._set_aside = SetAside(self.name, retry_min_s, retry_max_s, retry_for_s)
        db.register(target)
        self._owner = db.own(target, name=self.name)
        self._release_owner = finalize(self, self._owner.release)  # also if it is dropped without having run
        self._release_owner.atexit = False
        promises = _promises.setdefault(db, {})
        with self._owner.write() as txn:
            if target in promises:  # an earlier derivation ended before its first batch
                txn[target].finish_initializer(promises[target])
            self._token: Any = txn[target].begin_initializer(self.name)
        promises[target] = self._token
        _derivations.setdefault(db, WeakValueDictionary())[target] = self

    @property
    def health(self) -> str:
        """The state in one line. It begins with OK while all is well."""
        health = super().health
        set_aside = self.set_aside() if health == "OK" else {}
        if not set_aside:
            return health
        name, error = next(iter(set_aside.items()))
        return f"OK, but {len(set_aside)} set aside: {name}: {error}"

    def set_aside(self) -> dict[str, str]:
        """The keys and rows for which a function fails, with the errors. May be called from any thread."""
        return self._set_aside.parts()

    def compute_all(self, snapshot: Snapshot) -> dict[K, R]:
        """The rows that the table should have for this snapshot, computed from scratch. For tests and checks."""
        sources = SourceSnapshot(snapshot, self.tables)
        keys = dict.fromkeys(
            [
                key
                for table in self.tables
                for row in sources[table].values()
                for key in self._affected[table](sources, row)
            ]
        )
        found = [(key, self._checked_row(sources, key)) for key in keys]
        return {key: row for key, row in found if row is not None}

    # --- the steps ----------------------------------------------------------------------------------------------------

    def _derive(self, batch: ChangeBatch[Any] | TablesBatch) -> None:
        """Bring the table to the state after the batch; on a retry, to the newest state."""
        if batch is self._batch:
            sources = SourceSnapshot(self._db.snapshot(), self.tables)
        else:
            sources = self._collect(batch)
            self._batch = batch
        self._write_dirty(sources)
        self._batch = None

    def _retry_set_aside(self, seen: Snapshot) -> float | None:
        """Retry the parts that are due. Returns the seconds until the next is due."""
        due = self._set_aside.pop_due(self._clock())
        if due:
            sources = SourceSnapshot(seen, self.tables)
            for part in due:
                self._retry(sources, part)
            self._write_dirty(sources)
        next_due = self._set_aside.next_due
        return None if next_due is None else max(0.0, next_due - self._clock())

    def _retry(self, sources: SourceSnapshot, part: Part) -> None:
        if part.table is None:
            self._dirty[part.key] = None  # type: ignore[index]  # a part without a table has a key of the target
            return
        row = sources[part.table].get(part.key)
        if row is None:
            self._set_aside.discard(part)
        else:
            self._dirty.update(dict.fromkeys(self._affected_keys(sources, part.table, row)))

    def _collect(self, batch: ChangeBatch[Any] | TablesBatch) -> SourceSnapshot:
        """Record the keys that the changes affect, by the old and the new rows. Returns the state after the batch."""
        after = SourceSnapshot(batch.snapshot, self.tables)
        if self._before is None:
            self._dirty.update(dict.fromkeys(batch.snapshot[self.target]))  # rows that an earlier derivation left
        for table in self.tables:
            self._collect_table(table, batch[table] if isinstance(batch, TablesBatch) else batch, after)
        self._before = after
        return after

    def _collect_table(self, table: AnyTable, changes: Iterable[Change[Any]], after: SourceSnapshot) -> None:
        before, key_of, dirty = self._before, table.key_of, self._dirty
        old_rows = None if before is None else before[table]
        for change in changes:
            if before is not None and old_rows is not None:
                key = key_of(change.row)
                old = old_rows.get(key)
                if old is not None:
                    self._collect_old(before, after, table, old)
                if change.deleted and len(self._set_aside):
                    self._set_aside.discard(Part(table, key))
            if not change.deleted:
                dirty.update(dict.fromkeys(self._affected_keys(after, table, change.row)))

    def _collect_old(self, before: SourceSnapshot, after: SourceSnapshot, table: AnyTable, old: Any) -> None:
        """Record the keys that a deleted or replaced row affected; all keys if its function fails now.

        Rows of other keys may have been computed from a row that is set aside. If it were ignored, their derived rows
        would stay out of date.
        """
        keys = self._affected_keys(before, table, old)
        self._dirty.update(dict.fromkeys(keys))
        if not keys and Part(table, table.key_of(old)) in self._set_aside:
            self._dirty.update(dict.fromkeys(self._db.snapshot()[self.target]))
            for source in self.tables:
                for row in after[source].values():
                    self._dirty.update(dict.fromkeys(self._affected_keys(after, source, row)))

    def _write_dirty(self, sources: SourceSnapshot) -> None:
        """Compute the recorded keys, and write their rows in one transaction."""
        rows: list[tuple[K, R | None]] = []
        failed: dict[K, BaseException] = {}
        for key in self._dirty | self._duplicates:
            try:
                rows.append((key, self._checked_row(sources, key)))
            except FAILURES as error:
                failed[key] = error
        refused = self._write(rows) if rows or self._token is not None else {}
        failed.update(refused)
        self._duplicates = {key: None for key, why in refused.items() if isinstance(why, DuplicateKey)}
        for key, why in failed.items():
            self._set_aside.add(Part(None, key), why, self._clock())
        for key, _ in rows if len(self._set_aside) else ():
            if key not in failed:
                self._set_aside.discard(Part(None, key))
        self._dirty = {}
        if self._token is not None:
            _promises[self._db].pop(self.target, None)
            self._token = None

    def _write(self, rows: list[tuple[K, R | None]]) -> dict[K, BaseException]:
        """Write in one transaction. Returns the keys whose rows the table rejects, with the errors; these rows are
        unchanged.
        """
        with self._owner.write() as txn:
            writer = txn[self.target]
            for key, row in rows:
                if row is None:
                    writer.delete(key)
            refused = _inserted(writer, [(key, row) for key, row in rows if row is not None])
            if self._token is not None:
                writer.finish_initializer(self._token)
        return refused

    def _affected_keys(self, sources: SourceSnapshot, table: AnyTable, row: Any) -> Iterable[K]:
        """The keys that a row affects. If the function fails, the row is set aside and affects none."""
        try:
            keys = list(self._affected[table](sources, row))
        except FAILURES as error:
            self._set_aside.add(Part(table, table.key_of(row)), error, self._clock())
            return ()
        if len(self._set_aside):
            self._set_aside.discard(Part(table, table.key_of(row)))
        return keys

    def _checked_row(self, sources: SourceSnapshot, key: K) -> R | None:
        row = self._compute(sources, key)
        if row is not None and self.target.key_of(row) != key:
            raise ValueError(
                f"derived table {self.target.name!r}: compute returned the row of key {self.target.key_of(row)!r} "
                f"for key {key!r}"
            )
        return row

    def _on_end(self) -> None:
        self._release_owner()


def _inserted(writer: Any, rows: list[tuple[K, R]]) -> dict[K, BaseException]:
    """Insert rows (Any: the writer of any table). Returns those that the table rejects even after all others, and the
    errors.
    """
    while True:
        again: list[tuple[K, R]] = []
        refused: dict[K, BaseException] = {}
        for key, row in rows:
            try:
                writer.insert(row)
            except _ROW_ERRORS as error:
                again.append((key, row))
                refused[key] = error
        if not refused or len(again) == len(rows):
            return refused
        rows = again  # the rows that had their unique keys may have changed


def derive(
    db: Database,
    target: type[Table[K, R]],
    compute: Callable[[SourceSnapshot, K], R | None],
    affected: Affected[K],
    *,
    name: str = "",
    report: Report | None = None,
    retry_min_s: float = RETRY_MIN_S,
    retry_max_s: float = RETRY_MAX_S,
    retry_for_s: float = RETRY_FOR_S,
) -> Derivation[K, R]:
    """Keep ``target`` equal to ``compute`` for every key that any row of the sources affects.

    The sources are the tables of ``affected``; no others can be read. ``target`` is registered. It is initialized when
    its sources are and it equals them. Nobody else can write it until the derivation has ended (TableOwned). Both
    functions must be pure.

    A key or row for which they fail (SystemExit included), and a key whose row the table rejects, is set aside and
    named in ``health``: its derived row stays as it was. It is retried with the newest rows when something about it
    changes, and after growing pauses for ``retry_for_s`` seconds. Cost: O(changed rows, and the keys that they affect).
    ``wait_applied`` waits until the table includes a snapshot.
    """
    return Derivation(
        db,
        target,
        compute,
        affected,
        name=name,
        report=report,
        retry_min_s=retry_min_s,
        retry_max_s=retry_max_s,
        retry_for_s=retry_for_s,
    )


def why_incomplete(db: Database, table: AnyTable) -> str:
    """Why an initialized derived table, or a table that it is derived from, lacks rows. Empty if none lacks any."""
    derivations = _derivations.get(db)
    derivation = None if derivations is None else derivations.get(table)
    if derivation is None or derivation.is_over:
        return ""
    if count := len(derivation.set_aside()):
        return f"{count} keys or rows of derived table {table.name!r} are set aside"
    return next(filter(None, [why_incomplete(db, each) for each in derivation.tables]), "")
