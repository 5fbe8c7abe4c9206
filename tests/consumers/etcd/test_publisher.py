"""The tables of a cluster into a real etcd: the bytes of upstream, and in the end always what the tables say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from consumers.etcd.publisher import Publisher, PublisherOptions, open_publisher
from consumers.etcd.publisher.layout import TABLES as NEEDED, Layout, published
from ingest import ManifestsOptions
from ingest.etcd import Client, parse_endpoint
from ingest.etcd.local import LocalEtcd
from ingest.manifests import open as open_manifests
from statedb import Database
from statedb.catalog import (
    TABLES,
    Backend,
    Backends,
    Endpoint,
    EndpointKey,
    Endpoints,
    EndpointSlices,
    Identities,
    Identity,
    IdentityKey,
    Namespace,
    NamespaceKey,
    Namespaces,
    Nodes,
    Service,
    Services,
    SourceKey,
    SourceRow,
)
from statedb.catalog.namespaces import GLOBAL
from statedb.catalog.wire import cluster_configs, endpoint_slices, keys

from ...ingest.clustermesh.publisher import CANARIES, CONFIG, CONFIG_KEY, Rig, replica
from ...statedb.catalog import test_endpoint_slices, test_identities, test_ips, test_nodes, test_services
from ...waiting import WAIT_S, eventually
from ..tables.clusters import backends, endpoints, identities, nodes, services
from .etcds import held

CLUSTER = "cluster3"
BOTH = "services-and-endpointslices"
DATA = (Nodes, Identities, Endpoints, Services, Backends)
SLICE = {
    **test_services.SLICE,
    "endpoints": [
        {
            "addresses": ["10.244.1.1"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "nodeport-worker",
            "zone": "zone1",
            "hints": {"forZones": [{"name": "zone1"}]},
        },
        {
            "addresses": ["10.244.1.2"],
            "conditions": {"ready": False, "serving": False, "terminating": False},
            "nodeName": "nodeport-worker",
        },
    ],
}
NAMESPACES = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("foo", "bar", "test", "default")
]


@pytest.fixture(scope="module")
def etcd() -> Iterator[LocalEtcd]:
    with replica() as server:
        server.start()
        yield server


@pytest.fixture
def own_etcd() -> Iterator[LocalEtcd]:
    with replica() as server:
        server.start()
        yield server


class Publishing:
    """Tables that are written by hand or by a source, and a publisher of them; a context manager."""

    def __init__(self, etcd: LocalEtcd, *more: Any, cluster: str = CLUSTER, cluster_id: int = 3, **values: Any) -> None:
        self.db = Database(*TABLES, *more)
        self.endpoint = parse_endpoint(etcd.endpoint)
        self.clients: list[Client] = []
        short = {"heartbeat_s": 0.2, "retry_min_s": 0.02, "retry_max_s": 0.1}
        self.options = PublisherOptions(**(short | values))  # type: ignore[arg-type]
        self.layout = Layout(cluster, cluster_id, self.options, copies=EndpointSlices in self.db.tables)
        self.cluster, self.cluster_id = cluster, cluster_id
        self.publisher = self.make()

    def make(self) -> Publisher:
        return open_publisher(self.db, self.cluster, self.cluster_id, self.connect, self.options)

    def connect(self) -> Client:
        self.clients.append(Client(self.endpoint, timeout_s=5.0))
        return self.clients[-1]

    def __enter__(self) -> Self:
        self.publisher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.publisher.stop()
        assert self.publisher.join(10)
        assert self.publisher.crash is None

    def restart(self) -> None:
        self.__exit__()
        self.publisher = self.make()
        self.publisher.start()

    def put(self, *rows: Any) -> None:
        with self.db.write(*TABLES) as txn:
            for row in rows:
                next(txn[table] for table in TABLES if table.row_type is type(row)).insert(row)

    def wanted(self) -> dict[str, bytes]:
        """What should stand there, but for the times in it."""
        its = published(self.db.snapshot(), self.layout) | {self.layout.config_key: self.layout.config()}
        return its | dict.fromkeys((*self.layout.canaries, keys.HEARTBEAT), b"")

    def is_written(self, etcd: LocalEtcd) -> bool:
        timed = (*self.layout.canaries, keys.HEARTBEAT)
        return {key: b"" if key in timed else value for key, value in held(etcd).items()} == self.wanted()


def row(number: int, identity: int = 196_700) -> Endpoint:
    ip = f"10.3.{number >> 8}.{number & 255}"
    return Endpoint(EndpointKey(CLUSTER, ip), identity, "172.18.0.2", "default", f"pod-{number}")


DEFAULT = Namespace(NamespaceKey(CLUSTER, "default"))


def test_the_bytes_of_upstream(own_etcd: LocalEtcd, tmp_path: Path):
    """A.4, A.6 to A.9, B.1 and B.2: objects of Kubernetes in, the literals out, and back into equal rows."""
    objects = [
        test_nodes.OBJECT,
        test_identities.OBJECT,
        test_ips.CEP,
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumEndpoint",
            "metadata": {"name": "cep-001", "namespace": "foo"},
            "status": {
                "identity": {"id": 199472},
                "networking": {"addressing": [{"ipv4": "10.244.1.79"}], "node": "172.18.0.3"},
                "service-account": "default",
            },
        },
        test_services.SERVICE,
        SLICE,
        *NAMESPACES,
    ]
    for number, each in enumerate(objects):
        (tmp_path / f"{number}.json").write_text(json.dumps(each))
    publishing = Publishing(own_etcd, EndpointSlices, export=BOTH)
    source = open_manifests(publishing.db, CLUSTER, 3, ManifestsOptions(directory=str(tmp_path)))
    source.start()
    try:
        with publishing:
            assert publishing.publisher.wait_ready(WAIT_S)
            there = held(own_etcd)
            assert there["cilium/state/identities/v1/id/196915"] == test_identities.VALUE
            assert there["cilium/state/nodes/v1/cluster3/test-node-1"] == test_nodes.VALUE
            assert there["cilium/state/services/v1/cluster3/test/echo"] == test_services.VALUE
            assert there["cilium/state/ip/v1/default/10.244.1.79"] == test_ips.with_null_mask(test_ips.V4)
            assert there["cilium/state/ip/v1/default/fd00:10:244:2::e024"] == test_ips.with_null_mask(test_ips.V6)
            slice_value = there["cilium/state/endpointslices/v1/cluster3/test/echo-kvlm2"]
            message = endpoint_slices.write(endpoint_slices.read(slice_value))
            assert message.hex() == test_endpoint_slices.HEX[test_endpoint_slices.ECHO]
            assert there[CONFIG_KEY] == CONFIG
            assert set(CANARIES) <= there.keys()
            assert len(there) == 7 + 2 + len(CANARIES)  # and no key more: config, heartbeat, canaries
            with Rig(own_etcd.endpoint) as reader:
                snapshot, ours = reader.synced(), publishing.db.snapshot()
                assert dict(snapshot[Nodes].items()) == dict(ours[Nodes].items())
                assert dict(snapshot[Identities].items()) == dict(ours[Identities].items())
                assert dict(snapshot[Endpoints].items()) == dict(ours[Endpoints].items())
                assert dict(snapshot[Services].items()) == dict(ours[Services].items())
                serving = [key for key, each in ours[Backends].items() if each.ready or each.serving]
                assert list(snapshot[Backends]) == serving
    finally:
        source.stop()
        assert source.join(10)


def test_nothing_is_written_before_the_tables_are_complete(own_etcd: LocalEtcd):
    publishing = Publishing(own_etcd)
    with publishing.db.write(Nodes) as txn:
        pending = txn[Nodes].begin_initializer("test")
    with publishing:
        publishing.put(DEFAULT, row(1))
        eventually(lambda: "nodes" in publishing.publisher.health, "its word")
        assert publishing.publisher.health == "waiting until initialized: nodes"
        assert held(own_etcd) == {}
        assert not publishing.publisher.ready
        with publishing.db.write(Nodes) as txn:
            txn[Nodes].finish_initializer(pending)
        assert publishing.publisher.wait_ready(WAIT_S)
        assert publishing.is_written(own_etcd)


def test_an_etcd_that_is_replaced_by_an_empty_one_is_filled_and_its_canaries_come_last(own_etcd: LocalEtcd):
    with Publishing(own_etcd, batch_keys_max=10) as publishing:
        publishing.put(DEFAULT, *map(row, range(200)))
        eventually(lambda: publishing.is_written(own_etcd))
        own_etcd.kill()
        own_etcd.forget()
        own_etcd.start()
        eventually(lambda: publishing.is_written(own_etcd))
        with own_etcd.client() as client:
            made = {kv.key.decode(): kv.create_revision for page in client.list(b"cilium/") for kv in page.kvs}
        first = min(made[canary] for canary in publishing.layout.canaries)
        assert all(revision < first for key, revision in made.items() if key.startswith("cilium/state/"))


def test_leases_hold_so_many_keys_and_what_goes_with_a_lost_one_comes_back(own_etcd: LocalEtcd):
    with Publishing(own_etcd, lease_keys_max=10, lease_time_s=1.0) as publishing:
        publishing.put(DEFAULT, *map(row, range(30)))
        eventually(lambda: publishing.is_written(own_etcd))
        with own_etcd.client() as client:
            of = [kv.lease for page in client.list(b"cilium/") for kv in page.kvs]
            assert 0 not in of
            assert max(of.count(lease) for lease in of) <= 10
            client.revoke(of[0])
        assert not publishing.is_written(own_etcd)
        eventually(lambda: publishing.is_written(own_etcd))


def test_what_the_cluster_says_of_itself_is_put_right_at_once(own_etcd: LocalEtcd):
    with Publishing(own_etcd) as publishing:
        assert publishing.publisher.wait_ready(WAIT_S)
        with own_etcd.client() as client:
            client.put(CONFIG_KEY.encode(), b"{}")
            eventually(lambda: held(own_etcd).get(CONFIG_KEY) == publishing.layout.config())
            client.delete(CONFIG_KEY.encode())
        eventually(lambda: held(own_etcd).get(CONFIG_KEY) == publishing.layout.config())


def test_what_an_earlier_process_left_goes_when_the_sources_can_be_believed(own_etcd: LocalEtcd):
    stale = f"{keys.IPS}/10.3.9.9"
    elsewhere = "cilium/state/nodes/v1/cluster9/n"
    with own_etcd.client() as client:
        client.put(stale.encode(), b"{}")
        client.put(elsewhere.encode(), b"{}")
    publishing = Publishing(own_etcd)
    publishing.put(DEFAULT, row(1), SourceRow(SourceKey(CLUSTER, "endpoints"), "test", "stale"))
    with publishing:
        assert publishing.publisher.wait_ready(WAIT_S)
        assert {stale, elsewhere} <= held(own_etcd).keys()
        publishing.put(SourceRow(SourceKey(CLUSTER, "endpoints"), "test", "synced"))
        eventually(lambda: stale not in held(own_etcd))
        assert elsewhere in held(own_etcd)


def test_a_namespace_that_is_not_global_takes_its_keys_with_it(own_etcd: LocalEtcd):
    with Publishing(own_etcd) as publishing:
        publishing.put(DEFAULT, row(1))
        eventually(lambda: publishing.is_written(own_etcd) and published(publishing.db.snapshot(), publishing.layout))
        publishing.put(Namespace(NamespaceKey(CLUSTER, "default"), annotations=((GLOBAL, "false"),)))
        eventually(lambda: not any(key.startswith(keys.IPS) for key in held(own_etcd)))


def test_the_rate_limit_holds(own_etcd: LocalEtcd):
    publishing = Publishing(own_etcd, writes_per_s=100.0)
    publishing.put(DEFAULT, *map(row, range(100)))
    begun = time.monotonic()
    with publishing:
        assert publishing.publisher.wait_ready(WAIT_S)
        assert time.monotonic() - begun > 0.8
        assert publishing.is_written(own_etcd)


def test_it_ends_while_nobody_answers():
    db = Database(*TABLES)
    tried = threading.Event()

    def connect() -> Any:
        tried.set()
        raise OSError("nobody is there")

    it = open_publisher(db, CLUSTER, 3, connect)
    it.start()
    assert tried.wait(WAIT_S)
    eventually(lambda: "nobody is there" in it.health)
    it.stop()
    assert it.join(10)
    assert it.health == "stopped"


@pytest.mark.parametrize(
    ("said", "is_seen"), [("true", True), ("TRUE", True), (" true ", False), ("1", False), ("", False)]
)
def test_the_annotation_of_a_namespace_is_read_exactly(said: str, is_seen: bool):
    db = Database(*NEEDED)
    with db.write(Endpoints, Namespaces) as txn:
        txn[Endpoints].insert(Endpoint(EndpointKey("c1", "10.0.0.1"), namespace="shop"))
        txn[Namespaces].insert(Namespace(NamespaceKey("c1", "shop"), annotations=((GLOBAL, said),)))
    layout = Layout("c1", 1, PublisherOptions(default_global_namespace=True))
    assert bool(published(db.snapshot(), layout)) is is_seen


def test_an_identity_or_a_pod_without_a_namespace_is_not_seen_but_a_nodes_address_is():
    """Cilium's clustermesh-apiserver leaves such identities and pods out; nodes have addresses in no namespace."""
    db = Database(*TABLES)
    known = Identity(IdentityKey("c1", 70_000), ("k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop"), "shop")
    with db.write(Namespaces, Identities, Endpoints) as txn:
        txn[Namespaces].insert(Namespace(NamespaceKey("c1", "shop")))
        txn[Identities].insert_all([known, Identity(IdentityKey("c1", 70_001), ("k8s:app=web",))])
        txn[Endpoints].insert(Endpoint(EndpointKey("c1", "10.0.0.1"), identity=4))
        txn[Endpoints].insert(Endpoint(EndpointKey("c1", "10.0.0.2"), identity=70_000, pod="in-no-namespace"))
    found = published(db.snapshot(), Layout("c1", 1, PublisherOptions()))
    assert set(found) == {"cilium/state/identities/v1/id/70000", "cilium/state/ip/v1/default/10.0.0.1"}


