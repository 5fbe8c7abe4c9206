"""Metrics of sources, from the tables ``sources`` and ``rejected`` and from the sources' own counters.

Their number is bounded: the first 32 remote clusters by name have series of their own, and all others share the series
of the cluster ``others``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Protocol, get_args, runtime_checkable

from prometheus_client import Metric
from prometheus_client.registry import Collector

from ingest.figures import SourceStats
from ingest.status import State
from statedb import Database
from statedb.catalog import Rejected, SourceRow, Sources

from ..readiness import Readiness
from .families import Families

REMOTE_CLUSTERS_MAX = 32
OTHERS = "others"
"""Stands for the names of all further remote clusters."""

_TABLE = ("cluster", "backend", "table")
_SOURCE = ("cluster", "backend")
_STATES: tuple[str, ...] = get_args(State)
_DECLARED = (
    (
        "gauge",
        "source_state",
        "1 for the state of the source of a table, 0 for each other state.",
        (*_TABLE, "state"),
    ),
    (
        "gauge",
        "source_state_changed_timestamp_seconds",
        "When the source entered its current state (Unix time).",
        _TABLE,
    ),
    ("gauge", "source_rows", "Rows that the source owns.", _TABLE),
    ("gauge", "source_withheld_deletes", "Objects that are missing at the source but are kept.", _TABLE),
    ("counter", "source_lists", "Full lists read.", _TABLE),
    (
        "gauge",
        "source_rejected",
        "Objects that cannot be read, up to 1000 of a table.",
        ("cluster", "table"),
    ),
    ("counter", "source_events", "Changes of objects received after a list.", _SOURCE),
    ("counter", "source_reconnects", "Connections (Kubernetes: watches) that were reestablished.", _SOURCE),
    ("counter", "source_failures", "Failed connections, watches and directory scans.", _SOURCE),
    ("summary", "source_request_seconds", "Duration of answered requests.", _SOURCE),
    ("gauge", "source_answered_timestamp_seconds", "When the server last sent anything (Unix time).", _SOURCE),
)


@runtime_checkable
class _Counting(Protocol):
    """A source with counters. Sources of other packages need not have them."""

    @property
    def cluster(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def figures(self) -> SourceStats: ...


class SourceCollector(Collector):
    """Cost: O(sources), and O(rejected objects) if any was added or removed since the last scrape."""

    def __init__(self, db: Database, readiness: Readiness) -> None:
        """``readiness`` has the sources."""
        self._db = db
        self._readiness = readiness
        self._counted: tuple[int, Counter[tuple[str, str]]] = (-1, Counter())

    def collect(self) -> Iterator[Metric]:
        """All families."""
        families = Families(*_DECLARED)
        rows = [row for row in self._db.snapshot()[Sources].values() if row.backend]
        label_of = self._labels([row.key.cluster for row in rows])
        self._add_rows(families, rows, label_of)
        self._add_rejected(families, rows, label_of)
        self._add_figures(families, label_of)
        yield from families

    def _labels(self, clusters: list[str]) -> dict[str, str]:
        """The label of each cluster: its name or ``others``."""
        own = {source.cluster for source in self._readiness.sources}
        remote = sorted(set(clusters) - own)
        named = {*own, *remote[:REMOTE_CLUSTERS_MAX]}
        return {cluster: cluster if cluster in named else OTHERS for cluster in clusters}

    def _add_rows(self, families: Families, rows: list[SourceRow], label_of: dict[str, str]) -> None:
        merged: dict[tuple[str, str, str], list[SourceRow]] = {}
        for row in rows:
            merged.setdefault((label_of[row.key.cluster], row.backend, row.key.table), []).append(row)
        for labels, each in merged.items():
            states = {row.state for row in each}
            for state in _STATES:
                families.add("source_state", (*labels, state), state in states)
            families.add("source_state_changed_timestamp_seconds", labels, max(row.since for row in each))
            families.add("source_rows", labels, sum(row.rows for row in each))
            families.add("source_withheld_deletes", labels, sum(row.withheld_deletes for row in each))
            families.add("source_lists", labels, sum(row.relists for row in each))

    def _add_rejected(self, families: Families, rows: list[SourceRow], label_of: dict[str, str]) -> None:
        """Includes 0 for tables without rejected objects, so that their series do not come and go."""
        rejected = self._db.snapshot()[Rejected]
        if rejected.revision != self._counted[0]:
            self._counted = (rejected.revision, Counter([(key.cluster, key.table) for key in rejected]))
        merged = Counter({(label_of[row.key.cluster], row.key.table): 0 for row in rows})
        for (cluster, table), count in self._counted[1].items():
            merged[label_of.get(cluster, OTHERS), table] += count
        for labels, count in merged.items():
            families.add("source_rejected", labels, count)

    def _add_figures(self, families: Families, label_of: dict[str, str]) -> None:
        merged: dict[tuple[str, str], list[SourceStats]] = {}
        for source in (*self._readiness.sources, *self._readiness.remote_sources()):
            if isinstance(source, _Counting):
                labels = label_of.get(source.cluster, OTHERS), source.backend
                merged.setdefault(labels, []).append(source.figures)
        for labels, each in merged.items():
            families.add("source_events", labels, sum(figures.events for figures in each))
            families.add("source_reconnects", labels, sum(figures.reconnects for figures in each))
            families.add("source_failures", labels, sum(figures.failures for figures in each))
            requests, seconds = sum(figures.requests for figures in each), sum(figures.requests_s for figures in each)
            families.add_summary("source_request_seconds", labels, requests, seconds)
            families.add("source_answered_timestamp_seconds", labels, min(figures.answered_at for figures in each))
