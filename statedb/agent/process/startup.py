"""Delays the start of consumers until remote clusters have been read, or a timeout has passed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from consumers.running.steps import manual_watch
from ingest import Source
from ingest.worker import Worker
from statedb import Database, Snapshot, WatchSet
from statedb.catalog import SourceKey, Sources

log = logging.getLogger("statedb.agent")


class DelayedStart:
    """Calls ``start_consumers`` once: when the given clusters are synced, or after a timeout.

    A consumer that started earlier would remove the entries of a cluster that is read a moment later. The timeout
    prevents an unreachable cluster from blocking the start (as ``clustermesh-sync-timeout`` of cilium/cilium does). It
    waits on a thread of its own. Without clusters it calls ``start_consumers`` at once.
    """

    def __init__(self, db: Database, start_consumers: Callable[[], None]) -> None:
        """Nothing is called before `start`."""
        self._db = db
        self._start_consumers = start_consumers
        self._stopped = manual_watch()
        self._clusters: tuple[Source, ...] = ()
        self._timeout_s = 0.0
        self._worker = Worker("delayed start", self._run, self._ended)

    def start(self, clusters: Sequence[Source], timeout_s: float) -> None:
        """Wait for these clusters, at most ``timeout_s`` seconds."""
        self._clusters, self._timeout_s = tuple(clusters), timeout_s
        if self._clusters and timeout_s:
            self._worker.start()
        else:
            self._start_consumers()

    def stop(self) -> None:
        """Stop waiting. The consumers are then not started."""
        self._worker.stop()
        self._stopped.trip()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended. False after ``timeout`` seconds."""
        return self._worker.join(timeout)

    def _run(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        while not self._worker.stopping:
            snapshot = self._db.snapshot()
            missing = _missing(snapshot, self._clusters)
            left = deadline - time.monotonic()
            if not missing or left <= 0:
                if missing:
                    log.warning(
                        "consumers start without the clusters %s, which were not read within %g s",
                        ", ".join(missing),
                        self._timeout_s,
                    )
                self._start_consumers()
                return
            watch = snapshot[Sources].watch()
            del snapshot
            WatchSet(watch, self._stopped).wait(left)

    def _ended(self, failure: Exception | None) -> None:
        if failure is not None:
            log.error("consumers were not started: %r", failure, exc_info=failure)


def _missing(snapshot: Snapshot, clusters: Sequence[Source]) -> list[str]:
    """The clusters that have a table which is not synced."""
    sources = snapshot[Sources]
    return [
        each.cluster
        for each in clusters
        if any(
            (row := sources.get(SourceKey(each.cluster, table.name))) is None or row.state != "synced"
            for table in each.tables
        )
    ]
