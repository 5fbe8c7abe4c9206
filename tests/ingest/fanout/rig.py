"""Tables of objects, a reader of them on a real etcd, and what it takes to wait for its rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Self

from consumers.etcd import TableToEtcd, WriterOptions
from ingest.etcd.local import LocalEtcd
from ingest.fanout.session import FanoutSource
from ingest.keyspace.options import EtcdReading
from ingest.reflect.writer import TableWriter
from statedb import Database, Snapshot, WatchSet
from statedb.catalog import Object, ObjectKey, Rejected, SourceKey, SourceRow, Sources, objects_table
from statedb.catalog.objects import Objects

CLUSTER = "c"
PODS = objects_table("pods", ("by_node",))
MAPS = objects_table("maps")
WAIT_S = 60.0


def pod(name: str, version: str = "1", cluster: str = CLUSTER) -> Object:
    rest = '{"spec":{"nodeName":"node-1"}}'
    return Object(ObjectKey(cluster, "shop", name), version=version, rest=rest, indexed=(("node-1",),))


def config_map(name: str) -> Object:
    return Object(ObjectKey(CLUSTER, "shop", name), version="1")


def insert(db: Database, *rows: Object, table: type[Objects] = PODS) -> None:
    with db.write(table) as txn:
        for row in rows:
            txn[table].insert(row)


def delete(db: Database, *rows: Object, table: type[Objects] = PODS) -> None:
    with db.write(table) as txn:
        for row in rows:
            txn[table].delete(row.key)


def writer(db: Database, etcd: LocalEtcd, table: type[Objects] = PODS, **options: Any) -> TableToEtcd:
    quick: dict[str, Any] = {"retry_min_s": 0.02, "retry_max_s": 0.2, "repair_min_s": 0.02, "repair_max_s": 0.2}
    return TableToEtcd(db, table, etcd.client, WriterOptions(**quick | options))


def end_leases(etcd: LocalEtcd, prefix: str = "tables/") -> None:
    """What happens to a writer's keys when it has been away for longer than its leases."""
    with etcd.client() as client:
        for lease in {kv.lease for page in client.list(prefix.encode()) for kv in page.kvs}:
            client.revoke(lease)


class Clock:
    """The time of this process, and what it was put forward."""

    def __init__(self) -> None:
        self.forward_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.forward_s


class Reader:
    """A running source of some tables, and every key that a transaction of it deleted; a context manager."""

    def __init__(
        self, endpoint: str, *tables: type[Objects], db: Database | None = None, beats_s: float = 120.0, **options: Any
    ) -> None:
        quick: dict[str, Any] = {"retry_min_s": 0.02, "retry_max_s": 0.2, "request_timeout_s": 5.0}
        self.tables = tables or (PODS,)
        self.db = Database(*self.tables, Sources, Rejected) if db is None else db
        self.clock = Clock()
        self.deleted: set[str] = set()
        read = EtcdReading(endpoints=(endpoint,), **quick | options)
        self.source = FanoutSource(self.db, CLUSTER, self.tables, read, heartbeat_timeout_s=beats_s, clock=self.clock)

    def __enter__(self) -> Self:
        self._commit = commit = TableWriter.commit

        def watched(writer: TableWriter, changes: Any, finished: Any) -> None:
            if writer._db is self.db:
                for table in self.tables:
                    view = self.db.snapshot()[table]
                    rows = changes.get(table, {}).items()
                    self.deleted |= {key.name for key, row in rows if row is None and key in view}
            commit(writer, changes, finished)

        TableWriter.commit = watched  # type: ignore[method-assign]
        self.source.start()
        return self

    def __exit__(self, *_: object) -> None:
        TableWriter.commit = self._commit  # type: ignore[method-assign]
        self.source.stop()
        assert self.source.join(10)
        assert self.source.failure is None

    def until(self, holds: Callable[[Snapshot], bool], what: str = "") -> Snapshot:
        """The first snapshot that fulfils a condition."""
        end = time.monotonic() + WAIT_S
        while True:
            snapshot = self.db.snapshot()
            if holds(snapshot):
                return snapshot
            if time.monotonic() > end:
                raise AssertionError(f"{what or 'it'} did not come: {list(snapshot[Sources].values())}")
            WatchSet(*[snapshot[table].watch() for table in (*self.tables, Sources, Rejected)]).wait(timeout=1.0)

    def row(self, snapshot: Snapshot | None = None, table: type[Objects] = PODS) -> SourceRow:
        key = SourceKey(CLUSTER, table.name)
        return (snapshot or self.db.snapshot())[Sources].get(key) or SourceRow(key)

    def told(self, words: str, table: type[Objects] = PODS) -> Snapshot:
        """Wait until the source says something of a table."""
        return self.until(lambda s: words in f"{self.row(s, table).state}: {self.row(s, table).last_error}", words)

    def names(self, snapshot: Snapshot | None = None, table: type[Objects] = PODS) -> set[str]:
        return {row.key.name for row in (snapshot or self.db.snapshot())[table].values()}

    def has(self, *names: str, table: type[Objects] = PODS) -> Snapshot:
        """Wait until the table has exactly these rows, and the source is in order."""
        return self.until(
            lambda s: self.names(s, table) == set(names) and self.row(s, table).state == "synced", f"{names}"
        )


def beats(etcd: LocalEtcd, table: type[Objects], count: int) -> None:
    """Wait until the heartbeat of a table has been written so often from now on."""
    key = f"tables/.heartbeat/{table.name}".encode()
    with etcd.client() as client, client.watch({key: client.get(key).header.revision + 1}, [key]) as stream:
        end = time.monotonic() + WAIT_S
        while count > 0:
            batch = stream.next(1.0)
            count -= len(batch.events) if batch is not None else 0
            assert time.monotonic() < end


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}
