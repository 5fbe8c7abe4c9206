"""The kvstore backend on a real etcd: lists, watches, bad values, compaction, several endpoints, credentials."""

import threading
from pathlib import Path

import pytest

from ingest import InvalidOptions, KvstoreOptions, OwnedElsewhere, TlsOptions
from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd, free_port
from ingest.kvstore import open as open_kvstore
from statedb import Database
from statedb.catalog import TABLES, Backends, Endpoints, Identities, Nodes, Rejected, Services
from statedb.catalog.wire import identities, keys, nodes, services

from ...tcp_proxy import TcpProxy
from ..kvstore_rig import CLUSTER, Rig, endpoints_in, ip_key, ip_of, put_endpoint, put_endpoints

NODE = b'{"Name":"n1","Cluster":"cluster1","IPAddresses":[{"Type":"InternalIP","IP":"172.18.0.2"}],"ClusterID":1}'
SERVICE = (
    b'{"cluster":"cluster1","namespace":"shop","name":"web","frontends":{"10.96.0.1":{"http":{"Protocol":"TCP",'
    b'"Port":80}}},"backends":{"10.0.0.1":{"http":{"Protocol":"TCP","Port":8080}},"10.0.0.2":{"http":{"Protocol":'
    b'"TCP","Port":8080}}},"labels":{},"selector":{},"includeExternal":true,"shared":true,"clusterID":1}'
)
SMALLER = SERVICE.replace(b',"10.0.0.2":{"http":{"Protocol":"TCP","Port":8080}}', b"")


def put_one_of_each(client: Client) -> None:
    client.put(f"{keys.NODES}/cluster1/n1".encode(), NODE)
    client.put(f"{keys.IDENTITIES}/70000".encode(), b"k8s:app=web;k8s:io.kubernetes.pod.namespace=shop;")
    client.put(f"{keys.SERVICES}/cluster1/shop/web".encode(), SERVICE)
    put_endpoint(client, "10.0.0.1")


def test_every_kind_of_key_fills_its_table(etcd: LocalEtcd, client: Client):
    put_one_of_each(client)
    with Rig(etcd.endpoint) as rig:
        snapshot = rig.synced()
        assert [row.key.name for row in snapshot[Nodes].values()] == ["n1"]
        assert [row.labels for row in snapshot[Identities].values()] == [
            ("k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop")
        ]
        assert [row.key.name for row in snapshot[Services].values()] == ["web"]
        assert [row.key.ip for row in snapshot[Backends].values()] == ["10.0.0.1", "10.0.0.2"]
        assert rig.endpoints(snapshot) == {"10.0.0.1": 70_000}
        assert not snapshot[Rejected]
        for table in (Nodes, Identities, Services, Backends, Endpoints):
            assert snapshot[table].initialized


def test_the_tables_follow(etcd: LocalEtcd, client: Client):
    with Rig(etcd.endpoint) as rig:
        rig.synced()
        put_one_of_each(client)
        rig.until(lambda s: rig.endpoints(s) == {"10.0.0.1": 70_000})
        put_endpoint(client, "10.0.0.1", 80_000)
        rig.until(lambda s: rig.endpoints(s) == {"10.0.0.1": 80_000})
        client.put(f"{keys.SERVICES}/cluster1/shop/web".encode(), SMALLER)
        client.delete(ip_key("10.0.0.1"))
        snapshot = rig.until(lambda s: rig.endpoints(s) == {})
        assert [row.key.ip for row in snapshot[Backends].values()] == ["10.0.0.1"]
        client.delete(f"{keys.SERVICES}/cluster1/shop/web".encode())
        put_endpoint(client, "10.0.0.9")
        snapshot = rig.until(lambda s: "10.0.0.9" in rig.endpoints(s))
        assert not snapshot[Backends]
        assert not snapshot[Services]


def test_values_that_go_round_trip_are_equal_rows(etcd: LocalEtcd, client: Client):
    put_one_of_each(client)
    with Rig(etcd.endpoint) as rig:
        snapshot = rig.synced()
        for node in snapshot[Nodes].values():
            client.put(f"{keys.NODES}/{nodes.name(node)}".encode(), nodes.encode(node))
        for identity in snapshot[Identities].values():
            client.put(f"{keys.IDENTITIES}/{identities.name(identity)}".encode(), identities.encode(identity))
        for service in snapshot[Services].values():
            backends = snapshot[Backends.by_service][service.key]
            client.put(f"{keys.SERVICES}/{services.name(service)}".encode(), services.encode(service, backends))
        put_endpoint(client, "10.0.0.99")
        later = rig.until(lambda s: "10.0.0.99" in rig.endpoints(s))
        for table in (Nodes, Identities, Services, Backends):
            assert later[table].revision == snapshot[table].revision


