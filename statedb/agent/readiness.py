"""Current health and readiness of an agent, from its sources and consumers. Knows no HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from ingest import Source
from statedb import Database
from statedb.catalog import SourceKey, Sources

from .consumer import Consumer

CONSUMER_GRACE_S = 30.0
"""A consumer that fails for this time makes the agent not ready. Shorter failures are retried and do no harm."""


class RemoteClusters(Protocol):
    """The remote clusters of an agent."""

    @property
    def clusters(self) -> Sequence[Source]:
        """The source of each cluster that is connected now."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """The unexpected exception that ended the following of clusters; otherwise None."""
        ...


class Readiness:
    """Computes whether an agent is healthy and ready. May be used from any thread.

    *Healthy*: no part has ended by an unexpected exception. Outages of servers do not count.

    *Ready*: local sources have delivered their first full lists, consumers have finished their first work, and no
    consumer has failed for longer than 30 seconds. An agent whose sources are stale stays ready: it serves the last
    rows, and `stale` names the tables. Remote clusters do not affect readiness.
    """

    def __init__(
        self,
        db: Database,
        sources: Sequence[Source] = (),
        consumers: Sequence[Consumer] = (),
        remotes: RemoteClusters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` returns monotonic seconds."""
        self.sources = tuple(sources)
        self.consumers = tuple(consumers)
        self._db = db
        self._remotes = remotes
        self._clock = clock
        self._failing_since: dict[str, float] = {}
        self._worked: set[str] = set()

    def remote_sources(self) -> Sequence[Source]:
        """The sources of remote clusters."""
        return () if self._remotes is None else self._remotes.clusters

    def failures(self) -> list[str]:
        """A line for each part that an unexpected exception has ended."""
        ended = [source for source in (*self.sources, *self.remote_sources()) if source.failure is not None]
        lines = [f"source {each.backend} of cluster {each.cluster} ended: {each.failure!r}" for each in ended]
        if self._remotes is not None and self._remotes.failure is not None:
            lines.append(f"remote clusters ended: {self._remotes.failure!r}")
        return lines + [f"consumer {each.name} ended: {each.crash!r}" for each in self.consumers if each.crash]

    def observe_consumers(self) -> list[tuple[str, float]]:
        """Check the health of each consumer. Called about once a second, by one thread.

        Returns those that work again, with the seconds for which they did not. The first start does not count.
        """
        now, recovered = self._clock(), list[tuple[str, float]]()
        for consumer in self.consumers:
            if not consumer.health.startswith("OK"):
                self._failing_since.setdefault(consumer.name, now)
            elif (since := self._failing_since.pop(consumer.name, None)) is not None and consumer.name in self._worked:
                recovered.append((consumer.name, now - since))
            else:
                self._worked.add(consumer.name)
        return recovered

    def failing_s(self, consumer: str) -> float:
        """For how many seconds the consumer of this name has not been healthy, as far as was observed."""
        now = self._clock()
        return now - self._failing_since.get(consumer, now)

    def missing(self) -> list[dict[str, str]]:
        """What keeps the agent from being ready; empty if it is ready."""
        return [*self._missing_tables(), *self._missing_consumers()]

    def stale(self) -> list[dict[str, str]]:
        """The tables of local sources that are initialized but not synced now."""
        return [row for row in self._table_rows(initialized=True) if row["state"] != "synced"]

    def _missing_tables(self) -> list[dict[str, str]]:
        return list(self._table_rows(initialized=False))

    def _missing_consumers(self) -> Iterator[dict[str, str]]:
        for consumer in self.consumers:
            if not consumer.ready or self.failing_s(consumer.name) >= CONSUMER_GRACE_S:
                yield {"consumer": consumer.name, "state": consumer.health}

    def _table_rows(self, *, initialized: bool) -> Iterator[dict[str, str]]:
        snapshot: Any = self._db.snapshot()
        for source in self.sources:
            for table in source.tables:
                if snapshot[table].initialized == initialized:
                    row = snapshot[Sources].get(SourceKey(source.cluster, table.name))
                    yield {
                        "cluster": source.cluster,
                        "table": table.name,
                        "backend": source.backend,
                        "state": "" if row is None else row.state,
                        "error": "" if row is None else row.last_error,
                    }
