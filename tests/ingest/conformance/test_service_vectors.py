"""Every vector of services, with the local cluster from two sources and the remote one in two forms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from consumers.etcd.publisher import PublisherOptions
from consumers.etcd.publisher.layout import Layout, published
from consumers.etcd.publisher.options import ServiceForm
from consumers.tables.loadbalancer import LoadBalancerKey, LoadBalancers, derive_loadbalancer
from ingest.events import Listed, Upsert
from ingest.kubernetes.kinds import SERVICES, SLICES, resources
from ingest.kubernetes.services import ServiceJoin
from ingest.manifests.kinds import join_services, kinds
from statedb import Database
from statedb.catalog import (
    TABLES,
    Backend,
    Backends,
    EndpointSlices,
    Namespace,
    NamespaceKey,
    Namespaces,
    Service,
    Services,
)
from statedb.catalog.wire import endpoint_slices, keys, services

from ...consumers.running.driving import Driver
from ..clusters import Object
from .service_vectors import VECTORS, Vector, Wanted

LOCAL, REMOTE = "cluster1", "cluster2"
SERVICE = LoadBalancerKey("test", "echo")


def of_manifests(values: Iterable[Object], cluster: str, cluster_id: int, *, copies: bool = False) -> list[Any]:
    """The rows that the manifests source makes of these objects, without files."""
    read = kinds(cluster, cluster_id, copies=copies)
    events: dict[str, Any] = {}
    for value in values:
        kind = read["discovery.k8s.io" if value["kind"] == "EndpointSlice" else "", value["kind"]]
        assert kind is not None
        name = f"{value['kind']}/{value['metadata']['name']}"
        events[name] = Upsert("all", name, kind.decode(value), kind.table)
    return [row for event in join_services(events, {}).values() if isinstance(event, Upsert) for row in event.rows]


def of_kubernetes(values: Iterable[Object], cluster: str, cluster_id: int) -> list[Any]:
    """The rows that the kubernetes source makes of these objects, without a server."""
    by_name = {each.name: each for each in resources(cluster, cluster_id, endpoint_slices=False)}
    of_kind: dict[str, list[Upsert]] = {"Service": [], "EndpointSlice": []}
    for value in values:
        resource = by_name[SERVICES if value["kind"] == "Service" else SLICES]
        name = resource.object_name(value["metadata"]["namespace"], value["metadata"]["name"])
        of_kind[value["kind"]].append(Upsert(SERVICES, name, resource.decode(value)))
    join = ServiceJoin(SERVICES)
    join.list_services(of_kind["Service"], full=True)
    join.list_slices(of_kind["EndpointSlice"], full=True)
    listed = [event for event in join.drain() if isinstance(event, Listed)]
    return [row for event in listed[-1].objects if isinstance(event, Upsert) for row in event.rows]


def of_remote(values: Iterable[Object], export: ServiceForm) -> list[Any]:
    """What a remote cluster's publisher writes of these objects, read as a remote cluster is."""
    db = filled(of_manifests(values, REMOTE, 2, copies=True))
    layout = Layout(REMOTE, 2, PublisherOptions(export=export), copies=True)
    found: list[Any] = []
    for key, value in published(db.snapshot(), layout).items():
        if key.startswith(keys.SERVICES):
            row, backends = services.decode(REMOTE, keys.below(keys.SERVICES, key), value, cluster_id=2)
            found += [row, *backends]
        elif key.startswith(keys.ENDPOINT_SLICES):
            found += endpoint_slices.decode(REMOTE, keys.below(keys.ENDPOINT_SLICES, key), value, cluster_id=2)
    return found


def filled(rows: Iterable[Any]) -> Database:
    db = Database(*TABLES, EndpointSlices)
    write(db, rows)
    return db


def write(db: Database, rows: Iterable[Any]) -> None:
    by_type: dict[Any, Any] = {table.row_type: table for table in (Services, Backends, EndpointSlices)}
    with db.write(Services, Backends, EndpointSlices, Namespaces) as txn:
        for row in rows:
            txn[by_type[type(row)]].insert(row)
        for name in ("test", "other"):
            txn[Namespaces].insert(
                Namespace(NamespaceKey(REMOTE, name), annotations=(("clustermesh.cilium.io/global", "true"),))
            )


def answer(db: Database) -> Wanted | None:
    """What the load balancer says now."""
    row = db.snapshot()[LoadBalancers].get(SERVICE)
    if row is None:
        return None
    found: Wanted = {}
    places = Counter((each.ip, each.port) for each in row.frontends)
    for each in row.frontends:
        shown = each.protocol != "TCP" or places[each.ip, each.port] > 1
        place = f"{_at(each.ip, each.port)}{'/' + each.protocol if shown else ''}"
        found[place] = sorted(f"{_at(b.ip, b.port)}{'' if b.ready else '~'}" for b in each.backends)
    return found


def _at(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


FROM: dict[str, Callable[..., list[Any]]] = {"manifests": of_manifests, "kubernetes": of_kubernetes}
FORMS: tuple[ServiceForm, ...] = ("services", "endpointslices-only")


@pytest.mark.parametrize("export", FORMS)
@pytest.mark.parametrize("source", FROM)
@pytest.mark.parametrize("vector", VECTORS, ids=[vector.rule for vector in VECTORS])
def test_vector(vector: Vector, source: str, export: ServiceForm):
    db = filled([*FROM[source](vector.here, LOCAL, 1), *of_remote(vector.there, export)])
    Driver(derive_loadbalancer(db, LOCAL)).settle()
    wanted = vector.by_v1 if export == "services" and vector.by_v1 is not None else vector.wanted
    assert answer(db) == (wanted and {place: sorted(backends) for place, backends in wanted.items()})


def test_there_are_enough_of_them_and_no_two_are_called_the_same():
    assert len({vector.rule for vector in VECTORS}) == len(VECTORS) >= 60


@pytest.mark.parametrize("vector", VECTORS, ids=[vector.rule for vector in VECTORS])
def test_both_sources_make_the_same_rows_in_whatever_order_the_objects_come(vector: Vector):
    one = sorted(of_manifests(vector.here, LOCAL, 1), key=repr)
    assert sorted(of_kubernetes(vector.here, LOCAL, 1), key=repr) == one
    assert sorted(of_kubernetes(reversed(vector.here), LOCAL, 1), key=repr) == one
    assert sorted(of_manifests(reversed(vector.here), LOCAL, 1), key=repr) == one


@pytest.mark.parametrize("export", FORMS)
def test_a_remote_service_goes_and_comes_back(export: ServiceForm):
    """Deletion and return of the whole, of its backends, and of the local service."""
    from_here = of_manifests(VECTORS[1].here, LOCAL, 1)
    from_there = of_remote(VECTORS[1].there, export)
    db = filled([*from_here, *from_there])
    driver = Driver(derive_loadbalancer(db, LOCAL))
    both, own = VECTORS[1].wanted, VECTORS[0].wanted
    driver.settle()
    assert answer(db) == both
    for gone, left in (
        (from_there, own),
        ([row for row in from_there if isinstance(row, Backend)], own),
        (from_here, None),
    ):
        with db.write(Services, Backends) as txn:
            for row in gone:
                txn[Services if isinstance(row, Service) else Backends].delete(row.key)
        driver.settle()
        assert answer(db) == left
        write(db, gone)
        driver.settle()
        assert answer(db) == both
