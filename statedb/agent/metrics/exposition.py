"""The response of `GET /metrics`."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from statedb import Database, __version__

from ..readiness import Readiness
from .consumers import ConsumerCollector
from .families import Families
from .process import ProcessMetrics
from .sources import SourceCollector
from .tables import TableCollector

_DECLARED = (
    ("gauge", "build_info", "Always 1; the labels have the versions.", ("version", "python")),
    ("gauge", "healthy", "1 if no part has ended with an unexpected exception, as /healthz.", ()),
    ("gauge", "ready", "1 if the agent is ready, as /readyz.", ()),
)


class Metrics:
    """All metrics of one agent. May be used from any thread."""

    def __init__(self, db: Database, readiness: Readiness) -> None:
        """``db`` measures the duration of commits from now on, which costs a microsecond per commit."""
        db.observe()
        self._registry = CollectorRegistry()
        self._lock = threading.Lock()
        own = (_AgentCollector(readiness), TableCollector(db))
        for collector in (*own, SourceCollector(db, readiness), ConsumerCollector(db, readiness)):
            self._registry.register(collector)
        self._registry.register(ProcessMetrics())
        GCCollector(registry=self._registry)

    def register(self, collector: Collector) -> None:
        """Add metrics of another part. Raises ValueError if their names are taken."""
        self._registry.register(collector)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """The text and its media type: OpenMetrics if ``Accept`` allows it, otherwise the older text format."""
        encode, media_type = choose_encoder(accept)
        with self._lock:
            return encode(self._registry), media_type


class _AgentCollector(Collector):
    """The agent as a whole."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def collect(self) -> Iterator[Metric]:
        families = Families(*_DECLARED)
        families.add("build_info", (__version__, platform.python_version()), 1)
        families.add("healthy", (), not self._readiness.failures())
        families.add("ready", (), not self._readiness.missing())
        yield from families
