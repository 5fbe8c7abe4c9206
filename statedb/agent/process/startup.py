"""Consumers begin when the remote clusters known at the start have been read, or after a while without them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from consumers.running.steps import bell
from ingest import Source
from ingest.worker import Worker
from statedb import Database, Snapshot, WatchSet
from statedb.catalog import SourceKey, Sources

log = logging.getLogger("statedb.agent")


class Beginning:
    """Calls ``begin`` once: as soon as these clusters are synced, at the latest after ``timeout_s`` seconds.

    So that a consumer does not take away, at every start, what belongs to a cluster that is read a moment later; and a
    cluster that is away holds nobody up for long (cilium/cilium ``clustermesh-sync-timeout``). On a thread of its own;
    without clusters at once.
    """

    def __init__(self, db: Database, begin: Callable[[], None]) -> None:
        """Not yet started."""
        self._db = db
        self._begin = begin
        self._stopped = bell()
        self._clusters: tuple[Source, ...] = ()
        self._timeout_s = 0.0
        self._worker = Worker("beginning", self._run, self._ended)

    def start(self, clusters: Sequence[Source], timeout_s: float) -> None:
        """Wait for these."""
        self._clusters, self._timeout_s = tuple(clusters), timeout_s
        if self._clusters and timeout_s:
            self._worker.start()
        else:
            self._begin()

    def stop(self) -> None:
        """Do not begin any more."""
        self._worker.stop()
        self._stopped.trip()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it will not begin any more."""
        return self._worker.join(timeout)

    def _run(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        while not self._worker.stopping:
            snapshot = self._db.snapshot()
            missing = _missing(snapshot, self._clusters)
            left = deadline - time.monotonic()
            if not missing or left <= 0:
                if missing:
                    log.warning("consumers begin without %s: not read after %g s", ", ".join(missing), self._timeout_s)
                self._begin()
                return
            watch = snapshot[Sources].watch()
            del snapshot
            WatchSet(watch, self._stopped).wait(left)

    def _ended(self, failure: Exception | None) -> None:
        if failure is not None:
            log.error("consumers did not begin: %r", failure, exc_info=failure)


def _missing(snapshot: Snapshot, clusters: Sequence[Source]) -> list[str]:
    """Clusters of which some table has not been read."""
    sources = snapshot[Sources]
    return [
        each.cluster
        for each in clusters
        if any(
            (row := sources.get(SourceKey(each.cluster, table.name))) is None or row.state != "synced"
            for table in each.tables
        )
    ]
