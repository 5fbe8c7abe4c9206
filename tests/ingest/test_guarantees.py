"""The named guarantees of ingest, each as a test of its name, on real sources. Interchange is in conformance."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings, strategies as st

from ingest import ManifestsOptions
from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd
from ingest.manifests import open as open_manifests
from statedb import Database
from statedb.catalog import TABLES, Endpoint, EndpointKey, Endpoints, Identities, Nodes, Sources

from ..tcp_proxy import TcpProxy
from .kvstore_rig import CLUSTER, HEARTBEAT, Deletions, Rig, endpoints_in, ip_key, ip_of, put_endpoint, put_endpoints

REMOTE = Endpoint(EndpointKey("another-cluster", "10.9.9.9"), 1234)


def test_ingest_owned(etcd: LocalEtcd, client: Client):
    """A source removes only its own rows."""
    with Rig(etcd.endpoint) as rig:
        with rig.db.write(Endpoints) as txn:
            txn[Endpoints].insert(REMOTE)
        rig.synced()
        put_endpoints(client, range(10))
        rig.until(lambda s: len(s[Endpoints]) == 11)
        client.delete_prefix(b"cilium/")
        snapshot = rig.until(lambda s: len(s[Endpoints]) == 1)
        assert list(snapshot[Endpoints].values()) == [REMOTE]


def test_ingest_quiet(etcd: LocalEtcd, client: Client):
    """Equal rows wake nobody, neither in events nor in lists."""
    put_endpoints(client, range(10))
    with TcpProxy(etcd.endpoint) as proxy, Rig(proxy.endpoint) as rig:
        snapshot = rig.synced()
        endpoints = snapshot[Endpoints]
        watch = endpoints.watch()
        put_endpoints(client, range(10))
        client.put(b"cilium/state/nodes/v1/cluster1/n", b"{}")  # something else, to see that all of it has come
        proxy.cut()
        rig.until(lambda s: rig.state(s) == "stale")
        for _ in range(3):
            client.put(b"elsewhere", b"")
        client.compact(client.get(HEARTBEAT).header.revision)
        proxy.mend()
        rig.until(lambda s: rig.state(s) == "synced" and rig.row(s).relists == 2)
        assert not watch.tripped
        assert rig.db.snapshot()[Endpoints].revision == endpoints.revision


steps = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 15), st.sampled_from([70_000, 70_001])),
    st.tuples(st.just("delete"), st.integers(0, 15), st.just(0)),
    st.tuples(st.just("bad"), st.integers(0, 15), st.just(0)),
    st.tuples(st.sampled_from(["cut", "mend", "compact"]), st.just(0), st.just(0)),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(steps, max_size=30))
def test_ingest_converging(etcd: LocalEtcd, history: list[tuple[str, int, int]]):
    """After any outage the table equals the source."""
    with etcd.client() as client:
        client.delete_prefix(b"")
        client.put(HEARTBEAT, b"now")
        good: dict[str, int] = {}
        with TcpProxy(etcd.endpoint) as proxy, Rig(proxy.endpoint, lease_time_s=0.0) as rig:
            for step, number, identity in history:
                ip = ip_of(number)
                if step == "put":
                    put_endpoint(client, ip, identity)
                    good[ip] = identity
                elif step == "delete":
                    client.delete(ip_key(ip))
                    good.pop(ip, None)
                elif step == "bad" and ip not in good:
                    client.put(ip_key(ip), b"bad")
                elif step == "cut":
                    proxy.cut()
                elif step == "mend":
                    proxy.mend()
                elif step == "compact":
                    client.compact(client.put(b"elsewhere", b"").revision)
            proxy.mend()
            rig.until(lambda s: rig.endpoints(s) == good and rig.state(s) == "synced", f"{good}")
            rig.db.check()


def test_ingest_no_false_deletes(own_etcd: LocalEtcd):
    """An outage, a restart or an empty replacement never takes a row away."""
    with own_etcd.client() as client:
        put_endpoints(client, range(50))
    with Rig(own_etcd.endpoint) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        for number in range(3):
            own_etcd.kill()
            if number == 2:
                own_etcd.forget()
            own_etcd.start()
            with own_etcd.client() as client:
                put_endpoint(client, ip_of(100 + number))
            rig.until(lambda s, number=number: EndpointKey(CLUSTER, ip_of(100 + number)) in s[Endpoints])
        assert deletions.now() == set()
        with own_etcd.client() as client:
            assert endpoints_in(client).keys() == {ip_of(102)}
        assert len(rig.db.snapshot()[Endpoints]) == 53


def test_ingest_initialized(own_etcd: LocalEtcd):
    """A table is initialized after the first full list, and never before."""
    with own_etcd.client() as client:
        put_endpoints(client, range(2000))
    own_etcd.stop()  # and no kill: etcd 3.5.0 to 3.5.2 may lose a transaction by that (etcd-io/etcd 13766)
    with Rig(own_etcd.endpoint, page_limit=100) as rig, rig.db.changes(Endpoints) as stream:
        seen = []
        own_etcd.start()
        for batch in stream:
            seen.append((len(batch.snapshot[Endpoints]), batch.initialized))
            if batch.initialized:
                break
        assert seen[-1] == (2000, True)
        assert all(not initialized for _, initialized in seen[:-1])


def test_ingest_initialized_by_manifests(tmp_path: Path):
    """The same of a directory: one that is not there initializes nothing."""
    directory = tmp_path / "later"
    db = Database(*TABLES)
    source = open_manifests(db, CLUSTER, 1, ManifestsOptions(directory=str(directory), rescan_s=0.02))
    source.start()
    try:
        watch = db.snapshot()[Sources].watch()
        while not any(row.last_error for row in db.snapshot()[Sources].values()):
            assert watch.wait(20)
            watch = db.snapshot()[Sources].watch()
        assert not db.snapshot()[Nodes].initialized
        directory.mkdir()
        identity = {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumIdentity",
            "metadata": {"name": "70000"},
            "security-labels": {"k8s:app": "web"},
        }
        (directory / ".a").write_text(json.dumps(identity))
        (directory / ".a").rename(directory / "a.json")
        assert db.wait_initialized(Nodes, Identities, timeout=20)
    finally:
        source.stop()
        assert source.join(10)
