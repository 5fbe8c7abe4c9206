"""Names of servers that no resolver of the machine knows: given aliases, and Services asked of an API server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from ingest import InvalidOptions, KvstoreOptions, RemoteClustersOptions, TlsOptions
from ingest.clustermesh import open_remotes
from ingest.etcd import Client, parse_endpoint
from ingest.etcd.local import LocalEtcd
from ingest.keyspace.connect import Connector, Servers, servers_of
from ingest.keyspace.options import ServiceResolverOptions
from ingest.keyspace.resolving import resolver_of
from ingest.kubernetes.options import ApiServerOptions
from ingest.kubernetes.service_names import ServiceNames
from ingest.names import SocketAddress, Unresolved
from statedb import Database

from .clustermesh.publisher import Publisher, Rig as MeshRig
from .kube_fake import FakeApi
from .kvstore_rig import HEARTBEAT, Rig, put_endpoint

NAME = "etcd.kube-system.svc"
URL = f"http://{NAME}:2379"
SERVICES = "/api/v1/namespaces/kube-system/services/etcd"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        yield api


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "metrics", "port": 9962}, {"name": "etcd", "port": 2379, "protocol": "TCP"}]
    return {
        "kind": "Service",
        "metadata": {"namespace": "kube-system", "name": "etcd"},
        "spec": {"clusterIP": "10.96.255.254", "ports": ports, **spec},
    }


def slice_of(*ports: int, ready: bool | None = True, name: str = "etcd-1", hostname: str = "") -> dict[str, Any]:
    """A slice with one endpoint on loopback; its ports are the numbers, that of etcd is the last."""
    conditions = {} if ready is None else {"ready": ready}
    endpoint = {"addresses": ["127.0.0.1"], "conditions": conditions, **({"hostname": hostname} if hostname else {})}
    return {
        "kind": "EndpointSlice",
        "metadata": {"namespace": "kube-system", "name": name, "labels": {"kubernetes.io/service-name": "etcd"}},
        "addressType": "IPv4",
        "ports": [{"name": "metrics", "port": 1}, *[{"name": "etcd", "port": port} for port in ports]],
        "endpoints": [endpoint],
    }


def asks(api: FakeApi, **values: Any) -> ServiceResolverOptions:
    return ServiceResolverOptions(kubernetes=ApiServerOptions(server=api.url, **values))


def port_of(etcd: LocalEtcd) -> int:
    return parse_endpoint(etcd.endpoint).port


def put(client: Client, ip: str) -> None:
    client.put(HEARTBEAT, b"now")
    put_endpoint(client, ip)


# --- host aliases -----------------------------------------------------------------------------------------------------


def test_an_alias_stands_for_a_name_that_nobody_knows(etcd: LocalEtcd, client: Client):
    put(client, "10.0.0.1")
    url = f"http://Etcd.Example.INVALID:{port_of(etcd)}"
    with Rig(url, host_aliases={"etcd.example.invalid": ("127.0.0.1",)}) as rig:
        rig.synced()
        assert rig.endpoints() == {"10.0.0.1": 70_000}


def test_each_alias_is_a_server_of_its_own(etcd: LocalEtcd, client: Client):
    put(client, "10.0.0.1")
    with Rig(f"http://etcd.example:{port_of(etcd)}", host_aliases={"etcd.example": ("::1", "127.0.0.1")}) as rig:
        rig.synced()  # nobody listens at ::1


@pytest.mark.parametrize(
    ("aliases", "told"),
    [
        ({"a.example": ("127.0.0.1",)}, "host-aliases.a.example: no endpoint has this name; they have etcd.example"),
        ({"etcd.example": ()}, "host-aliases.etcd.example: the list is empty; name at least one address"),
        ({"etcd.example": ("here",)}, "host-aliases.etcd.example: 'here' is not an IP address"),
    ],
)
def test_a_wrong_alias_is_told(aliases: dict[str, tuple[str, ...]], told: str):
    with pytest.raises(InvalidOptions) as caught:
        servers_of(KvstoreOptions(endpoints=("http://etcd.example:2379",), host_aliases=aliases))
    assert str(caught.value) == told


# --- names of Services ------------------------------------------------------------------------------------------------


def test_a_service_is_reached_where_its_pods_are(api: FakeApi, etcd: LocalEtcd, client: Client):
    put(client, "10.0.0.1")
    api.put(service())
    api.put(slice_of(port_of(etcd)))
    with Rig(URL, service_resolver=asks(api)) as rig:
        rig.synced()
        assert rig.endpoints() == {"10.0.0.1": 70_000}
    assert api.requests["get", SERVICES] == 1
    assert api.requests["list", SLICES] == 1


def test_certificates_are_those_of_the_name(api: FakeApi, tmp_path: Path):
    authority = trustme.CA()
    certificate = authority.issue_cert(NAME)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    arguments = [f"--cert-file={tmp_path / 'server.pem'}", f"--key-file={tmp_path / 'key.pem'}"]
    with LocalEtcd(arguments=arguments, secure=True) as etcd:
        etcd.launch()
        api.put(service())
        api.put(slice_of(port_of(etcd)))
        tls = TlsOptions(ca_file=str(tmp_path / "ca.pem"))
        with Rig(f"https://{NAME}:2379", tls=tls, service_resolver=asks(api)) as rig:
            rig.synced()
        api.put({**service(), "metadata": {"namespace": "kube-system", "name": "other"}})
        other = slice_of(port_of(etcd), name="other-1")
        other["metadata"]["labels"]["kubernetes.io/service-name"] = "other"
        api.put(other)
        with Rig("https://other.kube-system.svc:2379", tls=tls, service_resolver=asks(api)) as rig:
            rig.until(lambda s: "not valid for" in rig.row(s).last_error or "verif" in rig.row(s).last_error)


def test_a_changed_address_is_followed_when_the_connection_is_lost(
    api: FakeApi, own_etcd: LocalEtcd, etcd: LocalEtcd, client: Client
):
    with own_etcd.client() as first:
        put(first, "10.0.0.1")
    put(client, "10.0.0.1")
    put(client, "10.0.0.2")
    api.put(service())
    api.put(slice_of(port_of(own_etcd)))
    with Rig(URL, service_resolver=asks(api)) as rig:
        rig.synced()
        api.put(slice_of(port_of(etcd)))
        put_endpoint(client, "10.0.0.3")
        assert rig.endpoints() == {"10.0.0.1": 70_000}  # a connection that works stays
        own_etcd.kill()
        rig.until(lambda s: set(rig.endpoints(s)) == {"10.0.0.1", "10.0.0.2", "10.0.0.3"})


def test_an_endpoint_that_does_not_answer_is_passed_over(api: FakeApi, etcd: LocalEtcd, client: Client):
    put(client, "10.0.0.1")
    api.put(service())
    api.put(slice_of(1, name="etcd-1"))
    api.put(slice_of(port_of(etcd), name="etcd-2"))
    for _ in range(3):  # they are tried in any order
        with Rig(URL, service_resolver=asks(api)) as rig:
            rig.synced()


def test_what_is_wrong_is_told_until_it_is_right(api: FakeApi, etcd: LocalEtcd, client: Client):
    put(client, "10.0.0.1")
    with Rig(URL, service_resolver=asks(api)) as rig:

        def told(text: str) -> None:
            rig.until(lambda s: rig.row(s).last_error.startswith(f"{URL}: {text}"), text)
            assert rig.state() == "connecting"

        told("there is no Service kube-system/etcd")
        api.put(service())
        told("Service kube-system/etcd has no ready endpoint for port 2379")
        api.put(slice_of(port_of(etcd), ready=False))
        api.put(service(ports=[{"port": 80}]))
        told("Service kube-system/etcd has no TCP port 2379; it has 80")
        api.put(service(type="ExternalName", externalName="etcd.example"))
        told("Service kube-system/etcd stands for the host 'etcd.example'; name that one")
        api.forbidden.add(("list", SLICES))
        told("cannot ask for Service kube-system/etcd: may not list endpointslices.discovery.k8s.io: ")
        api.put(service())
        api.kill()
        told("cannot ask for Service kube-system/etcd: get services: ")
        api.forbidden.clear()
        api.start()
        told("Service kube-system/etcd has no ready endpoint for port 2379")
        api.put(slice_of(port_of(etcd)))
        rig.synced()


def test_a_lost_api_server_disturbs_no_connection_and_an_etcd_that_comes_back_there_waits_for_it(
    api: FakeApi, own_etcd: LocalEtcd
):
    with own_etcd.client() as client:
        put(client, "10.0.0.1")
    api.put(service())
    api.put(slice_of(port_of(own_etcd)))
    with Rig(URL, service_resolver=asks(api)) as rig:
        rig.synced()
        api.kill()
        with own_etcd.client() as client:
            put(client, "10.0.0.2")
        rig.until(lambda s: len(rig.endpoints(s)) == 2)
        own_etcd.kill()
        rig.until(lambda s: "cannot ask for Service" in rig.row(s).last_error)
        assert rig.state() == "stale"
        own_etcd.start()
        api.start()
        rig.synced()


def test_stopping_waits_for_no_answer(api: FakeApi):
    api.freeze()
    with Rig(URL, service_resolver=asks(api)) as rig:
        api.wait_for_requests("get", SERVICES, 1)
        started = time.monotonic()
        rig.source.stop()
        assert rig.source.join(10)
        assert time.monotonic() - started < 3  # a request may take 30


def test_a_cluster_of_a_mesh_is_reached_by_its_service(api: FakeApi, etcd: LocalEtcd):
    api.put(service())
    api.put(slice_of(port_of(etcd)))
    where = Servers(endpoints=(parse_endpoint(URL),), locked=True, resolver=resolver_of(asks(api)))
    with Publisher(etcd) as publisher:
        publisher.publish(range(3))
        with MeshRig(through=where) as rig:
            rig.synced()
            assert rig.numbers() == {0, 1, 2}


def test_other_servers_are_taken_while_the_name_of_the_first_is_still_asked_for(api: FakeApi, etcd: LocalEtcd):
    api.freeze()
    where = Servers(endpoints=(parse_endpoint(URL),), locked=True, resolver=resolver_of(asks(api)))
    with Publisher(etcd) as publisher:
        publisher.publish(range(3))
        with MeshRig(through=where) as rig:
            api.wait_for_requests("get", SERVICES, 1)
            rig.source.reconnect(Servers(endpoints=(parse_endpoint(etcd.endpoint),), locked=True, timeout_s=5.0))
            rig.synced()
            assert not any(row.last_error for row in [rig.row(table.name) for table in rig.source.tables])


# --- the resolver by itself -------------------------------------------------------------------------------------------


@contextmanager
def resolver(api: FakeApi) -> Iterator[ServiceNames]:
    names = ServiceNames(ApiServerOptions(server=api.url))
    try:
        yield names
    finally:
        names.close()


@pytest.mark.parametrize("host", [NAME, f"{NAME}.cluster.local", f"{NAME}.", "ETCD.kube-system.svc"])
def test_names_of_services(api: FakeApi, host: str):
    api.put(service())
    api.put(slice_of(4001))
    with resolver(api) as names:
        assert names.resolve(host, 2379) == (SocketAddress("127.0.0.1", 4001),)


@pytest.mark.parametrize("host", ["etcd", "etcd.svc", "etcd.example", "10.0.0.1", "a.b.c.d.svc", "x.etcd.svc.example"])
def test_other_names_are_not_its_own(api: FakeApi, host: str):
    with resolver(api) as names:
        assert names.resolve(host, 2379) is None
    assert not api.requests


def test_a_headless_service_has_the_ports_of_its_pods_and_names_for_them(api: FakeApi):
    api.put(service(clusterIP="None", ports=None))
    api.put(slice_of(hostname="etcd-0"))
    with resolver(api) as names:
        assert names.resolve(NAME, 2380) == (SocketAddress("127.0.0.1", 2380),)
        assert names.resolve(f"etcd-0.{NAME}", 2380) == (SocketAddress("127.0.0.1", 2380),)
        with pytest.raises(Unresolved, match="has no ready endpoint named etcd-1 for port 2380"):
            names.resolve(f"etcd-1.{NAME}", 2380)


def test_readiness_that_nobody_told_is_readiness(api: FakeApi):
    api.put(service())
    api.put(slice_of(4001, ready=None))
    with resolver(api) as names:
        assert names.resolve(NAME, 2379) == (SocketAddress("127.0.0.1", 4001),)


def test_a_wrong_configuration_is_told_at_once(tmp_path: Path):
    bad = ServiceResolverOptions(kubernetes=ApiServerOptions(server="kube"))
    options = KvstoreOptions(endpoints=(URL,), service_resolver=bad)
    told = "service-resolver.kubernetes.server: must be a URL like https://10.0.0.1:6443"
    with pytest.raises(InvalidOptions, match=told):
        Connector(servers_of(options))
    with pytest.raises(InvalidOptions, match=told):
        open_remotes(Database(), "c", 1, RemoteClustersOptions(directory=str(tmp_path), service_resolver=bad))
    missing = ServiceResolverOptions(kubernetes=ApiServerOptions(kubeconfig=str(tmp_path / "none")))
    with pytest.raises(InvalidOptions, match=r"service-resolver\.kubernetes: .*none"):
        Connector(servers_of(KvstoreOptions(endpoints=(URL,), service_resolver=missing)))
