"""Clusters of which another process may know more than this one, because their source has not been synced for long."""

from __future__ import annotations

import math
from collections.abc import Callable

from statedb import Database, Snapshot
from statedb.catalog import Mirror, SourceRow, Sources


class Doubts:
    """The clusters whose source of the mirror is in doubt.

    A source is in doubt until it has been synced for ``settle_s`` seconds without a break, of which all rows have been
    applied, and as many have passed since `begin`. By then the source knows that its server is there, and
    has read what was known to a process that wrote before. A cluster without a source is never in doubt. `settled` and
    `due_in` are for the follower's thread, the rest for any.
    """

    def __init__(
        self, db: Database, settle_s: float, clock: Callable[[], float], found: Callable[[str], None] = lambda _: None
    ) -> None:
        """Nothing is applied yet. ``found`` is called with a cluster that is newly in doubt: `due_in` may change."""
        self._db = db
        self._settle_s = settle_s
        self._clock = clock
        self._found = found
        self._began = -math.inf
        self._applied: dict[str, SourceRow] = {}
        self._synced_at: dict[str, float] = {}
        self._known: tuple[int, dict[str, SourceRow]] = (-1, {})
        self._asked: set[str] = set()

    def begin(self) -> None:
        """The writer begins. Until now, another process may have written."""
        self._began = self._clock()

    def __contains__(self, cluster: str) -> bool:
        """Whether the source of the cluster is in doubt. Cost: O(1) while no source has changed."""
        if not self._is_in_doubt(cluster):
            return False
        if cluster not in self._asked:
            self._asked.add(cluster)
            self._found(cluster)  # after it was noted
        return True

    def settled(self, applied: Snapshot) -> list[str]:
        """Clusters that were found in doubt and are not any more; all rows up to this snapshot have been applied."""
        now, before, rows = self._clock(), self._applied, self._of(applied)
        for cluster, row in rows.items():
            if not _is_as_before(before.get(cluster), row):
                self._synced_at[cluster] = now
        self._applied = rows  # after the times
        found = [cluster for cluster in list(self._asked) if not self._is_in_doubt(cluster)]
        self._asked.difference_update(found)
        return found

    def due_in(self) -> float | None:
        """Seconds until the next cluster is in doubt no more, if nothing changes; None if there is none."""
        now = self._clock()
        left = [self._due(cluster) - now for cluster in list(self._asked) if self._is_followed(cluster)]
        return max(0.0, min(left)) if left else None

    def _is_in_doubt(self, cluster: str) -> bool:
        if cluster not in self._applied and cluster not in self._of(self._db.snapshot()):
            return False
        return not self._is_followed(cluster) or self._clock() < self._due(cluster)

    def _is_followed(self, cluster: str) -> bool:
        """Whether the source is synced, and has been since the rows that are applied."""
        now = self._of(self._db.snapshot()).get(cluster)
        return now is not None and now.state == "synced" and _is_as_before(self._applied.get(cluster), now)

    def _due(self, cluster: str) -> float:
        return max(self._began, self._synced_at.get(cluster, math.inf)) + self._settle_s

    def _of(self, snapshot: Snapshot) -> dict[str, SourceRow]:
        sources = snapshot[Sources]
        revision, found = self._known
        if revision != sources.revision:
            found = {row.key.cluster: row for row in sources.values() if row.key.table == Mirror.name}
            self._known = sources.revision, found
        return found


def _is_as_before(before: SourceRow | None, row: SourceRow) -> bool:
    return before is not None and (before.state, before.since) == (row.state, row.since)
