"""Which backends a frontend's traffic goes to: our `loadbalancer` beside Cilium's load balancing tables and mesh."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import event, given

from consumers.tables.loadbalancer import LoadBalancers, derive_loadbalancer
from statedb import Database
from statedb.catalog import Backends, Services
from statedb.catalog.wire import crds, services as wire

from ..consumers.running.driving import Driver
from . import services
from .asking import Oracle, cases

World = dict[str, list[dict[str, Any]]]
IDS = {"c1": 0, **services.CLUSTERS}
"""Cilium's load balancer calls the local cluster 0."""


def ours(world: World) -> dict[str, list[str]]:
    """The backends of each frontend of the local cluster, as the consumer keeps them up."""
    db = Database(Services, Backends)
    driver = Driver(derive_loadbalancer(db, "c1"))
    slices = [crds.endpoint_slice(each, "c1") for each in world["slices"]]
    for value in world["services"]:
        (row,) = crds.service(value, "c1", 1)
        with db.write(Services, Backends) as txn:
            txn[Services].insert(row)
            of_row = [each for each in slices if each and each[0].service == row.key]
            txn[Backends].insert_all(crds.join(row, of_row))
        driver.settle()
    for value in world["shared"]:
        name = f"{value['cluster']}/{value['namespace']}/{value['name']}"
        row, backends = wire.decode(value["cluster"], name, json.dumps(value).encode())
        with db.write(Services, Backends) as txn:
            txn[Services].insert(row)
            txn[Backends].insert_all(backends)
        driver.settle()
    return {
        f"{row.key.name} {frontend.ip} {frontend.port} {frontend.protocol}": sorted(
            [f"{each.ip} {each.port} {each.protocol} of {IDS[each.cluster]}" for each in frontend.backends]
        )
        for row in db.snapshot()[LoadBalancers].values()
        for frontend in row.frontends
    }


def theirs(oracle: Oracle, world: World) -> list[dict[str, list[str]]]:
    """Cilium's answers, for each order in which the shared services of one name may come."""
    found = []
    for clusters in itertools.permutations(services.CLUSTERS):
        shared = sorted(world["shared"], key=lambda each: clusters.index(each["cluster"]))
        answer = oracle.ask("services", {**world, "shared": shared})
        found.append({each["frontend"]: each["backends"] for each in answer})
    return found


def compare(oracle: Oracle, world: World) -> None:
    """Equal, frontend for frontend; where two remote clusters claim one address, to one of the orders of Cilium."""
    found, answers = ours(world), theirs(oracle, world)
    assert all(found.keys() == answer.keys() for answer in answers)
    for frontend, backends in found.items():
        possible = [answer[frontend] for answer in answers]
        assert backends in possible, frontend
        event(f"depends on the order: {any(each != possible[0] for each in possible)}")
        event(f"frontend with backends: {bool(backends)}")


@cases()
@given(world=services.worlds)
def test_our_frontends_have_the_backends_that_ciliums_have(oracle: Oracle, world: World) -> None:
    compare(oracle, world)


@pytest.mark.stress
@cases(5000)
@given(world=services.worlds)
def test_our_frontends_have_the_backends_that_ciliums_have_for_long(oracle: Oracle, world: World) -> None:
    compare(oracle, world)
