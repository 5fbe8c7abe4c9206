"""A table kept equal to a pure function of other tables, at the cost of what changed. Knows tables, nothing of meaning.

Two functions say what the table is:

    affected    source table -> (cut, row) -> the keys of the derived table that this row may have a say in
    compute     (cut, key) -> the derived row of this key, or None where there is none

A changed row affects what it affected before and what it affects now; those keys are computed anew, each once, and
written in one transaction. For tables that join others it is enough to name what a row affects *through the rows of
the same cut*: where those change as well, they affect their keys themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar, overload

from statedb import (
    Change,
    ChangeBatch,
    Database,
    Index,
    IndexView,
    PrefixIndex,
    PrefixIndexView,
    Snapshot,
    Table,
    TablesBatch,
    TableView,
    UniqueIndex,
    UniqueIndexView,
)

from .follower import RETRY_MAX_S, RETRY_MIN_S, AnyTable, Follower, Report

K = TypeVar("K")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741 - the key type of an index


class Cut:
    """Some tables and their indexes at one instant: what a derived table may read, and the history it may hold."""

    __slots__ = ("_tables", "_views")

    def __init__(self, snapshot: Snapshot, tables: Iterable[AnyTable]) -> None:
        """Views of these tables; the snapshot itself, which would hold the history of all others too, is let go."""
        self._tables = tuple(tables)
        self._views: dict[Any, Any] = {}
        for table in self._tables:
            self._views[table] = snapshot[table]
            for index in table.indexes.values():
                self._views[index] = snapshot[index]  # type: ignore[call-overload]  # the dict knows no kinds of index

    @overload
    def __getitem__(self, table: type[Table[K, R]]) -> TableView[K, R]: ...
    @overload
    def __getitem__(self, table: UniqueIndex[I, R]) -> UniqueIndexView[I, R]: ...
    @overload
    def __getitem__(self, table: Index[I, R]) -> IndexView[I, R]: ...
    @overload
    def __getitem__(self, table: PrefixIndex[I, R]) -> PrefixIndexView[I, R]: ...  # type: ignore[type-var]
    def __getitem__(self, table: Any) -> Any:
        """The view of a table or of an index. Raises LookupError for a table that the derived one does not name."""
        view = self._views.get(table)
        if view is None:
            owner = getattr(table, "table", table)
            raise LookupError(
                f"table {getattr(owner, 'name', owner)!r} is not among the sources of this derived table "
                f"({', '.join([each.name for each in self._tables])}); "
                "name it in affected={...}, or its changes would be missed"
            )
        return view


Affected = Mapping[AnyTable, Callable[[Cut, Any], Iterable[K]]]
"""Of each source table, the function from a row to the derived keys it has a say in (Any: each table has its rows)."""


class Derivation(Follower, Generic[K, R]):
    """Keeps a derived table; `derive` makes it. Run it as any `Follower`."""

    def __init__(
        self,
        db: Database,
        target: type[Table[K, R]],
        compute: Callable[[Cut, K], R | None],
        affected: Affected[K],
        *,
        name: str = "",
        report: Report | None = None,
        retry_min_s: float = RETRY_MIN_S,
        retry_max_s: float = RETRY_MAX_S,
    ) -> None:
        """Registers the table, and an initializer of it."""
        super().__init__(
            db,
            tuple(affected),
            self._derive,
            name=name or f"derive {target.name}",
            report=report,
            retry_min_s=retry_min_s,
            retry_max_s=retry_max_s,
        )
        self.target = target
        self._compute = compute
        self._affected = dict(affected)
        self._before: Cut | None = None  # the state that the table is derived from
        db.register(target)
        with db.write(target) as txn:
            self._token: Any = txn[target].begin_initializer(self.name)

    def afresh(self, snapshot: Snapshot) -> dict[K, R]:
        """What the table ought to hold for this state of its sources, computed from nothing. For tests and checks."""
        cut = Cut(snapshot, self.tables)
        keys = dict.fromkeys(
            [key for table in self.tables for row in cut[table].values() for key in self._of(cut, table, row)]
        )
        found = [(key, self._row(cut, key)) for key in keys]
        return {key: row for key, row in found if row is not None}

    def _derive(self, batch: ChangeBatch[Any] | TablesBatch) -> None:
        """Bring the table to the state that the batch leads to, in one transaction."""
        cut = Cut(batch.snapshot, self.tables)
        keys: dict[K, None] = {}
        if self._before is None:
            keys.update(dict.fromkeys(batch.snapshot[self.target]))  # what an earlier incarnation left behind
        for table in self.tables:
            changes = batch[table] if isinstance(batch, TablesBatch) else batch
            self._collect(keys, cut, table, changes)
        rows = [(key, self._row(cut, key)) for key in keys]
        if rows or self._token is not None:
            self._write(rows)
        self._before = cut
        self._token = None

    def _collect(self, keys: dict[K, None], cut: Cut, table: AnyTable, changes: Iterable[Change[Any]]) -> None:
        """Add the keys that these changes affect, by the rows as they were and as they are."""
        before = self._before
        old_rows = None if before is None else before[table]
        key_of = table.key_of
        for change in changes:
            if before is not None and old_rows is not None:
                old = old_rows.get(key_of(change.row))
                if old is not None:
                    keys.update(dict.fromkeys(self._of(before, table, old)))
            if not change.deleted:
                keys.update(dict.fromkeys(self._of(cut, table, change.row)))

    def _write(self, rows: list[tuple[K, R | None]]) -> None:
        with self._db.write(self.target) as txn:
            writer = txn[self.target]
            for key, row in rows:
                if row is None:
                    writer.delete(key)
            for _, row in rows:
                if row is not None:
                    writer.insert(row)
            if self._token is not None:
                writer.finish_initializer(self._token)

    def _of(self, cut: Cut, table: AnyTable, row: Any) -> Iterable[K]:
        return self._affected[table](cut, row)

    def _row(self, cut: Cut, key: K) -> R | None:
        row = self._compute(cut, key)
        if row is not None and self.target.key_of(row) != key:
            raise ValueError(
                f"derived table {self.target.name!r}: compute gave the row of key {self.target.key_of(row)!r} "
                f"when asked for {key!r}"
            )
        return row


def derive(
    db: Database,
    target: type[Table[K, R]],
    compute: Callable[[Cut, K], R | None],
    affected: Affected[K],
    *,
    name: str = "",
    report: Report | None = None,
    retry_min_s: float = RETRY_MIN_S,
    retry_max_s: float = RETRY_MAX_S,
) -> Derivation[K, R]:
    """Keep ``target`` equal to ``compute`` for every key that any row of the sources affects.

    The sources are the tables of ``affected``; no others can be read. ``target`` is registered, and initialized when
    its sources are and it equals them. Nobody else may write it. Both functions must be pure. Cost: O(changed rows,
    and keys that they affect). ``wait_applied`` waits until it is up to a snapshot.
    """
    return Derivation(
        db, target, compute, affected, name=name, report=report, retry_min_s=retry_min_s, retry_max_s=retry_max_s
    )
