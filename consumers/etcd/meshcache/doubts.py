"""Clusters of which another process may know more than this one, because their source is not synced."""

from __future__ import annotations

from statedb import Database, Snapshot
from statedb.catalog import Mirror, Sources


class Doubts:
    """The clusters whose source of the mirror is in doubt.

    A source is not in doubt while it is synced, both now and in the snapshot up to which rows have been applied. A
    cluster without a source is never in doubt. `settled` is for the follower's thread, ``in`` for any.
    """

    def __init__(self, db: Database) -> None:
        """Nothing is applied yet."""
        self._db = db
        self._applied: frozenset[str] = frozenset()
        self._known: tuple[int, frozenset[str]] = (-1, frozenset())
        self._asked: set[str] = set()

    def __contains__(self, cluster: str) -> bool:
        """Whether the source of the cluster is in doubt. Cost: O(1) while no source has changed."""
        if not self._is_in_doubt(cluster):
            return False
        self._asked.add(cluster)
        return self._is_in_doubt(cluster)  # again: it may have been settled before it was noted

    def settled(self, applied: Snapshot) -> list[str]:
        """Clusters that were found in doubt and are not any more; all rows up to this snapshot have been applied."""
        self._applied = self._of(applied)  # before it looks at what was asked, see above
        found = [cluster for cluster in list(self._asked) if cluster not in self._applied]
        self._asked.difference_update(found)
        return found

    def _is_in_doubt(self, cluster: str) -> bool:
        return cluster in self._applied or cluster in self._of(self._db.snapshot())

    def _of(self, snapshot: Snapshot) -> frozenset[str]:
        sources = snapshot[Sources]
        revision, found = self._known
        if revision != sources.revision:
            found = frozenset(
                [row.key.cluster for row in sources.values() if row.key.table == Mirror.name and row.state != "synced"]
            )
            self._known = sources.revision, found
        return found
