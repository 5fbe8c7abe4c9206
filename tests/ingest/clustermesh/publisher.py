"""A publisher of a cluster's state into an etcd in ClusterMesh layout, and a source of that cluster on real servers.

The publisher writes what clustermesh-apiserver (or kvstoremesh) would: state, then canaries, config and heartbeat.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Self

from ingest import RemoteClustersOptions
from ingest.clustermesh.factory import remote
from ingest.clustermesh.ids import ClusterIds
from ingest.clustermesh.session import ClusterSource
from ingest.etcd import Client, EtcdError, parse_endpoint
from ingest.etcd.local import LocalEtcd
from ingest.keyspace.connect import Servers
from statedb import Database, Snapshot, WatchSet
from statedb.catalog import TABLES, Endpoint, EndpointKey, Endpoints, Mirror, Rejected, SourceKey, SourceRow, Sources
from statedb.catalog.wire import ips, keys
from statedb.catalog.wire.cluster_configs import ClusterConfig, encode as encode_config

CLUSTER = "cluster3"
WAIT_S = 60.0

# clustermesh-apiserver/clustermesh/testdata: clusterconfig, ciliumidentitites, ciliumendpoints, ciliumnodes, services
CONFIG = (
    b'{"id":3,"capabilities":{"syncedCanaries":true,"maxConnectedClusters":255,"serviceExportsEnabled":false,'
    b'"endpointSlicesExportMode":"services-and-endpointslices"}}'
)
LABELS = b"k8s:app=baz;k8s:io.cilium.k8s.policy.cluster=cluster3;k8s:io.kubernetes.pod.namespace=bar;"
LITERALS = {
    "cilium/state/identities/v1/id/196915": LABELS,
    "cilium/state/ip/v1/default/10.244.1.79": b'{"IP":"10.244.1.79","HostIP":"172.18.0.3","ID":199472,"Key":0,'
    b'"Metadata":"","K8sNamespace":"foo","K8sPodName":"cep-001","K8sServiceAccount":"default"}',
    "cilium/state/ip/v1/default/fd00:10:244:2::e024": b'{"IP":"fd00:10:244:2::e024","HostIP":"172.18.0.2","ID":199475,'
    b'"Key":5,"Metadata":"","K8sNamespace":"bar","K8sPodName":"cep-002","K8sServiceAccount":"default","NamedPorts":'
    b'[{"Name":"http","Port":8080,"Protocol":"TCP"},{"Name":"dns","Port":53,"Protocol":"UDP"}]}',
    "cilium/state/nodes/v1/cluster3/test-node-1": b'{"Name":"test-node-1","Cluster":"cluster3","IPAddresses":'
    b'[{"Type":"InternalIP","IP":"172.18.0.2"},{"Type":"InternalIP","IP":"fc00:c111::2"}],"IPv4AllocCIDR":'
    b'{"IP":"10.244.0.0","Mask":"////AA=="},"IPv4SecondaryAllocCIDRs":null,"IPv6AllocCIDR":null,'
    b'"IPv6SecondaryAllocCIDRs":null,"IPv4HealthIP":"10.244.0.134","IPv6HealthIP":"","IPv4IngressIP":"",'
    b'"IPv6IngressIP":"","ClusterID":3,"Source":"custom-resource","EncryptionKey":0,"Labels":{"kubernetes.io/hostname":'
    b'"test-node-1"},"Annotations":null,"WireguardPubKey":"","BootID":"570d3fd1-93db-4862-ba99-6a3c2c10c38f"}',
    "cilium/state/services/v1/cluster3/test/echo": b'{"cluster":"cluster3","namespace":"test","name":"echo",'
    b'"frontends":{"10.96.50.104":{"http":{"Protocol":"TCP","Port":80}}},"backends":{"10.244.1.1":{"http":{"Protocol":"TCP",'
    b'"Port":8080}}},"zones":{"10.244.1.1":{"zone":"zone1","forZones":[{"name":"zone1"}]}},"labels":{},"selector":'
    b'{"name":"echo"},"includeExternal":true,"shared":true,"clusterID":3}',
}
CANARIES = (
    "cilium/synced/cluster3/cilium/state/nodes/v1",
    "cilium/synced/cluster3/cilium/state/services/v1",
    "cilium/synced/cluster3/cilium/state/endpointslices/v1",
    "cilium/synced/cluster3/cilium/state/serviceexports/v1",
    "cilium/synced/cluster3/cilium/state/identities/v1",
    "cilium/synced/cluster3/cilium/state/ip/v1",
)
IP_CANARY = CANARIES[-1]
# what kvstoremesh makes of a key: the cluster comes in, in place of the address space of addresses
CACHED = {
    "cilium/state/identities/v1/id/": "cilium/cache/identities/v1/cluster3/id/",
    "cilium/state/ip/v1/default/": "cilium/cache/ip/v1/cluster3/",
    "cilium/state/": "cilium/cache/",
}
BEAT = "cilium/.heartbeat"
CONFIG_KEY = "cilium/cluster-config/cluster3"
IDENTITY = 3 << 16

_beats = itertools.count()


def cached(key: str) -> str:
    """Where kvstoremesh copies a key to."""
    for prefix, copy in CACHED.items():
        if key.startswith(prefix):
            return copy + key.removeprefix(prefix)
    return key


def ip_of(number: int) -> str:
    return f"10.3.{number >> 8 & 255}.{number & 255}"


def ip_entry(number: int, identity: int = IDENTITY) -> tuple[str, bytes]:
    ip = ip_of(number)
    row = Endpoint(EndpointKey(CLUSTER, ip), identity, "172.18.0.2", "default", f"pod-{number}")
    return f"{keys.IPS}/{ip}", ips.encode(row)


class Publisher:
    """Writes into one etcd; a context manager."""

    def __init__(self, etcd: LocalEtcd, *, canaries: bool = True, login: tuple[str, str] | None = None) -> None:
        self.etcd = etcd
        self.client: Client = etcd.client(login=login)
        self.lease = 0
        """What its keys hang on; 0: nothing, they stay."""
        self._canaries = canaries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def put(self, *entries: tuple[str, bytes]) -> None:
        for start in range(0, len(entries), 100):
            items = [(key.encode(), value) for key, value in entries[start : start + 100]]
            self.client.put_many(items, self.lease)

    def delete(self, *names: str) -> None:
        for name in names:
            self.client.delete(name.encode())

    def beat(self) -> None:
        self.put((BEAT, b"2026-08-17T10:15:%02dZ" % (next(_beats) % 60)))

    def configure(self, config: ClusterConfig | None = None) -> None:
        self.put((CONFIG_KEY, CONFIG if config is None else encode_config(config)))

    def sync(self) -> None:
        self.put(*[(canary, b"2026-08-17T10:15:04Z") for canary in CANARIES])

    def endpoints(self, numbers: Iterable[int], identity: int = IDENTITY) -> None:
        self.put(*[ip_entry(number, identity) for number in numbers])

    def publish(self, numbers: Iterable[int] = (), identity: int = IDENTITY) -> None:
        """All of a cluster with these endpoints, in the order of a publisher that starts."""
        self.beat()
        self.configure(None if self._canaries else ClusterConfig(3, max_connected_clusters=255))
        self.endpoints(numbers, identity)
        if self._canaries:
            self.sync()


@contextmanager
def beating(publisher: Publisher, every_s: float = 0.05) -> Iterator[None]:
    """The publisher lives: its heartbeat changes, by a client of its own."""
    over = threading.Event()
    etcd = publisher.etcd

    def beat() -> None:
        with Publisher(etcd) as living:
            living.lease = publisher.lease
            while not over.wait(every_s):
                try:
                    living.beat()
                except EtcdError:
                    continue

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


def token() -> str:
    """What makes an etcd another cluster than every one before; the UID of a pod in real life."""
    return f"--initial-cluster-token=pod-{next(_beats)}-{time.monotonic_ns()}"


def replica() -> LocalEtcd:
    """A server that knows nothing of any other; not yet started."""
    return LocalEtcd(arguments=[token()])


def options(**values: object) -> RemoteClustersOptions:
    short = {"retry_min_s": 0.02, "retry_max_s": 0.2, "request_timeout_s": 5.0, "rescan_s": 0.05, "renewal_s": 0.05}
    return RemoteClustersOptions(directory="unused", **{**short, **values})  # type: ignore[arg-type]


def servers(*endpoints: str) -> Servers:
    return Servers(endpoints=tuple(map(parse_endpoint, endpoints)), locked=True, timeout_s=5.0)


class Tables:
    """A database whose tables are waited for by watches, never by time."""

    def __init__(self) -> None:
        self.db = Database(*TABLES, Mirror)

    def until(self, holds: Callable[[Snapshot], bool], what: str = "") -> Snapshot:
        """The first snapshot that fulfils a condition."""
        end = time.monotonic() + WAIT_S
        while True:
            snapshot = self.db.snapshot()
            if holds(snapshot):
                return snapshot
            watches = [snapshot[table].watch() for table in (*TABLES, Mirror)]
            WatchSet(*watches).wait(timeout=max(0.0, end - time.monotonic()))
            if time.monotonic() > end:
                shown = [f"{r.key.table}: {r.state} {r.last_error!r} {r.rows}" for r in snapshot[Sources].values()]
                raise AssertionError(
                    f"{what or 'it'} did not come; sources: {shown}, {list(snapshot[Rejected].values())}"
                )

    def row(self, table: str = "endpoints", cluster: str = CLUSTER, snapshot: Snapshot | None = None) -> SourceRow:
        return (snapshot or self.db.snapshot())[Sources].get(SourceKey(cluster, table)) or SourceRow(
            SourceKey(cluster, table)
        )

    def synced(self, cluster: str = CLUSTER) -> Snapshot:
        def holds(s: Snapshot) -> bool:
            rows = [row for row in s[Sources].values() if row.key.cluster == cluster]
            return bool(rows) and all(row.state == "synced" for row in rows)

        return self.until(holds, f"{cluster} synced")

    def numbers(self, snapshot: Snapshot | None = None) -> set[int]:
        """The endpoints of the publisher, by number."""
        ips_there = {row.key.ip for row in (snapshot or self.db.snapshot())[Endpoints].values()}
        return {number for number in range(2000) if ip_of(number) in ips_there}


class Rig(Tables):
    """A running source of one remote cluster; a context manager."""

    def __init__(
        self,
        *endpoints: str,
        ids: ClusterIds | None = None,
        cluster: str = CLUSTER,
        through: Servers | None = None,
        mirror: bool = False,
        **values: object,
    ) -> None:
        super().__init__()
        self.ids = ids or ClusterIds(1)
        where = through or servers(*endpoints)
        self.source: ClusterSource = remote(self.db, cluster, where, options(**values), self.ids, mirror=mirror)

    def __enter__(self) -> Self:
        self.source.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.stop()
        assert self.source.join(10)
        assert self.source.failure is None
