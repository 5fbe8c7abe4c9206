"""A kvstore source on a real etcd, and what it takes to write into that etcd and wait for the tables."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Self

from ingest import KvstoreOptions, Source
from ingest.etcd import Client
from ingest.kvstore import open as open_kvstore
from ingest.reflect.writer import TableWriter
from statedb import Database, Snapshot, StreamClosed, Table, WatchSet
from statedb.catalog import TABLES, Endpoint, EndpointKey, Endpoints, SourceKey, SourceRow, Sources
from statedb.catalog.wire import ips, keys

CLUSTER = "cluster1"
WAIT_S = 60.0
HEARTBEAT = keys.HEARTBEAT.encode()


def endpoint(ip: str, identity: int = 70_000) -> Endpoint:
    return Endpoint(EndpointKey(CLUSTER, ip), identity, "172.18.0.2", "default", f"pod-{ip}")


def ip_of(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def ip_key(ip: str) -> bytes:
    return f"{keys.IPS}/{ip}".encode()


def put_endpoint(client: Client, ip: str, identity: int = 70_000) -> int:
    return client.put(ip_key(ip), ips.encode(endpoint(ip, identity))).revision


def put_endpoints(client: Client, numbers: range, identity: int = 70_000) -> None:
    for start in range(numbers.start, numbers.stop, 100):
        items = [ip_of(number) for number in range(start, min(start + 100, numbers.stop))]
        client.put_many([(ip_key(ip), ips.encode(endpoint(ip, identity))) for ip in items])


def endpoints_in(client: Client) -> dict[str, int]:
    """What etcd holds: address -> identity."""
    held = {}
    for page in client.list(f"{keys.IPS}/".encode()):
        for kv in page.kvs:
            row = ips.decode(CLUSTER, kv.key.decode().removeprefix(f"{keys.IPS}/"), kv.value)
            assert row is not None
            held[row.key.ip] = row.identity
    return held


class Deletions:
    """Every deletion from a table: what a change stream tells, and what any transaction of a source does.

    The stream is read as it comes by a thread of its own, but folds what comes faster; the transactions are all.
    """

    def __init__(
        self, db: Database, table: type[Table[Any, Any]] = Endpoints, name_of: Callable[[Any], str] = lambda key: key.ip
    ) -> None:
        """``name_of`` a key of the table is what is noted of it: the address of an endpoint or a backend."""
        self._db = db
        self._table = table
        self._name_of = name_of
        self._stream = db.changes(table)
        self._told = threading.Condition()
        self._revision = -1
        self._seen: set[str] = set()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> Self:
        self._thread.start()
        self._commit = commit = TableWriter.commit

        def watched(writer: TableWriter, changes: Any, finished: Any) -> None:
            if writer._db is self._db:
                view = self._db.snapshot()[self._table]
                given = changes.get(self._table, {})
                gone = {self._name_of(key) for key, row in given.items() if row is None and key in view}
                with self._told:
                    self._seen |= gone
            commit(writer, changes, finished)

        TableWriter.commit = watched  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        TableWriter.commit = self._commit  # type: ignore[method-assign]
        self._stream.close()
        self._thread.join(10)

    def now(self) -> set[str]:
        """What was deleted until now."""
        revision = self._db.snapshot()[self._table].revision
        with self._told:
            assert self._told.wait_for(lambda: self._revision >= revision, WAIT_S)
            return set(self._seen)

    def _follow(self) -> None:
        while True:
            # Taken before the stream is asked: a row that came and went tells nothing, and moves the revision.
            revision = self._db.snapshot()[self._table].revision
            try:
                batch = self._stream.next(0.05)
            except StreamClosed:
                return
            with self._told:
                if batch is not None:
                    self._seen |= {self._name_of(change.row.key) for change in batch if change.deleted}
                    revision = batch.snapshot[self._table].revision
                self._revision = revision
                self._told.notify_all()


class Rig:
    """A running source; a context manager. Waiting is by watches of the tables, never by time."""

    def __init__(self, endpoint_url: str | tuple[str, ...], *, db: Database | None = None, **options: object) -> None:
        urls = (endpoint_url,) if isinstance(endpoint_url, str) else endpoint_url
        values = {"retry_min_s": 0.02, "retry_max_s": 0.2, "request_timeout_s": 5.0, **options}
        self.db = db or Database(*TABLES)
        self.source: Source = open_kvstore(self.db, CLUSTER, 1, KvstoreOptions(endpoints=urls, **values))  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        self.source.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.stop()
        assert self.source.join(10)
        if self.source.failure is not None:
            raise AssertionError("the source has ended") from self.source.failure

    def until(self, holds: Callable[[Snapshot], bool], what: str = "") -> Snapshot:
        """The first snapshot that fulfils a condition."""
        end = time.monotonic() + WAIT_S
        while True:
            snapshot = self.db.snapshot()
            if holds(snapshot):
                return snapshot
            watches = [snapshot[table].watch() for table in TABLES]
            tripped = WatchSet(*watches).wait(timeout=max(0.0, end - time.monotonic()))
            if not tripped:
                raise AssertionError(f"{what or 'it'} did not come; sources: {list(snapshot[Sources].values())}")

    def synced(self) -> Snapshot:
        return self.until(lambda s: self.state(s) == "synced", "synced")

    def state(self, snapshot: Snapshot | None = None) -> str:
        return self.row(snapshot).state

    def row(self, snapshot: Snapshot | None = None) -> SourceRow:
        return (snapshot or self.db.snapshot())[Sources][SourceKey(CLUSTER, "endpoints")]

    def endpoints(self, snapshot: Snapshot | None = None) -> dict[str, int]:
        return {row.key.ip: row.identity for row in (snapshot or self.db.snapshot())[Endpoints].values()}
