"""The tables of docs/formats.md about what sources tell of one fact: each line of them, as rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from consumers.etcd.publisher import PublisherOptions
from consumers.etcd.publisher.layout import Layout, published
from ingest import ManifestsOptions
from ingest.manifests import open as open_manifests
from statedb import Database, Snapshot
from statedb.catalog import (
    TABLES,
    Backend,
    Backends,
    Endpoints,
    EndpointSlices,
    Identities,
    Nodes,
    Rejected,
    Service,
    Services,
)
from statedb.catalog.wire import endpoint_slices, keys, services

from ..clusters import CLUSTER, Object, write_directory
from ..kube_rig import cep, ces, endpoint_slice, identity, namespace, node, service

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


def changed(value: Object, path: str, to: Any) -> Object:
    """The object with another value at a path of names with dots."""
    first, _, rest = path.partition(".")
    return {**value, first: changed(value.get(first, {}), rest, to) if rest else to}


def without(value: Object, path: str) -> Object:
    """The object without what is at a path."""
    first, _, rest = path.partition(".")
    if rest:
        return {**value, first: without(value[first], rest)}
    return {name: each for name, each in value.items() if name != first}


ENDPOINT = cep("10.0.0.1")
SLICE = ces("a", ["10.0.0.1", "10.0.0.1"])
SLICE["endpoints"][1]["id"] = 80_000
BAD_SLICE = ces("b", ["nonsense", "10.0.0.1"])
BAD_SERVED = endpoint_slice("web-1", "web", ["nonsense", "10.0.0.1"])
TERMINATING = endpoint_slice("web-1", "web", ["10.0.0.1"])
TERMINATING["endpoints"][0]["conditions"] = {"ready": False, "serving": True, "terminating": True}
OTHER_NAME = [{"name": "other", "port": 8080, "protocol": "TCP"}]
BAD_NODE = changed(node("n"), "spec.ipam", {"podCIDRs": ["10.1.0.0/24", "no network"]})
ANNOTATIONS = "metadata.annotations"
GLOBAL = {"service.cilium.io/global": "true"}


def identities_of_endpoints(snapshot: Snapshot) -> list[int]:
    return [row.identity for row in snapshot[Endpoints].values()]


CASES: dict[str, tuple[list[Object], Callable[[Snapshot], Any], Any]] = {
    "an endpoint without an identity": ([without(ENDPOINT, "status.identity")], identities_of_endpoints, [0]),
    "an endpoint without a node's address": (
        [without(ENDPOINT, "status.networking.node")],
        lambda s: [row.host_ip for row in s[Endpoints].values()],
        [""],
    ),
    "no encryption key": ([ENDPOINT], lambda s: [row.encryption_key for row in s[Endpoints].values()], [0]),
    "an encryption key above 255, of an endpoint or a node": (
        [changed(ENDPOINT, "status.encryption", {"key": 259}), changed(node("n"), "spec.encryption", {"key": 260})],
        lambda s: (
            [row.encryption_key for row in s[Endpoints].values()] + [row.encryption_key for row in s[Nodes].values()]
        ),
        [3, 4],
    ),
    "two endpoints of one slice with one address": ([SLICE], identities_of_endpoints, [80_000]),
    "an address, network, port or endpoint that cannot be read": (
        [BAD_NODE, BAD_SLICE, service("web"), BAD_SERVED],
        lambda s: (
            [row.pod_cidrs for row in s[Nodes].values()],
            [key.ip for key in s[Endpoints]],
            [key.ip for key in s[Backends]],
            sorted(row.error.partition(":")[0] for row in s[Rejected].values()),
        ),
        (
            [("10.1.0.0/24",)],
            ["10.0.0.1"],
            ["10.0.0.1"],
            ["endpoints[0].addresses[0]", "endpoints[0].networking.addressing[0].ipv4", "spec.ipam.podCIDRs[1]"],
        ),
    ),
    "a CiliumEndpoint or an EndpointSlice without any address that can be read": (
        [cep("nonsense"), service("web"), endpoint_slice("web-1", "web", ["nonsense"])],
        lambda s: (len(s[Endpoints]), len(s[Backends]), len(s[Rejected])),
        (0, 0, 2),
    ),
    "a `Hostname` or DNS address of a node that is a name": (
        [changed(node("n"), "spec.addresses", [{"type": "Hostname", "ip": "n"}])],
        lambda s: ([row.addresses for row in s[Nodes].values()], len(s[Rejected])),
        ([()], 0),
    ),
    "an address of a slice that is not of its `addressType`": (
        [service("web"), endpoint_slice("web-1", "web", ["10.0.0.1", "fd00::1"])],
        lambda s: ([key.ip for key in s[Backends]], [row.error for row in s[Rejected].values()]),
        (["10.0.0.1"], ["endpoints[1].addresses[0]: 'fd00::1' is not an IPv4 address"]),
    ),
    "a `CiliumIdentity` without labels": (
        [changed(identity(70_000), "security-labels", {})],
        lambda s: (len(s[Identities]), len(s[Rejected])),
        (0, 1),
    ),
    "a service or slice with `service.kubernetes.io/service-proxy-name`, a slice of Cilium's mesh controller": (
        [
            changed(service("other"), "metadata.labels", {"service.kubernetes.io/service-proxy-name": "p"}),
            endpoint_slice("other-1", "other", ["10.0.0.1"]),
            service("web"),
            changed(
                endpoint_slice("web-1", "web", ["10.0.0.2"]),
                "metadata.labels",
                {
                    "kubernetes.io/service-name": "web",
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-mesh-controller.cilium.io",
                },
            ),
        ],
        lambda s: ([key.name for key in s[Services]], len(s[Backends])),
        (["web"], 0),
    ),
    "a condition of an endpoint that is not set": (
        [service("web"), endpoint_slice("web-1", "web", ["10.0.0.1"])],
        lambda s: [(row.ready, row.serving, row.terminating) for row in s[Backends].values()],
        [(True, True, False)],
    ),
    "two pods with one address in the slices of a service": (
        [service("web"), TERMINATING, changed(endpoint_slice("web-2", "web", ["10.0.0.1"]), "ports", OTHER_NAME)],
        lambda s: [(row.ready, row.port_names) for row in s[Backends].values()],
        [(True, ("http", "other"))],
    ),
}


def served(**fields: Any) -> list[Object]:
    """A shared service and a slice with one endpoint of these fields."""
    of = endpoint_slice("web-1", "web", ["10.0.0.1"])
    return [service("web"), {**of, "endpoints": [{**of["endpoints"][0], **fields}]}]


def of_backend(*fields: str) -> Callable[[Rows], Any]:
    return lambda rows: [tuple(getattr(row, field) for field in fields) for row in rows[1]]


Rows = tuple[list[Service], list[Backend]]
_CONDITIONS = of_backend("ready", "serving", "terminating")
NOT_HELD: dict[str, tuple[list[Object], Callable[[Rows], Any], tuple[Any, Any, Any]]] = {
    "a service that is not shared": (
        [
            changed(service("web"), ANNOTATIONS, {**GLOBAL, "service.cilium.io/shared": "no"}),
            endpoint_slice("web-1", "web", ["10.0.0.1"]),
        ],
        lambda rows: (len(rows[0]), len(rows[1])),
        ((1, 1), (0, 0), (0, 0)),
    ),
    "`service.cilium.io/affinity`": (
        [
            changed(
                service("web"),
                ANNOTATIONS,
                {**GLOBAL, "service.cilium.io/affinity": "local"},
            )
        ],
        lambda rows: [row.affinity for row in rows[0]],
        (["local"], [""], [""]),
    ),
    "the node of a backend": (
        served(nodeName="n1"),
        of_backend("node"),
        ([("n1",)], [("",)], [("n1",)]),
    ),
    "the conditions of a backend that is ready or serving": (
        served(conditions={"ready": False, "serving": True, "terminating": True}),
        _CONDITIONS,
        ([(False, True, True)], [(True, True, False)], [(False, True, True)]),
    ),
    "a backend that is neither ready nor serving": (
        served(conditions={"ready": False, "serving": False}),
        _CONDITIONS,
        ([(False, False, False)], [], [(False, False, False)]),
    ),
    "zone hints without a zone": (
        served(hints={"forZones": [{"name": "z"}]}),
        of_backend("zone_hints"),
        ([(("z",),)], [((),)], [(("z",),)]),
    ),
    "one port name on two ports of an address": (
        [*served(), changed(endpoint_slice("web-2", "web", ["10.0.0.1"]), "ports", [{"name": "http", "port": 80}])],
        lambda rows: [row.key.port for row in rows[1]],
        ([80, 8080], [80], [80, 8080]),
    ),
}


def facts(heading: str) -> list[str]:
    """The first column of the table under a heading."""
    table = PAGE.read_text().partition(heading)[2].partition("| fact |")[2].partition("\n\n")[0]
    return [cell.strip() for cell in re.findall(r"^\| ([^-|][^|]*) \|", table, re.MULTILINE)]


def test_every_line_of_the_tables_has_its_case():
    assert facts("## Objects of Kubernetes") == list(CASES)
    assert facts("### What an etcd cannot hold") == list(NOT_HELD)


def of_manifests(values: list[Object], directory: Path, *tables: Any) -> Snapshot:
    """The tables that manifests make of these objects."""
    write_directory(values, directory)
    db = Database(*TABLES, *tables)
    source = open_manifests(db, CLUSTER, 1, ManifestsOptions(directory=str(directory)))
    source.start()
    try:
        assert db.wait_initialized(Nodes, Identities, Endpoints, Services, Backends, timeout=30)
        return db.snapshot()
    finally:
        source.stop()
        assert source.join(10)


@pytest.mark.parametrize("fact", CASES)
def test_fact(fact: str, tmp_path: Path):
    values, told, wanted = CASES[fact]
    assert told(of_manifests(values, tmp_path)) == wanted


def from_etcd(snapshot: Snapshot, export: Literal["services", "endpointslices-only"]) -> list[Any]:
    """What a remote cluster reads of the service keys that a publisher writes for these tables."""
    layout = Layout(CLUSTER, 1, PublisherOptions(export=export, default_global_namespace=True), copies=True)
    found: list[Any] = []
    for key, value in published(snapshot, layout).items():
        if key.startswith(keys.SERVICES):
            row, backends = services.decode(CLUSTER, keys.below(keys.SERVICES, key), value, cluster_id=1)
            found += [row, *backends]
        elif key.startswith(keys.ENDPOINT_SLICES):
            found += endpoint_slices.decode(CLUSTER, keys.below(keys.ENDPOINT_SLICES, key), value, cluster_id=1)
    return found


@pytest.mark.parametrize("fact", NOT_HELD)
def test_what_an_etcd_cannot_hold(fact: str, tmp_path: Path):
    values, told, wanted = NOT_HELD[fact]
    snapshot = of_manifests([*values, namespace("default")], tmp_path, EndpointSlices)
    by_form = [from_etcd(snapshot, "services"), from_etcd(snapshot, "endpointslices-only")]
    rows = [(list(snapshot[Services].values()), list(snapshot[Backends].values()))]
    for each in by_form:
        backends = sorted([row for row in each if isinstance(row, Backend)], key=lambda row: row.key)
        rows.append(([row for row in each if isinstance(row, Service)], backends))
    if fact == "`service.cilium.io/affinity`":  # a cluster that exports slices only has no service to say it of
        rows[2] = rows[1]
    assert tuple(told(each) for each in rows) == wanted