def test_a_form_that_is_not_announced_has_no_canary_and_an_old_one_is_ours_to_delete():
    """As seen of the real clustermesh-apiserver with endpoint slices only."""
    canary = keys.synced("c1", keys.SERVICES)
    layout = Layout("c1", 1, PublisherOptions(export="endpointslices-only"))
    assert canary not in layout.canaries
    assert len(layout.canaries) == len(Layout("c1", 1, PublisherOptions()).canaries) - 1
    assert layout.is_own(canary)


def test_services_and_slices_are_announced_unless_told_otherwise():
    config = cluster_configs.decode(Layout("c1", 1, PublisherOptions()).config())
    assert config.endpoint_slices == cluster_configs.BOTH


namespaces = st.builds(
    Namespace,
    st.builds(NamespaceKey, st.just("c1"), st.just("default")),
    annotations=st.sampled_from([(), ((GLOBAL, "true"),), ((GLOBAL, "false"),), ((GLOBAL, " true "),)]),
)


def ours(value: Any) -> Any:
    """A row of the cluster that is published, which its form can say: a name is one port of an address."""
    value = msgspec.structs.replace(value, key=msgspec.structs.replace(value.key, cluster="c1"))
    if isinstance(value, Backend):
        return msgspec.structs.replace(value, port_names=(f"port-{value.key.port}",))
    if isinstance(value, Service):
        one_each = {(each.ip, each.port_name): each for each in value.frontends}
        return msgspec.structs.replace(value, frontends=tuple(sorted(one_each.values())))
    return msgspec.structs.replace(value, namespace="default") if hasattr(value, "namespace") else value


