"""Metrics of the tables of a database."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.registry import Collector

from statedb import Database

from .families import Families

_TABLE = ("table",)
_DECLARED = (
    ("gauge", "table_rows", "Rows.", _TABLE),
    ("gauge", "table_initialized", "1 once every source of the table has delivered a full list.", _TABLE),
    ("counter", "table_commits", "Transactions that changed the table.", _TABLE),
    ("summary", "table_commit_seconds", "Time in commits that changed the table.", _TABLE),
    ("gauge", "table_watches", "Registered watches.", _TABLE),
    ("gauge", "table_streams", "Open change streams, in this process and over HTTP.", _TABLE),
    ("gauge", "table_history_commits", "Commits kept in the history for readers of older states.", _TABLE),
    ("gauge", "table_history_changes", "Changed rows in these commits.", _TABLE),
    ("counter", "table_writer_waits", "How often a writer waited for another writer.", _TABLE),
    ("counter", "table_writer_wait_seconds", "Seconds that writers waited for other writers.", _TABLE),
)


class TableCollector(Collector):
    """Reads the statistics of the engine, which locks nothing. Cost: O(tables)."""

    def __init__(self, db: Database) -> None:
        """``db.observe()`` must have been called for the times of commits."""
        self._db = db

    def collect(self) -> Iterator[Metric]:
        """All families."""
        families = Families(*_DECLARED)
        for table in self._db.stats():
            label = (table.name,)
            families.add("table_rows", label, table.rows)
            families.add("table_initialized", label, table.initialized)
            families.add("table_commits", label, table.commits)
            families.add_summary("table_commit_seconds", label, table.commits_timed, table.commits_s)
            families.add("table_watches", label, table.watches)
            families.add("table_streams", label, table.streams)
            families.add("table_history_commits", label, table.links_kept)
            families.add("table_history_changes", label, table.changes_kept)
            families.add("table_writer_waits", label, table.waits)
            families.add("table_writer_wait_seconds", label, table.waited_s)
        yield from families
