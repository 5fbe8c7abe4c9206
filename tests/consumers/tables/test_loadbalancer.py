"""The load balancer: services of the local cluster with the backends of all, as their annotations say."""

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from consumers.tables.loadbalancer import (
    LoadBalancer,
    LoadBalancerBackend,
    LoadBalancerFrontend,
    LoadBalancerKey,
    LoadBalancers,
    backends_of,
    derive_loadbalancer,
)
from statedb import Database, Snapshot
from statedb.catalog import Backend, BackendKey, Backends, Frontend, Service, ServiceKey, Services
from statedb.testing import histories

from ..running.driving import Driver
from ..running.equation import assert_kept_up
from .clusters import backends, services

HERE, THERE = "c2", "c3"


def naive(snapshot: Snapshot) -> dict[LoadBalancerKey, LoadBalancer]:
    """Row by row, by what each rule says alone."""
    found = {}
    for own in snapshot[Services].values():
        if own.key.cluster != HERE:
            continue
        key = LoadBalancerKey(own.key.namespace, own.key.name)
        clusters = [HERE]
        for other in ("c1", THERE):
            service = snapshot[Services].get(ServiceKey(other, key.namespace, key.name))
            has_backends = any(
                (row.key.cluster, row.key.namespace, row.key.service) == (other, key.namespace, key.name)
                for row in snapshot[Backends].values()
            )
            if own.include_external and (has_backends if service is None else service.shared):
                clusters.append(other)
        rows = [
            row
            for row in snapshot[Backends].values()
            if row.key.cluster in clusters and (row.key.namespace, row.key.service) == (key.namespace, key.name)
        ]
        rows.sort(key=lambda row: row.key.cluster, reverse=True)
        rows.sort(key=lambda row: row.key.cluster == HERE)  # the winner comes last
        by_place = {(row.key.ip, row.key.port, row.key.protocol): row for row in rows}
        usable = sorted(
            LoadBalancerBackend(*place, row.port_names, row.key.cluster, row.ready)
            for place, row in by_place.items()
            if row.ready or (row.terminating and row.serving)
        )
        frontends = {}
        for each in own.frontends:
            place = (each.ip, each.port, each.protocol)
            names = sorted(f.port_name for f in own.frontends if (f.ip, f.port, f.protocol) == place)
            fit = [b for b in usable if b.protocol == each.protocol and (":" in b.ip) is (":" in each.ip)]
            fit = [
                b for b in fit if "" in names or not set(b.port_names) - {""} or set(names) & set(b.port_names) - {""}
            ]
            best = min([quality(own, b) for b in fit], default=None)
            frontends[place] = LoadBalancerFrontend(
                *place, tuple(names), tuple([b for b in fit if quality(own, b) == best])
            )
        found[key] = LoadBalancer(key, tuple(sorted(frontends.values())), tuple(usable), tuple(sorted(clusters)))
    return found


def quality(own: Service, backend: LoadBalancerBackend) -> tuple[bool, bool]:
    """Ready ones first, then those of the preferred side."""
    away = {"local": backend.cluster != HERE, "remote": backend.cluster == HERE}.get(own.affinity, False)
    return not backend.ready, away


