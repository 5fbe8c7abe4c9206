"""Writers of an etcd: publisher and mesh cache, from tables into a real etcd."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from consumers.etcd.meshcache import MeshCacheOptions, open_meshcache
from consumers.etcd.publisher import PublisherOptions, open_publisher
from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd
from statedb import Database
from statedb.catalog import (
    TABLES,
    Endpoint,
    EndpointKey,
    Endpoints,
    Mirror,
    Mirrored,
    MirrorKey,
    Namespace,
    NamespaceKey,
    Namespaces,
    SourceKey,
    SourceRow,
    Sources,
)
from statedb.catalog.wire import ips, keys
from statedb.catalog.wire.cluster_configs import ClusterConfig, encode

from .harness import Figure, Outcome, Size, median, require, rounds, workload
from .kvstore import CLUSTER, endpoint_of

_ROWS_MAX = 20_000
_CHANGES = 300
_WAIT_S = 120.0

_OTHER = "cluster2"
_CACHED = (keys.NODES, keys.SERVICES, keys.ENDPOINT_SLICES, keys.SERVICE_EXPORTS)


class _Work(msgspec.Struct, frozen=True):
    """What a writer does: ``open_it`` makes it, ``change`` commits another value of a row and gives key and value."""

    db: Database
    open_it: Callable[[Callable[[], Client]], Any]
    change: Callable[[int], tuple[bytes, bytes]]
    keys: int


@workload("publisher")
def publisher(size: Size) -> Iterator[Outcome]:
    """Endpoints into an empty etcd, again where all is there, and from a commit until a change is in the etcd."""
    rows = min(size.rows, _ROWS_MAX)
    db = Database(*TABLES)
    endpoints = [endpoint_of(number) for number in range(rows)]
    with db.write(Namespaces, Endpoints) as txn:
        for name in {each.namespace for each in endpoints}:
            txn[Namespaces].insert(Namespace(NamespaceKey(CLUSTER, name)))
        txn[Endpoints].insert_all(endpoints)

    def change(number: int) -> tuple[bytes, bytes]:
        row = msgspec.structs.replace(endpoints[number % rows], identity=1_000_000 + number)
        with db.write(Endpoints) as txn:
            txn[Endpoints].insert(row)
        return keys.join(keys.IPS, ips.name(row)).encode(), ips.encode(row)

    yield from _figures(
        _Work(db, lambda connect: open_publisher(db, CLUSTER, 1, connect, PublisherOptions()), change, rows), size
    )


@workload("meshcache")
def meshcache(size: Size) -> Iterator[Outcome]:
    """Addresses of another cluster into an empty cache, again where all is there, and a change into the etcd."""
    rows = min(size.rows, _ROWS_MAX)
    db = Database(*TABLES, Mirror)
    found = [_copy(endpoint_of(number)) for number in range(rows)]
    with db.write(Mirror, Sources) as txn:
        txn[Mirror].insert_all([*_cluster(), *found])
        for key in (SourceKey("*", "*"), SourceKey(_OTHER, Mirror.name)):
            txn[Sources].insert(SourceRow(key, "remote-clusters", "synced"))

    def change(number: int) -> tuple[bytes, bytes]:
        row = msgspec.structs.replace(found[number % rows], value=f"{number}".encode())
        with db.write(Mirror) as txn:
            txn[Mirror].insert(row)
        return row.key.name.encode(), row.value

    yield from _figures(_Work(db, lambda connect: open_meshcache(db, connect, MeshCacheOptions()), change, rows), size)


def _figures(work: _Work, size: Size) -> Iterator[Outcome]:
    filled: list[float] = []
    again: list[float] = []
    waits: list[float] = []
    for _ in rounds(min(size.repeats, 5), "writer"):
        with LocalEtcd() as etcd:
            etcd.start()
            for took in (filled, again):
                writer = work.open_it(etcd.client)
                begun = time.perf_counter()
                with writer:
                    require(writer.wait_ready(_WAIT_S), "all is written")
                    took.append(time.perf_counter() - begun)
                    if took is again:
                        require(writer.stats().puts < work.keys, "a second writer writes little")
                        waits += _changes(etcd, work, min(_CHANGES, work.keys))
    yield Figure("into an empty etcd", median(filled), "s")
    yield Figure("keys a second", work.keys / median(filled), "1/s")
    yield Figure("where all is there already", median(again), "s")
    yield Figure("a change is in the etcd, p50", statistics.median(waits) * 1e3, "ms")
    yield Figure("p99", sorted(waits)[len(waits) * 99 // 100] * 1e3, "ms")


def _changes(etcd: LocalEtcd, work: _Work, count: int) -> list[float]:
    """Seconds from the end of a commit until the etcd answers with the new value, asked again and again."""
    took = []
    with etcd.client() as client:
        for number in range(count):
            key, value = work.change(number)
            begun = time.perf_counter()
            while (found := client.get(key).kv) is None or found.value != value:
                require(time.perf_counter() - begun < _WAIT_S, "the change is written")
            took.append(time.perf_counter() - begun)
    return took


def _copy(endpoint: Endpoint) -> Mirrored:
    row = msgspec.structs.replace(endpoint, key=EndpointKey(_OTHER, endpoint.key.ip))
    return Mirrored(MirrorKey(_OTHER, keys.join(keys.CACHED_IPS, _OTHER, ips.name(row))), ips.encode(row))


def _cluster() -> Iterator[Mirrored]:
    """What tells that the cluster is there, and that all of it is."""
    config = encode(ClusterConfig(2, synced_canaries=True, max_connected_clusters=255))
    yield Mirrored(MirrorKey(_OTHER, keys.join(keys.CLUSTER_CONFIG, _OTHER)), config)
    for kind in (*map(keys.state_to_cache, _CACHED), keys.CACHED_IDENTITIES, keys.CACHED_IPS):
        yield Mirrored(MirrorKey(_OTHER, keys.synced(_OTHER, kind)), b"")
