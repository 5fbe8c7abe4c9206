"""Sites whose truth stands in real etcds: the KVStore, and replicas in ClusterMesh layout."""

from __future__ import annotations

import itertools
import time
from typing import Any, ClassVar

import msgspec

from ingest import ClusterMeshOptions, KvstoreOptions, Source
from ingest.clustermesh import open as open_clustermesh
from ingest.etcd import Client, Unavailable
from ingest.etcd.local import LocalEtcd
from ingest.fanout import FanoutOptions, open as open_fanout
from ingest.keyspace.options import ServiceResolverOptions
from ingest.kubernetes.options import ApiServerOptions
from ingest.kvstore import open as open_kvstore
from statedb.catalog import Endpoint, EndpointKey, Endpoints
from statedb.catalog.wire import ips, published
from statedb.catalog.wire.cluster_configs import ClusterConfig, encode

from ..ingest.clustermesh.publisher import CANARIES, token
from ..ingest.etcd.test_security import etcdctl
from ..ingest.kube_fake import FakeApi
from ..ingest.kvstore_rig import CLUSTER, HEARTBEAT, ip_key
from ..tcp_proxy import TcpProxy
from .site import Site

_ROOT = ("root", "root")
_NAME = "etcd.kube-system.svc"
_PAGE = 100

_beats = itertools.count()