@settings(max_examples=150, deadline=None)
@given(
    history=histories({Services: services, Backends: backends}, max_size=10),
    rests=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_kept_up_incrementally_equals_computed_afresh(history, rests):
    db = Database(Services, Backends)
    assert_kept_up(db, [derive_loadbalancer(db, HERE)], history, rests, naive)


class Rig:
    def __init__(self) -> None:
        self.db = Database(Services, Backends)
        self.driver = Driver(derive_loadbalancer(self.db, HERE))

    def service(self, cluster: str, *frontends: Frontend, **fields: Any) -> None:
        with self.db.write(Services) as txn:
            txn[Services].insert(Service(ServiceKey(cluster, "test", "echo"), tuple(sorted(frontends)), **fields))

    def backend(
        self, cluster: str, ip: str, port: int = 8080, names: tuple[str, ...] = ("http",), **fields: Any
    ) -> None:
        with self.db.write(Backends) as txn:
            txn[Backends].insert(Backend(BackendKey(cluster, "test", "echo", ip, port, "TCP"), names, **fields))

    def used(self, ip: str = "10.96.50.104", port: int = 80) -> list[str] | None:
        self.driver.settle()
        found = backends_of(self.db.snapshot(), ip, port, "TCP")
        return None if found is None else [f"{each.ip}:{each.port}" for each in found]

    def row(self) -> LoadBalancer | None:
        self.driver.settle()
        return self.db.snapshot()[LoadBalancers].get(LoadBalancerKey("test", "echo"))


@pytest.fixture
def rig() -> Rig:
    """One backend in each cluster."""
    rig = Rig()
    rig.service(HERE, Frontend("10.96.50.104", "http", "TCP", 80))
    rig.service(THERE, Frontend("10.97.1.1", "http", "TCP", 80))
    rig.backend(HERE, "10.244.1.1")
    rig.backend(THERE, "10.245.1.1")
    return rig


def test_backends_of_all_clusters_are_merged(rig):
    assert rig.used() == ["10.244.1.1:8080", "10.245.1.1:8080"]
    assert rig.used("10.97.1.1") is None  # an address of another cluster
    row = rig.row()
    assert row is not None
    assert row.clusters == (HERE, THERE)


def test_a_service_that_only_others_have_is_not_there(rig):
    with rig.db.write(Services) as txn:
        txn[Services].delete(ServiceKey(HERE, "test", "echo"))
    assert rig.row() is None
    rig.service(HERE, Frontend("10.96.50.104", "http", "TCP", 80))
    assert rig.used() == ["10.244.1.1:8080", "10.245.1.1:8080"]


def test_what_is_not_shared_stays_at_home(rig):
    rig.service(THERE, shared=False)
    assert rig.used() == ["10.244.1.1:8080"]
    rig.service(HERE, Frontend("10.96.50.104", "http", "TCP", 80), shared=False)  # its own it uses all the same
    rig.service(THERE)
    assert rig.used() == ["10.244.1.1:8080", "10.245.1.1:8080"]


def test_external_ones_only_where_they_are_included(rig):
    rig.service(HERE, Frontend("10.96.50.104", "http", "TCP", 80), include_external=False)
    assert rig.used() == ["10.244.1.1:8080"]


def test_a_cluster_that_exports_slices_only_has_backends_and_no_service(rig):
    with rig.db.write(Services) as txn:
        txn[Services].delete(ServiceKey(THERE, "test", "echo"))
    assert rig.used() == ["10.244.1.1:8080", "10.245.1.1:8080"]
    with rig.db.write(Backends) as txn:
        txn[Backends].delete(BackendKey(THERE, "test", "echo", "10.245.1.1", 8080, "TCP"))
    assert rig.used() == ["10.244.1.1:8080"]


def test_an_address_of_ours_that_takes_no_traffic_is_not_served_by_a_remote_claim_of_it(rig):
    rig.backend(HERE, "10.244.1.1", ready=False, serving=False)
    rig.backend(THERE, "10.244.1.1")
    assert rig.used() == ["10.245.1.1:8080"]


def test_a_backend_that_is_not_ready_and_does_not_terminate_is_never_used(rig):
    rig.backend(HERE, "10.244.1.1", ready=False, serving=True)
    rig.backend(THERE, "10.245.1.1", ready=False, serving=True)
    assert rig.used() == []


@pytest.mark.parametrize(
    ("affinity", "all_ready", "own_not_ready", "others_not_ready"),
    [
        ("", ["10.244.1.1:8080", "10.245.1.1:8080"], ["10.245.1.1:8080"], ["10.244.1.1:8080"]),
        ("local", ["10.244.1.1:8080"], ["10.245.1.1:8080"], ["10.244.1.1:8080"]),
        ("remote", ["10.245.1.1:8080"], ["10.245.1.1:8080"], ["10.244.1.1:8080"]),
    ],
)
def test_affinity_prefers_a_side_while_it_has_ready_backends(rig, affinity, all_ready, own_not_ready, others_not_ready):
    rig.service(HERE, Frontend("10.96.50.104", "http", "TCP", 80), affinity=affinity)
    assert rig.used() == all_ready
    rig.backend(HERE, "10.244.1.1", ready=False, terminating=True)
    assert rig.used() == own_not_ready
    rig.backend(HERE, "10.244.1.1")
    rig.backend(THERE, "10.245.1.1", ready=False, serving=False)
    assert rig.used() == others_not_ready


def test_terminating_backends_are_used_where_there_are_no_others(rig):
    rig.backend(THERE, "10.245.1.1", ready=False, serving=True, terminating=True)
    assert rig.used() == ["10.244.1.1:8080"]
    rig.backend(HERE, "10.244.1.1", ready=False, serving=False)
    assert rig.used() == ["10.245.1.1:8080"]
    rig.backend(THERE, "10.245.1.1", ready=False, serving=False)
    assert rig.used() == []


def test_several_port_names_on_one_port_are_one_frontend_and_one_backend():
    rig = Rig()
    rig.service(HERE, Frontend("10.96.0.1", "http", "TCP", 80), Frontend("10.96.0.1", "web", "TCP", 80))
    rig.backend(HERE, "10.244.1.1", names=("http", "web"))
    rig.backend(HERE, "10.244.1.2", names=("web",))
    rig.backend(HERE, "10.244.1.3", names=("metrics",))
    assert rig.used("10.96.0.1") == ["10.244.1.1:8080", "10.244.1.2:8080"]
    row = rig.row()
    assert row is not None
    assert [each.port_names for each in row.frontends] == [("http", "web")]


def test_an_unnamed_port_takes_backends_of_any_name():
    rig = Rig()
    rig.service(HERE, Frontend("10.96.0.1", "", "TCP", 80))
    rig.backend(HERE, "10.244.1.1", names=("",))
    rig.backend(HERE, "10.244.1.2", names=("http",))
    assert rig.used("10.96.0.1") == ["10.244.1.1:8080", "10.244.1.2:8080"]


def test_a_backend_without_a_name_serves_ports_of_any_name():
    """Found beside Cilium's own tables: with a name of its own as well, only that one counts."""
    rig = Rig()
    rig.service(HERE, Frontend("10.96.0.1", "http", "TCP", 80))
    rig.backend(HERE, "10.244.1.1", names=("",))
    rig.backend(HERE, "10.244.1.2", names=("", "metrics"))
    assert rig.used("10.96.0.1") == ["10.244.1.1:8080"]


def test_each_family_has_its_own_backends():
    rig = Rig()
    rig.service(HERE, Frontend("10.96.0.1", "http", "TCP", 80), Frontend("fd00:96::1", "http", "TCP", 80))
    rig.backend(HERE, "10.244.1.1")
    rig.backend(HERE, "fd00::1")
    assert rig.used("10.96.0.1") == ["10.244.1.1:8080"]
    assert rig.used("fd00:96::1") == ["fd00::1:8080"]


def test_a_headless_service_has_backends_and_no_frontends():
    rig = Rig()
    rig.service(HERE)
    rig.backend(HERE, "10.244.1.1", hostname="web-0")
    row = rig.row()
    assert row is not None
    assert row.frontends == ()
    assert [(each.ip, each.hostname) for each in row.backends] == [("10.244.1.1", "web-0")]


def test_one_address_in_two_remote_clusters_is_that_of_the_first_by_name(rig):
    rig.service("c1")
    rig.backend("c1", "10.245.1.1", source="clustermesh")
    rig.backend(THERE, "10.245.1.1", source="local")
    row = rig.row()
    assert row is not None
    assert [each.cluster for each in row.backends] == [HERE, "c1"]


def test_one_address_in_two_clusters_is_the_local_one(rig):
    rig.service("c1")
    rig.backend("c1", "10.244.1.1")
    rig.backend(THERE, "10.244.1.1", names=("http", "other"))
    row = rig.row()
    assert row is not None
    assert [(each.ip, each.cluster) for each in row.backends] == [("10.244.1.1", HERE), ("10.245.1.1", THERE)]