def test_lists_longer_than_a_page(etcd: LocalEtcd, client: Client):
    put_endpoints(client, range(2500))
    with Rig(etcd.endpoint, page_limit=100) as rig:
        assert len(rig.endpoints(rig.synced())) == 2500


def test_only_the_tables_that_were_asked_for(etcd: LocalEtcd, client: Client):
    put_one_of_each(client)
    with Rig(etcd.endpoint, tables=("endpoints", "services")) as rig:
        snapshot = rig.synced()
        assert {table.name for table in rig.source.tables} == {"endpoints", "services"}
        assert len(snapshot[Endpoints]) == len(snapshot[Services]) == 1
        assert len(snapshot[Nodes]) == len(snapshot[Backends]) == 0


def test_one_bad_value_among_a_thousand(etcd: LocalEtcd, client: Client):
    put_endpoints(client, range(1000))
    client.put(ip_key(ip_of(500)), b'{"IP":"10.0.1.244","ID":"many"}')
    with Rig(etcd.endpoint) as rig:
        snapshot = rig.synced()
        assert len(snapshot[Endpoints]) == 999
        snapshot = rig.until(lambda s: len(s[Rejected]) == 1)
        (rejected,) = snapshot[Rejected].values()
        assert (rejected.key.table, rejected.key.object) == ("endpoints", ip_key(ip_of(500)).decode())
        assert "ID: expected int, got str" in rejected.error
        assert rejected.excerpt.startswith('{"IP"')
        put_endpoint(client, ip_of(500))
        rig.until(lambda s: len(s[Endpoints]) == 1000 and not s[Rejected])


def test_a_value_that_turns_bad_keeps_its_last_good_rows(etcd: LocalEtcd, client: Client):
    put_endpoint(client, "10.0.0.1")
    with Rig(etcd.endpoint) as rig:
        rig.synced()
        client.put(ip_key("10.0.0.1"), b"nonsense")
        client.put(b"cilium/state/ip/v1/default/\xff", b"{}")
        client.put(f"{keys.IDENTITIES}/70000".encode(), b"")
        snapshot = rig.until(lambda s: len(s[Rejected]) == 3)
        assert rig.endpoints(snapshot) == {"10.0.0.1": 70_000}
        assert {row.key.table for row in snapshot[Rejected].values()} == {"endpoints", "identities"}
        client.delete_prefix(b"cilium/")
        rig.until(lambda s: not s[Rejected] and not s[Endpoints])


def test_a_compaction_while_disconnected_is_followed_by_a_list(etcd: LocalEtcd, client: Client):
    put_endpoints(client, range(20))
    with TcpProxy(etcd.endpoint) as proxy, Rig(proxy.endpoint) as rig, rig.db.changes(Endpoints) as stream:
        rig.synced()
        proxy.cut()
        rig.until(lambda s: rig.state(s) == "stale")
        client.delete(ip_key(ip_of(3)))
        put_endpoint(client, ip_of(4), 90_000)
        client.compact(put_endpoint(client, ip_of(20)))
        proxy.mend()
        expected = endpoints_in(client)
        rig.until(lambda s: rig.endpoints(s) == expected and rig.state(s) == "synced" and rig.row(s).relists == 2)
        deleted = {c.row.key.ip for batch in iter(lambda: stream.next(0), None) for c in batch if c.deleted}
        assert deleted <= {ip_of(3)}


def test_a_short_outage_is_resumed_without_a_list(etcd: LocalEtcd, client: Client):
    put_endpoints(client, range(20))
    with TcpProxy(etcd.endpoint) as proxy, Rig(proxy.endpoint) as rig:
        rig.until(lambda s: rig.state(s) == "synced")
        relists = rig.row().relists
        proxy.cut()
        rig.until(lambda s: rig.state(s) == "stale")
        client.delete(ip_key(ip_of(3)))
        put_endpoint(client, ip_of(4), 90_000)
        proxy.mend()
        expected = endpoints_in(client)
        snapshot = rig.until(lambda s: rig.endpoints(s) == expected and rig.state(s) == "synced")
        assert rig.row(snapshot).relists == relists


