"""A mesh cache of one cluster whose mirror a test writes, and strangers who write beside it."""

from __future__ import annotations

import time
from typing import Any, Self

from consumers.etcd.meshcache import MeshCache, MeshCacheOptions
from consumers.etcd.meshcache.names import canaries, config_name
from ingest.etcd.local import LocalEtcd
from statedb import Database
from statedb.catalog import (
    TABLES,
    Mirror,
    Mirrored,
    MirrorKey,
    Rejected,
    RejectedKey,
    RejectedRow,
    SourceKey,
    SourceRow,
    Sources,
)
from statedb.catalog.wire.cluster_configs import ClusterConfig, encode

from ...waiting import WAIT_S, eventually

CLUSTER = "c3"
CONFIG = config_name(CLUSTER)
CANARIES = canaries(CLUSTER)
SOURCE = SourceKey(CLUSTER, Mirror.name)
KEY = f"cilium/cache/ip/v1/{CLUSTER}/10.3.0.1"
FIRST, SECOND = (encode(ClusterConfig(3, True, max_connected_clusters=most)) for most in (255, 511))


class Copied:
    """A mesh cache of one cluster, which is complete. Its clock can be turned. A context manager."""

    def __init__(self, connect: Any, **options: Any) -> None:
        self.db = Database(*TABLES, Mirror)
        self.ahead_s = 0.0
        self._is_started = False
        defaults = {"heartbeat_s": 0.1, "retry_min_s": 0.02, "retry_max_s": 0.1, "lease_time_s": 3600.0}
        self.cache = MeshCache(
            self.db,
            connect,
            MeshCacheOptions(**(defaults | options)),
            clock=lambda: time.monotonic() + self.ahead_s,
        )
        self.write({CONFIG: FIRST, KEY: b"1"} | dict.fromkeys(CANARIES, b""))

    def write(self, rows: dict[str, bytes]) -> None:
        with self.db.write(Mirror) as txn:
            txn[Mirror].insert_all([Mirrored(MirrorKey(CLUSTER, name), value) for name, value in rows.items()])

    def delete(self, name: str) -> None:
        with self.db.write(Mirror) as txn:
            txn[Mirror].delete(MirrorKey(CLUSTER, name))

    def drain(self) -> None:
        """Delete all rows of the cluster in one transaction, as its source does when its file is removed."""
        with self.db.write(Mirror) as txn:
            for row in list(self.db.snapshot()[Mirror].values()):
                txn[Mirror].delete(row.key)

    def report(self, state: str, since: float = 0.0) -> None:
        """Write the state of the source."""
        report(self.db, state, since=since)

    def note(self, state: str) -> None:
        """Write the state of the source, and wait until it is noted."""
        self.report(state)
        eventually(lambda: self.cache._doubts._applied.get(CLUSTER) == self.db.snapshot()[Sources][SOURCE], "the note")

    def configure(self) -> None:
        """The directory is read, and has no file."""
        with self.db.write(Sources, Rejected) as txn:
            txn[Sources].clear()
            txn[Rejected].clear()
            txn[Sources].insert(SourceRow(SourceKey("*", "*"), "remote-clusters", "synced"))

    def reject(self, cluster: str) -> None:
        """The file of a cluster is bad."""
        with self.db.write(Rejected) as txn:
            txn[Rejected].insert(RejectedRow(RejectedKey("*", "*", f"/a/directory/{cluster}"), "it is bad", "", 0.0))

    def turn(self, seconds: float) -> None:
        """Turn the clock ahead, and let the cache look at it."""
        self.ahead_s += seconds
        self.cache._follower.wake()

    def follow(self) -> None:
        """Wait until the writer knows the mirror."""
        assert self.cache._follower.wait_applied(timeout=WAIT_S)

    def settle(self) -> None:
        """Wait until the writer has looked at all that it knows."""
        self.follow()
        eventually(lambda: not self.cache.queue_size, "the end of the queue")

    def start(self) -> None:
        """Start it; twice is once."""
        if not self._is_started:
            self._is_started = True
            self.cache.start()

    def __enter__(self) -> Self:
        self.start()
        eventually(lambda: self.cache._writer.ready, "the copy")
        return self

    def __exit__(self, *_: object) -> None:
        self.cache.stop()
        assert self.cache.join(10)
        assert self.cache.crash is None


def report(db: Database, state: str, cluster: str = CLUSTER, since: float = 0.0) -> None:
    """Write the state of the source of a cluster."""
    with db.write(Sources) as txn:
        txn[Sources].insert(SourceRow(SourceKey(cluster, Mirror.name), "remote-clusters", state, since))


def overwrite(etcd: LocalEtcd, key: str, value: bytes) -> None:
    with etcd.client() as client:
        client.put(key.encode(), value)
