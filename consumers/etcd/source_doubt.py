"""Whether the sources of tables vouch for them. If not, a row that is missing there may exist all the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from statedb import Database, Snapshot, Table
from statedb.catalog import Sources


class SourceDoubt:
    """Calling it returns why the sources of some tables do not vouch for them; empty if they do. For any thread.

    A source vouches while it is synced: now, and in the snapshot up to which the rows have been applied. A table that
    no source fills needs none. A source that has ended vouches for nothing.
    """

    def __init__(self, db: Database, tables: Iterable[type[Table[Any, Any]]], cluster: str | None) -> None:
        """``cluster``: the one whose source counts; those of all clusters if None."""
        self._db = db
        self._tables = frozenset([table.name for table in tables])
        self._cluster = cluster
        self._applied = ""

    def __call__(self) -> str:
        """The reason as the table ``sources`` has it, with the state in front."""
        return self._applied or self._of(self._db.snapshot())

    def advance(self, applied: Snapshot) -> bool:
        """All rows up to this snapshot have been applied. Returns whether the reason has changed."""
        before, self._applied = self._applied, self._of(applied)
        return before != self._applied

    def _of(self, snapshot: Snapshot) -> str:
        if Sources not in snapshot:
            return ""
        for row in snapshot[Sources].values():
            is_its = row.key.table in self._tables and self._cluster in (None, row.key.cluster)
            if is_its and row.backend and row.state != "synced":
                return f"{row.state}: {row.last_error}" if row.last_error else row.state
        return ""
