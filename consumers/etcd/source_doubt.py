"""Whether the sources of tables are synced. If not, a row that is missing in a table may exist at the source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from statedb import Database, Snapshot, Table
from statedb.catalog import SourceRow, Sources


class SourceDoubt:
    """A callable: why the sources of some tables are in doubt, or empty. May be called from any thread.

    A source is not in doubt while it is synced, both now and in the snapshot up to which rows have been applied. A
    table without a source is never in doubt. A source that has ended is in doubt.
    """

    def __init__(self, db: Database, tables: Iterable[type[Table[Any, Any]]], cluster: str | None) -> None:
        """``cluster``: the cluster whose source counts; None for the sources of all clusters."""
        self._db = db
        self._tables = frozenset([table.name for table in tables])
        self._cluster = cluster
        self._applied = ""
        self._known = (-1, "")

    def __call__(self) -> str:
        """The state of the source and its reason, as in the table ``sources``."""
        return self._applied or self._of(self._db.snapshot())

    def advance(self, applied: Snapshot) -> bool:
        """Record that all rows up to this snapshot have been applied. Returns whether the reason has changed."""
        before, self._applied = self._applied, self._of(applied)
        return before != self._applied

    def _of(self, snapshot: Snapshot) -> str:
        if Sources not in snapshot:
            return ""
        sources = snapshot[Sources]
        revision, reason = self._known
        if revision != sources.revision:  # asked twice for each batch, and sources change rarely
            revision, reason = self._known = sources.revision, self._reason(sources.values())
        return reason

    def _reason(self, sources: Iterable[SourceRow]) -> str:
        for row in sources:
            is_its = row.key.table in self._tables and self._cluster in (None, row.key.cluster)
            if is_its and row.backend and row.state != "synced":
                return f"{row.state}: {row.last_error}" if row.last_error else row.state
        return ""
