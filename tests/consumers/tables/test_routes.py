"""Routes: every pod network leads to its node, in each family, of every cluster, and goes with the node."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from hypothesis import given, settings, strategies as st

from consumers.tables.precedence import precedence
from consumers.tables.routes import Route, Routes, derive_routes
from statedb import Database, Snapshot
from statedb.catalog import Node, NodeAddress, NodeKey, Nodes
from statedb.testing import histories

from ..running.driving import Driver
from ..running.equation import assert_kept_up
from .clusters import nodes

LOCAL = "c2"


def naive(snapshot: Snapshot) -> dict[str, Route]:
    found: dict[str, Route] = {}
    own: list[IPv4Network | IPv6Network] = []
    for node in sorted(
        snapshot[Nodes].values(), key=lambda node: (precedence(LOCAL, node.key.cluster, node.source), node.key)
    ):
        reached: dict[bool, str] = {}
        for kind in ("InternalIP", "ExternalIP"):
            for each in node.addresses:
                if each.type == kind and each.ip:
                    reached.setdefault(":" in each.ip, each.ip)
        for cidr in node.pod_cidrs:
            network = ip_network(cidr)
            if reached and node.key.cluster == LOCAL:
                own.append(network)
            elif any(each.version == network.version and network.subnet_of(each) for each in own):  # type: ignore[arg-type]
                continue
            if reached:
                route = Route(
                    cidr, node.key, reached.get(False, ""), reached.get(True, ""), node.encryption_key, node.source
                )
                found.setdefault(cidr, route)
    return found


@settings(max_examples=100, deadline=None)
@given(history=histories({Nodes: nodes}, max_size=10), rests=st.lists(st.booleans(), min_size=10, max_size=10))
def test_kept_up_incrementally_equals_computed_afresh(history, rests):
    db = Database(Nodes)
    assert_kept_up(db, [derive_routes(db, LOCAL)], history, rests, naive)


def node(cluster: str, *ips: str, cidrs: tuple[str, ...]) -> Node:
    return Node(NodeKey(cluster, "n"), tuple([NodeAddress("InternalIP", ip) for ip in ips]), cidrs)


def test_routes_of_all_clusters_go_with_their_nodes():
    db = Database(Nodes)
    driver = Driver(derive_routes(db, "c1"))
    with db.write(Nodes) as txn:
        txn[Nodes].insert(node("c1", "172.18.0.1", "fc00::1", cidrs=("10.1.0.0/24", "fd00:1::/64")))
        txn[Nodes].insert(node("c2", "172.18.0.2", cidrs=("10.2.0.0/24", "fd00:2::/64")))
    driver.settle()
    snapshot = db.snapshot()
    assert {row.pod_cidr: row.via for row in snapshot[Routes].values()} == {
        "10.1.0.0/24": "172.18.0.1",
        "fd00:1::/64": "fc00::1",
        "10.2.0.0/24": "172.18.0.2",
        "fd00:2::/64": "",  # only IPv4 leads there
    }
    assert snapshot[Routes]["fd00:2::/64"].ipv4 == "172.18.0.2"
    (route,) = snapshot[Routes.by_network].longest("10.2.0.7")
    assert route.node == NodeKey("c2", "n")
    with db.write(Nodes) as txn:
        txn[Nodes].delete(NodeKey("c2", "n"))
    driver.settle()
    assert list(db.snapshot()[Routes]) == ["10.1.0.0/24", "fd00:1::/64"]