def others(value: Any) -> Any:
    """A row of a cluster that is not."""
    return msgspec.structs.replace(value, key=msgspec.structs.replace(value.key, cluster="c2"))


rows = nodes | identities | endpoints | services | backends
put = st.tuples(st.just("put"), rows.map(ours) | rows.map(ours) | rows.map(others) | namespaces)
delete = st.tuples(st.just("delete"), st.sampled_from(NEEDED), st.integers(0, 2))
settle = st.just(("settle",))
steps = st.one_of(put, put, delete, settle, st.tuples(st.sampled_from(["restart", "cut", "lose"])))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    history=st.lists(steps, min_size=10, max_size=40),
    export=st.sampled_from(["services", BOTH, "endpointslices-only"]),
    limit=st.sampled_from([None, 2000.0]),
)
def test_after_any_history_there_stands_what_the_tables_say(
    etcd: LocalEtcd, history: list[tuple[Any, ...]], export: str, limit: float | None
):
    with etcd.client() as client:
        client.delete_prefix(b"")
    with Publishing(
        etcd,
        cluster="c1",
        cluster_id=1,
        export=export,
        writes_per_s=limit,
        batch_keys_max=3,
        lease_keys_max=4,
        lease_time_s=1.0,
    ) as publishing:
        publishing.put(Namespace(NamespaceKey("c1", "default")))
        for what, *arguments in history:
            match what, arguments:
                case "put", [value]:
                    publishing.put(value)
                case "delete", [table, place]:
                    with publishing.db.write(table) as txn:
                        for key in list(txn[table])[place : place + 1]:
                            txn[table].delete(key)
                case "restart", _:
                    publishing.restart()
                case "cut", _:
                    for each in publishing.clients[-1:]:
                        each.close()
                case "lose", _:
                    with etcd.client() as client:
                        for lease in {kv.lease for page in client.list(b"cilium/") for kv in page.kvs} - {0}:
                            client.revoke(lease)
                case _:
                    eventually(lambda: publishing.is_written(etcd), publishing.publisher.health)
        eventually(lambda: publishing.is_written(etcd), publishing.publisher.health)
