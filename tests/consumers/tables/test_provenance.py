"""Rows of remote clusters never change an answer about what the local cluster claims; conflicts are a table."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import msgspec
from hypothesis import given, settings, strategies as st

from consumers.tables.conflicts import Conflict, ConflictKey, Conflicts, derive_conflicts
from consumers.tables.ipcache import IPCache, derive_ipcache, lookup
from consumers.tables.loadbalancer import LoadBalancers, derive_loadbalancer
from consumers.tables.node_ips import node_ips
from consumers.tables.routes import Routes, derive_routes
from statedb import Database, Snapshot
from statedb.catalog import (
    Backend,
    Backends,
    Endpoint,
    EndpointKey,
    Endpoints,
    Node,
    NodeAddress,
    NodeKey,
    Nodes,
    Services,
)
from statedb.testing import histories

from ..running.driving import Driver
from ..running.equation import assert_kept_up
from .clusters import backends, endpoints, nodes, services

LOCAL = "c2"
TABLES = (Endpoints, Nodes, Services, Backends)
ROWS = {Endpoints: endpoints, Nodes: nodes, Services: services, Backends: backends}


@dataclass
class Rig:
    """The derived tables of cluster c2."""

    db: Database
    drivers: list[Driver]

    def write(self, *rows: Any) -> None:
        by_type = {table.row_type: table for table in TABLES}
        with self.db.write(*TABLES) as txn:
            for row in rows:
                txn[by_type[type(row)]].insert(row)
        self.settle()

    def settle(self) -> Snapshot:
        for driver in self.drivers:
            driver.settle()
        return self.db.snapshot()


def rig() -> Rig:
    db = Database(*TABLES)
    made = [derive_ipcache(db, LOCAL, local_node="n1"), derive_routes(db, LOCAL), derive_loadbalancer(db, LOCAL)]
    return Rig(db, [Driver(each) for each in [*made, derive_conflicts(db, LOCAL, wall=lambda: 7.0)]])


def answers(snapshot: Snapshot, local: list[Any]) -> dict[Any, Any]:
    """What the tables say of everything that the local cluster claims by itself."""
    found: dict[Any, Any] = {}
    for row in local:
        if isinstance(row, Endpoint):
            network = ip_network(row.key.ip)
            if network.prefixlen == network.max_prefixlen:
                found["ipcache", row.key.ip] = lookup(snapshot, str(network.network_address))
            else:
                found["ipcache", row.key.ip] = snapshot[IPCache].get(row.key.ip)
        elif isinstance(row, Node):
            for ip in Nodes.by_ip.keys_of(row):
                found["ipcache", ip] = lookup(snapshot, ip)
            for cidr in row.pod_cidrs if any(node_ips(row)) else ():
                for address in (ip_network(cidr)[0], ip_network(cidr)[1], ip_network(cidr)[-1]):
                    found["routes", str(address)] = snapshot[Routes.by_network].longest(address)
        elif isinstance(row, Backend):
            place = row.key.ip, row.key.port, row.key.protocol
            for balancer in snapshot[LoadBalancers].values():
                if (balancer.key.namespace, balancer.key.name) == (row.key.namespace, row.key.service):
                    used = [each for each in balancer.backends if (each.ip, each.port, each.protocol) == place]
                    found[balancer.key, place] = used
    return found


def of(cluster_is_local: bool) -> st.SearchStrategy[list[Any]]:
    rows = st.lists(st.one_of(list(ROWS.values())), max_size=8)
    return rows.map(lambda found: [each for each in found if (each.key.cluster == LOCAL) is cluster_is_local])


@settings(max_examples=200, deadline=None)
@given(local=of(True), remote=of(False), remote_first=st.booleans())
def test_nothing_that_a_remote_cluster_publishes_changes_an_answer_about_local_claims(local, remote, remote_first):
    alone, both = rig(), rig()
    alone.write(*local)
    for rows in (remote, local) if remote_first else (local, remote):
        both.write(*rows)
    last = list({(type(row), row.key): row for row in local}.values())
    assert answers(both.settle(), last) == answers(alone.settle(), last)


def naive(snapshot: Snapshot) -> dict[ConflictKey, Conflict]:
    """All claims of all rows; those of more than one cluster."""
    claims: dict[ConflictKey, list[tuple[bool, int, str]]] = {}

    def claim(table: str, key: str, cluster: str, order: int = 0) -> None:
        claims.setdefault(ConflictKey(table, key), []).append((cluster != LOCAL, order, cluster))

    for row in snapshot[Endpoints].values():
        network = ip_network(row.key.ip)
        whole = network.prefixlen == network.max_prefixlen
        claim("ipcache", str(network.network_address) if whole else str(network), row.key.cluster)
    for node in snapshot[Nodes].values():
        roles = [[each.ip for each in node.addresses if each.ip], node.health_ips, node.ingress_ips]
        last = {ip: order for order, ips in enumerate(roles, 1) for ip in ips}  # of several roles the last one counts
        for ip, order in last.items():
            claim("ipcache", ip, node.key.cluster, order)
        for cidr in node.pod_cidrs if any(node_ips(node)) else ():
            claim("routes", cidr, node.key.cluster)
    for key in [key for key in claims if key.table == "routes"]:
        for node in snapshot[Nodes].values():
            if node.key.cluster == LOCAL and any(node_ips(node)):
                inner = ip_network(key.key)
                outer = [ip_network(each) for each in node.pod_cidrs]
                if any(each.version == inner.version and inner.subnet_of(each) for each in outer):  # type: ignore[arg-type]
                    claim(key.table, key.key, LOCAL)
    for backend in snapshot[Backends].values():
        of = backend.key
        claim("loadbalancer", f"{of.namespace}/{of.service} {of.ip} {of.port} {of.protocol}", of.cluster)
    found = {}
    for key, several in claims.items():
        winner = min(several)[2]
        losers = sorted({cluster for _, _, cluster in several} - {winner})
        if losers:
            found[key] = Conflict(key, winner, tuple(losers), 7.0)
    return found


@settings(max_examples=100, deadline=None)
@given(
    history=histories({Endpoints: endpoints, Nodes: nodes, Backends: backends}, max_size=10),
    rests=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_conflicts_kept_up_incrementally_equal_those_computed_afresh(history, rests):
    db = Database(*TABLES)
    assert_kept_up(db, [derive_conflicts(db, LOCAL, wall=lambda: 7.0)], history, rests, naive)


def test_a_conflict_is_told_once_counted_and_dated_until_it_ends(caplog):
    db = Database(*TABLES)
    clock = iter([10.0, 20.0])
    derivation = derive_conflicts(db, LOCAL, wall=lambda: next(clock))
    driver = Driver(derivation)
    at = Rig(db, [driver])
    key = ConflictKey("ipcache", "10.0.0.1")
    with caplog.at_level(logging.WARNING, "statedb.consumers"):
        at.write(Endpoint(EndpointKey("c1", "10.0.0.1")), Endpoint(EndpointKey(LOCAL, "10.0.0.1")))
        assert dict(db.snapshot()[Conflicts]) == {key: Conflict(key, LOCAL, ("c1",), 10.0)}
        at.write(Endpoint(EndpointKey("c3", "10.0.0.1")))
        assert db.snapshot()[Conflicts][key] == Conflict(key, LOCAL, ("c1", "c3"), 10.0)
        with db.write(Endpoints) as txn:
            txn[Endpoints].delete(EndpointKey("c1", "10.0.0.1"))
            txn[Endpoints].delete(EndpointKey("c3", "10.0.0.1"))
        at.settle()
        assert not db.snapshot()[Conflicts]
        at.write(Endpoint(EndpointKey("c1", "10.0.0.1")))
    assert db.snapshot()[Conflicts][key].since == 20.0
    assert derivation.total == 2
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "clusters c2 and c1 both claim 10.0.0.1",
        "clusters c2 and c3 both claim 10.0.0.1",
    ]


def test_a_piece_of_our_pod_network_is_not_taken_over():
    at = rig()
    ours = Node(NodeKey(LOCAL, "n1"), (NodeAddress("InternalIP", "172.18.0.1"),), ("10.0.0.0/24",))
    theirs = Node(NodeKey("c1", "a"), (NodeAddress("InternalIP", "172.18.0.9"),), ("10.0.0.0/25", "10.9.0.0/24"))
    at.write(theirs)
    at.write(ours)
    snapshot = at.settle()
    assert [route.node.cluster for route in snapshot[Routes.by_network].longest("10.0.0.7")] == [LOCAL]
    assert snapshot[Routes]["10.9.0.0/24"].node == theirs.key
    conflict = snapshot[Conflicts][ConflictKey("routes", "10.0.0.0/25")]
    assert (conflict.winner, conflict.losers) == (LOCAL, ("c1",))
    at.write(msgspec.structs.replace(ours, pod_cidrs=()))
    assert [route.node.cluster for route in at.settle()[Routes.by_network].longest("10.0.0.7")] == ["c1"]