class EtcdSite(Site):
    """Its servers are etcds, each with all of the truth."""

    refusal: ClassVar[str] = "invalid user ID or password"
    prefix: ClassVar[str] = "cilium/"
    """Below it stands what the reader may read."""
    heartbeat: ClassVar[bytes] = HEARTBEAT

    def quick(self) -> dict[str, Any]:
        return {
            "retry_min_s": 0.02,
            "retry_max_s": 0.2,
            "request_timeout_s": 3.0,
            "keepalive_s": 5.0,
            "keepalive_timeout_s": 1.0,
        }

    def build(self, replicas: int, by_name: bool) -> None:
        self.servers: list[LocalEtcd] = []
        self._guarded = False
        self._other: LocalEtcd | None = None
        self._api: FakeApi | None = None
        self.dead: set[LocalEtcd] = set()
        """Those whose writer has died."""
        self._leases: dict[LocalEtcd, int] = {}
        for _ in range(replicas):
            self.add_server()
        if by_name:
            self._api = self.resources.enter_context(FakeApi())
            self._api.put(_service())
            self._api.put(_slice(self.proxies[0].port))
            resolver = ServiceResolverOptions(kubernetes=ApiServerOptions(server=self._api.url))
            self.options |= {"endpoints": (f"http://{_NAME}:2379",), "service_resolver": resolver}

    def add_server(self) -> LocalEtcd:
        """One more, empty, with a proxy before it."""
        server = self.resources.enter_context(LocalEtcd(arguments=[token()]))
        server.start()
        self.servers.append(server)
        self.proxies.append(self.resources.enter_context(TcpProxy(server.endpoint)))
        self.prepare(server)
        return server

    def other(self) -> LocalEtcd:
        """Another etcd, in whose content nobody has a hand any more: ahead of the first one, with few keys."""
        if self._other is None:
            self._other = self.resources.enter_context(LocalEtcd(arguments=[token()]))
            self._other.start()
            self.prepare(self._other)
            self.store_in(self._other, {ip: self.truth[ip] for ip in sorted(self.truth)[-5:]})
        with self.client(self.servers[0]) as client:
            ahead_of = client.put(b"elsewhere", b"").revision
        with self._other.client() as client:
            while client.put(b"elsewhere", b"").revision < ahead_of + 100:
                pass
        return self._other

    def endpoints(self) -> tuple[str, ...]:
        """Where the reader asks."""
        return tuple(proxy.endpoint for proxy in self.proxies)

    def beside(self) -> list[tuple[bytes, bytes]]:
        """What its writer puts beside the endpoints, in this order."""
        raise NotImplementedError

    def prepare(self, server: LocalEtcd) -> None:
        """Put into a server what stands there before any endpoint."""
        with self.client(server) as client:
            for key, value in self.beside():
                client.put(key, value)

    def lend(self, server: LocalEtcd) -> None:
        """All that stands in a server hangs on one lease from now on, which its writer would renew."""
        with self.client(server) as client:
            self._leases[server] = lease = client.grant(600)
            first, *rest = self.beside()
            client.put(*first, lease)
            put = [(self.key(ip), self.value(_endpoint(ip, identity))) for ip, identity in self.truth.items()]
            client.put_many([*put, *rest], lease)

    def end_leases(self) -> None:
        """Nobody has renewed them: all goes that hung on them."""
        for server, lease in self._leases.items():
            with self.client(server) as client:
                client.revoke(lease)
        self._leases.clear()

    def key(self, ip: str) -> bytes:
        """Where an endpoint stands."""
        return ip_key(ip)

    def value(self, endpoint: Endpoint) -> bytes:
        """How it is written there."""
        return ips.encode(endpoint)

    def client(self, server: LocalEtcd) -> Client:
        """As one who may write."""
        return server.client(login=_ROOT if self._guarded else None)

    def store(self, changes: dict[str, int | None]) -> None:
        for server in self.living():
            if server.is_running:
                self.store_in(server, changes)

    def living(self) -> list[LocalEtcd]:
        """The servers whose writer lives."""
        return [server for server in self.servers if server not in self.dead]

    def store_in(self, server: LocalEtcd, changes: dict[str, int | None]) -> None:
        """Into one of them; once more where a connection to it as it was before a restart breaks only now."""
        try:
            self._store_in(server, changes)
        except Unavailable:
            self._store_in(server, changes)

    def _store_in(self, server: LocalEtcd, changes: dict[str, int | None]) -> None:
        with self.client(server) as client:
            for ip in [ip for ip, identity in changes.items() if identity is None]:
                client.delete(self.key(ip))
            put = [
                (self.key(ip), self.value(_endpoint(ip, identity)))
                for ip, identity in changes.items()
                if identity is not None
            ]
            for start in range(0, len(put), _PAGE):
                client.put_many(put[start : start + _PAGE])

    def kill(self) -> None:
        for server in self.servers:
            server.stop()  # in good order: 3.5.1 may lose a transaction that it has confirmed when it is killed

    def start(self) -> None:
        for server in self.servers:
            server.start()

    def empty(self, *, other: bool = False) -> None:
        for server in self.servers:
            self.empty_one(server, other=other)

    def empty_one(self, server: LocalEtcd, *, other: bool) -> None:
        """One of them."""
        server.kill()
        server.forget()
        if other:
            server.add_arguments(token())
        server.start()

    def refill(self) -> None:
        for server in self.servers:
            self.refill_one(server)

    def refill_one(self, server: LocalEtcd) -> None:
        """One of them."""
        self.store_in(server, dict(self.truth))
        self.prepare(server)

    def compact(self) -> None:
        for server in self.servers:
            with self.client(server) as client:
                client.compact(client.put(b"elsewhere", b"").revision)

    def beat(self) -> None:
        for server in self.living():
            if server.is_running:
                with self.client(server) as client:
                    client.put(*_beat(self.heartbeat))

    def guard(self) -> None:
        (server,) = self.servers
        self._password = self.directory / "password"
        self._password.write_text("first")
        etcdctl(server, "user", "add", "root", "--new-user-password=root")
        etcdctl(server, "user", "grant-role", "root", "root")
        etcdctl(server, "user", "add", "agent", "--new-user-password=first")
        etcdctl(server, "role", "add", "reader")
        etcdctl(server, "role", "grant-permission", "reader", "--prefix=true", "read", self.prefix)
        etcdctl(server, "user", "grant-role", "agent", "reader")
        etcdctl(server, "auth", "enable")
        self._guarded = True
        self.options |= {"username": "agent", "password_file": str(self._password)}

    def expire(self) -> None:
        (server,) = self.servers
        root = "--user=root:root"
        etcdctl(server, root, "user", "delete", "agent")
        etcdctl(server, root, "user", "add", "agent", "--new-user-password=second")
        etcdctl(server, root, "user", "grant-role", "agent", "reader")
        self.cut()  # a watch that stands is not asked again
        self.mend()

    def renew(self) -> None:
        self._password.write_text("second")

    def move(self) -> None:
        assert self._api is not None
        (server,), (old,) = self.servers, self.proxies
        new = self.resources.enter_context(TcpProxy(server.endpoint))
        old.cut()
        self._api.put(_slice(new.port))
        self.proxies.append(new)

    def mend(self) -> None:
        for proxy in self.proxies[-len(self.servers) :]:  # a server that has moved is not mended where it was
            proxy.mend()


