"""After any history the etcd of a cache holds what the table says, computed afresh; restarts and losses in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from consumers.etcd.meshcache import MeshCache, MeshCacheOptions, open_meshcache
from consumers.etcd.meshcache.names import KINDS, canaries, config_name
from ingest.etcd import Client, parse_endpoint
from ingest.etcd.local import LocalEtcd
from statedb import Database
from statedb.catalog import TABLES, Mirror, Mirrored, MirrorKey, SourceKey, SourceRow, Sources
from statedb.catalog.wire import keys
from statedb.catalog.wire.cluster_configs import ClusterConfig, encode

from ...ingest.clustermesh.publisher import replica

CLUSTERS = ("c2", "c3")
WAIT_S = 60.0

cluster = st.sampled_from(CLUSTERS)
kind = st.sampled_from(KINDS[3:])
name = st.integers(0, 3).map(str)
step = st.one_of(
    st.tuples(st.just("put"), cluster, kind, name, st.binary(max_size=2)),
    st.tuples(st.just("delete"), cluster, kind, name),
    st.tuples(st.just("complete"), cluster, kind),
    st.tuples(st.just("config"), cluster, st.integers(2, 3)),
    st.tuples(st.just("drain"), cluster),
    st.tuples(st.just("restart")),
    st.tuples(st.just("cut")),
    st.tuples(st.just("lose")),
    st.tuples(st.just("settle")),
)


@pytest.fixture(scope="module")
def etcd() -> Iterator[LocalEtcd]:
    with replica() as server:
        server.start()
        yield server


class History:
    """A table that is written as the ingest would, and the cache that follows it."""

    def __init__(self, etcd: LocalEtcd) -> None:
        self.etcd = etcd
        self.db = Database(*TABLES, Mirror)
        with self.db.write(Sources) as txn:
            txn[Sources].insert(SourceRow(SourceKey("*", "*"), "remote-clusters", "synced"))
        self.clients: list[Client] = []
        with etcd.client() as client:
            client.delete_prefix(b"")
        self.cache = self.begin()

    def begin(self) -> MeshCache:
        options = MeshCacheOptions(grace_s=0.0, heartbeat_s=0.1, retry_min_s=0.01, retry_max_s=0.05, batch_keys_max=3)
        cache = open_meshcache(self.db, self.connect, options)
        cache.start()
        return cache

    def connect(self) -> Client:
        self.clients.append(Client(parse_endpoint(self.etcd.endpoint), timeout_s=5.0))
        return self.clients[-1]

    def end(self) -> None:
        self.cache.stop()
        assert self.cache.join(10)
        assert self.cache.crash is None

    def do(self, what: str, *arguments: Any) -> None:
        match what, arguments:
            case "restart", ():
                self.end()
                self.cache = self.begin()
            case "cut", ():
                for client in self.clients[-1:]:
                    client.close()
            case "lose", ():
                with self.etcd.client() as client:
                    for lease in {kv.lease for page in client.list(b"cilium/") for kv in page.kvs} - {0}:
                        client.revoke(lease)
            case "settle", ():
                self.settle()
            case _:
                with self.db.write(Mirror) as txn:
                    self.write(txn[Mirror], what, *arguments)

    def write(self, mirror: Any, what: str, of: str, *arguments: Any) -> None:
        def put(name: str, value: bytes) -> None:
            mirror.insert(Mirrored(MirrorKey(of, name), value))

        config = mirror.get(MirrorKey(of, config_name(of)))
        if what == "config":
            value = encode(ClusterConfig(arguments[0], True, max_connected_clusters=255))
            if config is not None and config.value != value:
                self.write(mirror, "drain", of)
            put(config_name(of), value)
        elif what == "drain":
            for row in list(mirror.values()):
                if row.key.cluster == of:
                    mirror.delete(row.key)
        elif config is not None:  # nothing is listed before
            if what == "put":
                put(f"{arguments[0]}/{of}/{arguments[1]}", arguments[2])
            elif what == "delete":
                mirror.delete(MirrorKey(of, f"{arguments[0]}/{of}/{arguments[1]}"))
            else:
                put(keys.synced(of, arguments[0]), b"")

    def difference(self) -> str:
        """What stands there against what should; empty where it is right."""
        rows = {row.key.name: row for row in self.db.snapshot()[Mirror].values()}
        with self.etcd.client() as client:
            there = {kv.key.decode(): kv.value for page in client.list(b"cilium/") for kv in page.kvs}
        there.pop(keys.HEARTBEAT, None)
        for key, row in rows.items():
            if key not in there:
                return f"{key} is missing"
            if key.startswith(keys.CACHE) and there[key] != row.value:
                return f"{key} is {there[key]!r}, not {row.value!r}"
            if key.startswith(keys.CLUSTER_CONFIG) and b'"cached":true' not in there[key]:
                return f"{key} is {there[key]!r}"
        for key in there.keys() - rows.keys():
            of = next(each for each in CLUSTERS if f"/{each}" in key)
            waits = config_name(of) in rows and keys.synced(of, key) not in rows
            if not (waits and (key.startswith(keys.CACHE) or key in canaries(of))):
                return f"{key} is too much"
        return ""

    def settle(self) -> None:
        end = time.monotonic() + WAIT_S
        while told := self.difference():
            assert time.monotonic() < end, f"{told}; {self.cache.health}"
            threading.Event().wait(0.01)


def test_nothing_goes_before_the_table_is_complete_again(etcd: LocalEtcd):
    history = History(etcd)
    ips = keys.CACHED_IPS

    def there() -> set[str]:
        with etcd.client() as client:
            return {kv.key.decode() for page in client.list(f"{ips}/".encode()) for kv in page.kvs}

    try:
        for arguments in (("config", "c2", 2), ("put", "c2", ips, "a", b""), ("complete", "c2", ips), ("settle",)):
            history.do(*arguments)
        with history.db.write(Mirror) as txn:  # it left, and came back before anybody looked
            history.write(txn[Mirror], "drain", "c2")
            history.write(txn[Mirror], "config", "c2", 2)
        history.do("put", "c2", ips, "b", b"")
        history.settle()
        assert there() == {f"{ips}/c2/a", f"{ips}/c2/b"}
        history.do("complete", "c2", ips)
        history.settle()
        assert there() == {f"{ips}/c2/b"}
    finally:
        history.end()


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=st.lists(step, min_size=3, max_size=25))
def test_what_stands_there_is_what_the_table_says(etcd: LocalEtcd, steps: list[tuple[Any, ...]]):
    history = History(etcd)
    try:
        for number, each in enumerate(CLUSTERS, 2):
            history.do("config", each, number)
        for what, *arguments in steps:
            history.do(what, *arguments)
        history.settle()
    finally:
        history.end()
