"""Clusters that have left, and when their keys may be deleted."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import NamedTuple

from statedb import Database, Snapshot
from statedb.catalog import Rejected, SourceKey, Sources

DIRECTORY = SourceKey("*", "*")
"""The source that says which clusters there are."""


class Configured(NamedTuple):
    """The clusters that have a source or a file that cannot be read, and whether there are surely no others."""

    clusters: frozenset[str]
    is_whole: bool


class Departures:
    """Clusters that have left the mirror, and when their keys may be deleted.

    A configured cluster has not left, even if it was drained: it may be connecting anew. `may_delete` is for the
    writer's thread, the rest for the follower's.
    """

    def __init__(self, db: Database, grace_s: float, clock: Callable[[], float]) -> None:
        """``grace_s``: how long the keys of a cluster stay after it has left."""
        self._db = db
        self._grace_s = grace_s
        self._clock = clock
        self._seen: set[str] = set()
        self._due: dict[str, float] = {}
        self._found: tuple[tuple[int, int], Configured] = ((-1, -1), Configured(frozenset(), False))
        self._before: Configured | None = None

    def arrived(self, cluster: str) -> None:
        """The cluster is in the mirror."""
        self._seen.add(cluster)
        self._due.pop(cluster, None)

    def may_delete(self, cluster: str, *, at_once: bool) -> tuple[bool, bool]:
        """Whether keys of a cluster outside the mirror may be deleted, and whether its departure is new."""
        configured = self._configured()
        if cluster in configured.clusters or not (configured.is_whole or cluster in self._seen):
            return False, False
        now = self._clock()
        is_new = cluster not in self._due
        due = self._due.setdefault(cluster, now + self._grace_s)
        return at_once or now >= due, is_new

    def changed(self) -> bool:
        """Whether clusters were configured or not any more since the last call. Those that are back have not left."""
        configured = self._configured()
        if configured == self._before:
            return False
        self._before = configured
        for cluster in configured.clusters:
            self._due.pop(cluster, None)
        return True

    def due_in(self) -> float | None:
        """Seconds until the keys of the next cluster may be deleted; None if no cluster has left."""
        now = self._clock()
        left = [due - now for due in list(self._due.values()) if due > now]
        return min(left) if left else None

    def expired(self) -> list[str]:
        """The clusters that have left and whose grace period is over."""
        now = self._clock()
        return [cluster for cluster, due in list(self._due.items()) if due <= now]

    def _configured(self) -> Configured:
        """What is configured now. Cost: O(1) while no source has changed."""
        snapshot = self._db.snapshot()
        moment = snapshot[Sources].revision, snapshot[Rejected].revision
        if self._found[0] != moment:
            self._found = moment, _configured(snapshot)
        return self._found[1]


def _configured(snapshot: Snapshot) -> Configured:
    rejected = snapshot[Rejected].values()
    bad = {posixpath.basename(row.key.object) for row in rejected if row.key.cluster == DIRECTORY.cluster}
    clusters = {row.key.cluster for row in snapshot[Sources].values()} - {DIRECTORY.cluster}
    directory = snapshot[Sources].get(DIRECTORY)
    is_read = directory is not None and directory.state == "synced"
    return Configured(frozenset(clusters | bad), is_read and not bad)