class KvstoreSite(EtcdSite):
    """One etcd in KVStore layout."""

    backend: ClassVar[str] = "kvstore"
    doubt: ClassVar[str] = "withholding"

    def quick(self) -> dict[str, Any]:
        return {**super().quick(), "lease_time_s": 1.0}

    def beside(self) -> list[tuple[bytes, bytes]]:
        return [_beat(self.heartbeat)]

    def open(self) -> Source:
        return open_kvstore(self.db, CLUSTER, 1, KvstoreOptions(**{"endpoints": self.endpoints(), **self.options}))

    def refill_one(self, server: LocalEtcd) -> None:
        self.store_in(server, dict(self.truth))

    def vouch(self) -> str:
        self.beat()
        return "one lease time after the heartbeat"


class MeshSite(EtcdSite):
    """Replicas in ClusterMesh layout that know nothing of each other."""

    backend: ClassVar[str] = "clustermesh"
    doubt: ClassVar[str] = "waiting for cilium/cluster-config"

    def beside(self) -> list[tuple[bytes, bytes]]:
        config = f"cilium/cluster-config/{CLUSTER}".encode(), encode(ClusterConfig(1, True))
        canaries = [(each.replace("cluster3", CLUSTER).encode(), b"now") for each in CANARIES]
        return [_beat(self.heartbeat), config, *canaries]

    def open(self) -> Source:
        options = ClusterMeshOptions(**{"endpoints": self.endpoints(), **self.options})
        return open_clustermesh(self.db, CLUSTER, 1, options)

    def vouch(self) -> str:
        return "by the canaries, which come last"


class FanoutSite(EtcdSite):
    """One etcd to which another agent publishes the table."""

    backend: ClassVar[str] = "etcd"
    doubt: ClassVar[str] = "waiting for tables/.synced/endpoints"
    prefix: ClassVar[str] = published.PREFIX
    heartbeat: ClassVar[bytes] = published.heartbeat(published.PREFIX, Endpoints.name).encode()

    def key(self, ip: str) -> bytes:
        return f"{published.folder(self.prefix, Endpoints.name)}{CLUSTER}/{ip}".encode()

    def value(self, endpoint: Endpoint) -> bytes:
        return msgspec.json.encode(endpoint)

    def beside(self) -> list[tuple[bytes, bytes]]:
        return [_beat(self.heartbeat), (published.canary(self.prefix, Endpoints.name).encode(), b"now")]

    def open(self) -> Source:
        chosen = {"endpoints": self.endpoints(), "tables": (Endpoints.name,), **self.options}
        return open_fanout(self.db, CLUSTER, 1, FanoutOptions(**chosen))

    def vouch(self) -> str:
        return "by the canary, which comes last"


def _beat(heartbeat: bytes) -> tuple[bytes, bytes]:
    """A heartbeat that differs from all others."""
    return heartbeat, f"beat-{next(_beats)}-{time.time_ns()}".encode()


def _endpoint(ip: str, identity: int) -> Endpoint:
    return Endpoint(EndpointKey(CLUSTER, ip), identity, "172.18.0.2", "default", f"pod-{ip}")


def _service() -> dict[str, Any]:
    return {
        "kind": "Service",
        "metadata": {"namespace": "kube-system", "name": "etcd"},
        "spec": {"clusterIP": "10.96.255.254", "ports": [{"name": "etcd", "port": 2379, "protocol": "TCP"}]},
    }


def _slice(port: int) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": "kube-system",
            "name": "etcd-1",
            "labels": {"kubernetes.io/service-name": "etcd"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "etcd", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
    }