def test_a_compaction_between_two_pages_begins_the_list_again(
    etcd: LocalEtcd, client: Client, monkeypatch: pytest.MonkeyPatch
):
    put_endpoints(client, range(30))
    listed: list[bytes] = []
    list_pages = Client.list

    def compacted_once(self: Client, prefix: bytes, page_limit: int = 1000, revision: int = 0):
        listed.append(prefix)
        for number, page in enumerate(list_pages(self, prefix, page_limit, revision)):
            yield page
            if number == 0 and listed.count(prefix) == 1 and page.more:
                client.compact(put_endpoint(client, ip_of(30)))

    monkeypatch.setattr(Client, "list", compacted_once)
    with Rig(etcd.endpoint, page_limit=10) as rig:
        assert len(rig.endpoints(rig.synced())) == 31
        assert listed.count(b"cilium/state/ip/v1/default/") == 2


def test_everything_is_listed_anew_as_often_as_wanted(etcd: LocalEtcd, client: Client):
    put_endpoints(client, range(5))
    with Rig(etcd.endpoint, relist_s=0.2) as rig:
        revision = rig.synced()[Endpoints].revision
        rig.until(lambda s: rig.row(s).relists >= 4)
        put_endpoint(client, ip_of(5))
        assert rig.until(lambda s: len(s[Endpoints]) == 6)[Endpoints].revision == revision + 1


def test_a_source_that_cannot_connect_says_so_and_comes_when_it_can(own_etcd: LocalEtcd):
    own_etcd.kill()
    with Rig(own_etcd.endpoint) as rig:
        snapshot = rig.until(lambda s: "Connection refused" in rig.row(s).last_error)
        assert rig.state(snapshot) == "connecting"
        assert not snapshot[Endpoints].initialized
        own_etcd.start()
        assert rig.synced()[Endpoints].initialized


def test_the_next_endpoint_takes_over(etcd: LocalEtcd, client: Client):
    put_endpoints(client, range(5))
    dead = f"http://127.0.0.1:{free_port()}"
    with TcpProxy(etcd.endpoint) as first, TcpProxy(etcd.endpoint) as second:
        with Rig((dead, first.endpoint, second.endpoint)) as rig:
            rig.synced()
            used, other = (first, second) if first.connections else (second, first)
            used.cut()
            rig.until(lambda s: rig.state(s) == "stale")
            put_endpoint(client, ip_of(5))
            rig.until(lambda s: rig.state(s) == "synced" and len(s[Endpoints]) == 6)
            assert other.connections


def test_stop_ends_a_source_that_is_connected_and_one_that_is_not(etcd: LocalEtcd):
    for rig in (Rig(etcd.endpoint), Rig(f"http://127.0.0.1:{free_port()}")):
        rig.source.start()
        rig.until(lambda s, rig=rig: rig.state(s) != "absent")
        rig.source.stop()
        assert rig.source.join(2)
        assert rig.state() == "absent"


def test_no_thread_is_left(etcd: LocalEtcd):
    before = set(threading.enumerate())
    with Rig(etcd.endpoint) as rig:
        rig.synced()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), thread


def test_two_sources_for_one_table_are_refused(etcd: LocalEtcd):
    with Rig(etcd.endpoint) as rig:
        other = open_kvstore(rig.db, CLUSTER, 1, KvstoreOptions(endpoints=(etcd.endpoint,)))
        with pytest.raises(OwnedElsewhere, match="'nodes' of cluster 'cluster1' is filled by backend 'kvstore'"):
            other.start()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"endpoints": ("127.0.0.1:2379",)}, "endpoints[0]"),
        ({"endpoints": ("http://u:secret@h:1",)}, "password-file"),
        ({"endpoints": ("http://h:1",), "tls": TlsOptions(ca_file="x")}, "not https"),
        (
            {"endpoints": ("https://h:1",), "tls": TlsOptions(ca_file="missing.pem")},
            "tls.ca-file: missing.pem: No such",
        ),
        ({"endpoints": ("https://h:1",), "tls": TlsOptions(cert_file="a")}, "belong together"),
        ({"endpoints": ("http://h:1",), "username": "u"}, "belong together"),
        (
            {"endpoints": ("http://h:1",), "username": "u", "password_file": "missing"},
            "password-file: missing: No such",
        ),
        ({"endpoints": ("http://h:1",), "tables": ("policies",)}, "no table 'policies'"),
        ({"endpoints": ("http://h:1",), "tables": ()}, "name at least one"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], told: str):
    with pytest.raises(InvalidOptions) as raised:
        open_kvstore(Database(*TABLES), CLUSTER, 1, KvstoreOptions(**options))  # type: ignore[arg-type]
    assert told in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path):
    path = tmp_path / "ca.pem"
    path.write_text("not a certificate")
    with pytest.raises(InvalidOptions, match=r"tls.ca-file: .*ca.pem holds no certificate"):
        open_kvstore(
            Database(*TABLES), CLUSTER, 1, KvstoreOptions(endpoints=("https://h:1",), tls=TlsOptions(ca_file=str(path)))
        )
