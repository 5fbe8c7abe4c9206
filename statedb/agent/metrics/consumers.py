"""Metrics of consumers, of what they write to an etcd, and of reconcilers that run on the agent's database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from prometheus_client import Metric
from prometheus_client.registry import Collector

from consumers.etcd.statistics import WriterStats
from consumers.running.names import holders
from consumers.running.reconciler import Reconciler
from statedb import Database

from ..readiness import Readiness
from .families import Families

RECONCILERS_MAX = 100

_CONSUMER = ("consumer",)
_RECONCILER = ("reconciler",)
_DECLARED = (
    ("gauge", "consumer_healthy", "1 if the consumer is healthy.", _CONSUMER),
    ("gauge", "consumer_ready", "1 if the consumer has done its first work and is not stuck.", _CONSUMER),
    (
        "gauge",
        "consumer_failing_seconds",
        "Seconds since the consumer became unhealthy; 0 if it is healthy.",
        _CONSUMER,
    ),
    ("gauge", "consumer_queue", "Keys waiting to be written.", _CONSUMER),
    ("gauge", "consumer_set_aside", "Keys and rows for which a derived table cannot be computed.", _CONSUMER),
    ("counter", "consumer_retries", "Failed tries that are retried.", _CONSUMER),
    ("counter", "writer_puts", "Keys written.", _CONSUMER),
    ("counter", "writer_put_bytes", "Bytes of the values written.", _CONSUMER),
    ("counter", "writer_deletes", "Keys deleted.", _CONSUMER),
    ("counter", "writer_transactions", "Transactions on the etcd.", _CONSUMER),
    ("counter", "writer_connections", "Connections established.", _CONSUMER),
    ("counter", "writer_failures", "Connections that broke or could not be established.", _CONSUMER),
    ("counter", "writer_repairs", "Keys written again because another writer changed or deleted them.", _CONSUMER),
    ("gauge", "writer_keys", "Keys in the etcd.", _CONSUMER),
    ("gauge", "writer_leases", "Leases of these keys.", _CONSUMER),
    ("gauge", "writer_leads", "1 if this process is the one that writes.", _CONSUMER),
    ("gauge", "writer_lease_seconds", "Time to live of a new lease.", _CONSUMER),
    ("gauge", "writer_lease_remaining_seconds", "Time until the first lease expires unless it is renewed.", _CONSUMER),
    ("gauge", "writer_unwritten_keys", "Keys that the etcd refuses or that have no value.", _CONSUMER),
    ("gauge", "writer_contested_keys", "Keys that another writer keeps changing.", _CONSUMER),
    ("gauge", "reconciler_queue", "Objects waiting to be reconciled.", _RECONCILER),
    ("gauge", "reconciler_failing", "Objects that currently fail.", _RECONCILER),
    ("counter", "reconciler_errors", "Failed tries.", _RECONCILER),
    ("summary", "reconciler_update_seconds", "Duration of updates and deletes.", _RECONCILER),
)


@runtime_checkable
class _Writer(Protocol):
    """A consumer that writes to an etcd."""

    def stats(self) -> WriterStats: ...


@runtime_checkable
class _Deriving(Protocol):
    """A consumer that keeps derived tables."""

    @property
    def set_aside_count(self) -> int: ...
    @property
    def failure_count(self) -> int: ...


class ConsumerCollector(Collector):
    """Cost: O(consumers and reconcilers)."""

    def __init__(self, db: Database, readiness: Readiness) -> None:
        """``readiness`` has the consumers."""
        self._db = db
        self._readiness = readiness

    def collect(self) -> Iterator[Metric]:
        """All families."""
        families = Families(*_DECLARED)
        for consumer in self._readiness.consumers:
            label = (consumer.name,)
            families.add("consumer_healthy", label, consumer.health.startswith("OK"))
            families.add("consumer_ready", label, consumer.ready)
            families.add("consumer_failing_seconds", label, self._readiness.failing_s(consumer.name))
            families.add("consumer_queue", label, consumer.queue_size)
            if isinstance(consumer, _Deriving):
                families.add("consumer_set_aside", label, consumer.set_aside_count)
                families.add("consumer_retries", label, consumer.failure_count)
            if isinstance(consumer, _Writer):
                _add_writer(families, label, consumer.stats())
        self._add_reconcilers(families)
        yield from families

    def _add_reconcilers(self, families: Families) -> None:
        found = [each for each in holders(self._db) if isinstance(each, Reconciler) and not each.is_over]
        for each in sorted(found, key=lambda reconciler: reconciler.name)[:RECONCILERS_MAX]:
            label, stats = (each.name,), each.stats
            families.add("reconciler_queue", label, stats.pending)
            families.add("reconciler_failing", label, stats.errors)
            families.add("reconciler_errors", label, stats.errors_total)
            done, seconds = stats.updates + stats.deletes, stats.updates_s + stats.deletes_s
            families.add_summary("reconciler_update_seconds", label, done, seconds)


def _add_writer(families: Families, label: tuple[str], stats: WriterStats) -> None:
    families.add("consumer_retries", label, stats.failures)
    families.add("writer_puts", label, stats.puts)
    families.add("writer_put_bytes", label, stats.put_bytes)
    families.add("writer_deletes", label, stats.deletes)
    families.add("writer_transactions", label, stats.transactions)
    families.add("writer_connections", label, stats.connections)
    families.add("writer_failures", label, stats.failures)
    families.add("writer_repairs", label, stats.repairs)
    families.add("writer_keys", label, stats.keys)
    families.add("writer_leases", label, stats.leases)
    families.add("writer_leads", label, stats.leads)
    families.add("writer_lease_seconds", label, stats.lease_time_s)
    families.add("writer_lease_remaining_seconds", label, stats.lease_left_s)
    families.add("writer_unwritten_keys", label, stats.unwritten)
    families.add("writer_contested_keys", label, stats.contested)
