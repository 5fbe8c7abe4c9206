"""Follows the table `Mirror` and tells a writer which keys the etcd of the cache should hold.

A key is not deleted just because it is unknown. A single key is deleted when the mirror of its prefix is complete and
does not have it; this also removes keys that an earlier process left. A cluster is deleted when it has left the mirror,
or is no longer configured: first its config, so that nobody starts to read it, and after a grace period the rest. Keys
of an earlier process whose cluster has not answered yet stay, and their leases are renewed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from consumers.running.follower import Failure, Follower
from statedb import Change, ChangeBatch, Database, Snapshot
from statedb.catalog import Mirror, Mirrored, MirrorKey, Rejected, Sources
from statedb.catalog.wire import WireError, cluster_configs, keys

from ..desired import Refusal
from ..present import Present
from ..rules import Rules
from ..store import Connect
from ..tables_to_etcd import TablesToEtcd
from ..unwritten import UnwrittenRows
from ..writer import EtcdWriter
from .departures import DIRECTORY, Departures
from .doubts import Doubts
from .names import cached_config, canaries, cluster_of, config_name, is_config, owner, rank
from .options import MeshCacheOptions
from .promises import unproven_canaries

log = logging.getLogger("statedb.consumers")

_PREFIXES = (f"{keys.CACHE}/", f"{keys.CLUSTER_CONFIG}/", f"{keys.SYNCED}/")


class MeshCache(TablesToEtcd):
    """The mesh cache; made by `open_meshcache`. Start and stop it once each, from any thread. A context manager."""

    name = "meshcache"

    def __init__(
        self,
        db: Database,
        connect: Connect,
        options: MeshCacheOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` paces it, ``wall`` dates heartbeat and canaries. Raises LookupError for a missing table."""
        self._db = db
        self._options = options
        self._clock = clock
        self._began = 0.0
        self._was_complete = False
        self._snapshot: Snapshot = db.snapshot()
        self._departures = Departures(db, options.grace_s, clock)
        self._doubts = Doubts(db, options.grace_s, clock, self._on_doubt)
        self._configs: dict[str, bytes] = {}  # the configs in the mirror that the writer knows
        self._ids: dict[str, int] = {}  # for the writer's thread
        self._unwritten = UnwrittenRows(db, self.name, wall)
        self._writer = EtcdWriter(
            connect,
            Rules(
                prefixes=_PREFIXES,
                is_own=lambda name, value: owner(name, value) != "",
                may_delete=self._may_delete,
                part_of=cluster_of,
                describes_part=is_config,
                rank=rank,
                delete_first=self._keys_to_delete_first,
                heartbeat=keys.HEARTBEAT,
                begins=self._doubts.begin if options.leader_election else lambda: None,  # else nobody wrote before it
            ),
            options,
            name=self.name,
            report=self._on_refusals,
            clock=clock,
            wall=wall,
        )
        self._follower = Follower(
            db,
            (Mirror,),
            self._apply,
            name=self.name,
            unique=False,
            maintain=self._maintain,
            woken_by=(Sources, Rejected),
            from_start=True,
            report=self._on_failure,
        )

    # --- for its owner ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. Raises RuntimeError the second time."""
        self._began = self._clock()
        self._follower.start()
        self._writer.start()

    @property
    def ready(self) -> bool:
        """Whether everything that readiness waits for has been written, and nothing fails now."""
        if not self._was_complete:
            self._was_complete = self._is_complete()
        return self._was_complete and self._writer.ready

    @property
    def health(self) -> str:
        """The state in one line. It begins with OK while all is well."""
        following = self._follower.health
        return following if following not in ("OK", "ended", "not started") else self._writer.health

    # --- following the table ------------------------------------------------------------------------------------------

    def _apply(self, batch: ChangeBatch[Mirrored]) -> None:
        """Tell the writer which keys have changed: configs first, then data, then canaries.

        A canary that was withdrawn and is there again comes after the new data, even if it waits to be written already.
        It is released first, because the writer goes on meanwhile. Keys that go together with their config were not
        deleted: their source was removed. It may be back, and the same config with it.
        """
        self._snapshot = batch.snapshot
        by_rank: tuple[list[Change[Mirrored]], ...] = ([], [], [])
        for change in batch:
            by_rank[rank(change.row.key.name)].append(change)
        configs, data, marks = by_rank
        complete = self._to_mark(configs, marks)
        for name in {*complete, *(change.row.key.name for change in marks)}:
            self._writer.release(name)
        for change in configs:
            self._apply_config(change)
        drained = {each.row.key.cluster for each in configs if each.deleted or self._is_known(each.row)}
        for change in data:
            if change.deleted:
                self._writer.release(change.row.key.name, is_gone=change.row.key.cluster not in drained)
        self._writer.update({change.row.key.name: change.row.value for change in data if not change.deleted})
        for name in complete:
            self._writer.mark(name)
        for cluster in {change.row.key.cluster for change in (*configs, *marks)}:
            self._writer.review(cluster)

    def _to_mark(self, configs: list[Change[Mirrored]], marks: list[Change[Mirrored]]) -> list[str]:
        """The canaries to write: new ones, and all of a cluster with a new config, so that they come after its data.

        A reader believes a canary only if it is newer than the config that announces the prefix. The writer sees to
        that, because only it knows when the config is written.
        """
        mirror = self._snapshot[Mirror]
        of_configs = [
            MirrorKey(each.row.key.cluster, name) for each in configs for name in canaries(each.row.key.cluster)
        ]
        found = dict.fromkeys([*of_configs, *(change.row.key for change in marks)])
        return [key.name for key in found if key in mirror]

    def _apply_config(self, change: Change[Mirrored]) -> None:
        cluster, name = change.row.key.cluster, change.row.key.name
        if change.deleted:
            self._configs.pop(cluster, None)
            self._writer.release(name)
        else:
            self._departures.arrived(cluster)
            self._writer.put(name, cached_config(change.row.value))
            self._configs[cluster] = change.row.value

    def _maintain(self, applied: Snapshot) -> float | None:
        """Review the keys that may be deleted now: sources have changed, or the grace period of a cluster has ended."""
        for cluster in self._doubts.settled(applied):
            self._writer.review(cluster)
        if self._departures.changed():
            self._writer.review()
        for cluster in self._departures.expired():
            self._writer.review(cluster)
        due = [seconds for seconds in (self._departures.due_in(), self._doubts.due_in()) if seconds is not None]
        return min(due, default=None)

    def _is_known(self, config: Mirrored) -> bool:
        return self._configs.get(config.key.cluster) == config.value

    def _is_mirrored(self, cluster: str) -> bool:
        return MirrorKey(cluster, config_name(cluster)) in self._snapshot[Mirror]

    def _is_complete(self) -> bool:
        """Whether every configured cluster is written, or need not be waited for."""
        sources = self._db.snapshot()[Sources]
        waited_s = self._clock() - self._began
        return DIRECTORY in sources and all(
            all(self._writer.is_written(name) for name in canaries(row.key.cluster))
            or waited_s > self._options.sync_wait_s
            or (waited_s > self._options.connect_wait_s and not self._is_mirrored(row.key.cluster))
            for row in sources.values()
            if row.key.table == Mirror.name
        )

    def _on_failure(self, failure: Failure | None) -> None:
        self._writer.outdated("" if failure is None else str(failure.error))
        if failure is not None:
            log.warning("meshcache: the mirror cannot be followed: %s", failure.error)

    # --- on the writer's thread ---------------------------------------------------------------------------------------

    def _may_delete(self, name: str) -> bool:
        """Whether a key that is in the etcd and that the writer should not put may be deleted.

        The mirror may have the key: the writer learns of its rows a moment later. The mirror may lack a key because its
        config no longer announces it. So this config must be in the etcd first. And another process may have copied the
        key, which this one has not seen because its source is in doubt.
        """
        cluster, mirror = cluster_of(name), self._snapshot[Mirror]
        config = mirror.get(MirrorKey(cluster, config_name(cluster)))
        if config is not None:
            if rank(name) != 1 or MirrorKey(cluster, name) in mirror:
                return False
            is_known = self._is_known(config) and self._writer.is_written(config.key.name)
            is_complete = is_known and MirrorKey(cluster, keys.synced(cluster, name)) in mirror
            return is_complete and (self._writer.is_known_gone(name) or cluster not in self._doubts)
        may, is_new = self._departures.may_delete(cluster, at_once=is_config(name))
        if is_new:
            log.info("meshcache: cluster %s has left; its keys are deleted in %g s", cluster, self._options.grace_s)
            self._follower.wake()
        return may

    def _on_doubt(self, cluster: str) -> None:
        message = "meshcache: the cache has keys that cluster %s lacks; they stay until its source was synced for %g s"
        log.info(message, cluster, self._options.grace_s)
        self._follower.wake()

    def _keys_to_delete_first(self, name: str, value: bytes, present: Present) -> Iterable[str]:
        """The keys to delete before this one is put.

        A cluster with a new id is a new cluster, and its old keys go first. Otherwise these are the canaries that a
        config would make false.
        """
        if not is_config(name):
            return ()
        of_another_id = self._keys_of_another_id(name, value, present)
        return of_another_id or unproven_canaries(name, value, present, self._snapshot)

    def _keys_of_another_id(self, name: str, value: bytes, present: Present) -> list[str]:
        """The keys of the cluster, if they belong to another id than the one in this config.

        The present config has the old id only if an earlier process of ours wrote it. The config of another writer
        says nothing. If it has the new id, the old keys are gone: it was put after that.
        """
        cluster, its_id, entry = cluster_of(name), _id_in(value), present.get(name)
        present_id = _id_in(entry.value) if entry is not None and owner(name, entry.value) else 0
        before = its_id if present_id == its_id else self._ids.get(cluster) or present_id
        others = [each for each in present.names() if each != name and _is_of(each, cluster)]
        if before in (0, its_id) or not others:
            self._ids[cluster] = its_id
            return []
        return others

    def _on_refusals(self, refused: dict[str, Refusal]) -> None:
        self._unwritten.replace({name: refusal.reason for name, refusal in refused.items()})


def open_meshcache(db: Database, connect: Connect, options: MeshCacheOptions = MeshCacheOptions()) -> MeshCache:  # noqa: B008
    """A mesh cache that keeps the etcd behind ``connect`` equal to the table `Mirror`; not yet started.

    ``db`` must have the tables `Mirror`, `Sources` and `Rejected`. Open the sources of remote clusters with ``mirror``,
    so that they fill `Mirror`.
    """
    return MeshCache(db, connect, options)


def _id_in(config: bytes) -> int:
    """The id in a cluster config; 0, which no cluster has, if it cannot be decoded."""
    try:
        return cluster_configs.decode(config).id
    except WireError:
        return 0


def _is_of(name: str, cluster: str) -> bool:
    return name != keys.HEARTBEAT and cluster_of(name) == cluster
