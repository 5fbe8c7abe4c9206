"""The ipcache: every address has the entry of its strongest claim, the longest match is found, from any thread."""

import threading
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given, settings, strategies as st

from consumers.tables.ipcache import IPCache, IPEntry, derive_ipcache, lookup
from consumers.tables.precedence import precedence
from statedb import Database, Snapshot
from statedb.catalog import Endpoint, EndpointKey, Endpoints, Node, NodeAddress, NodeKey, Nodes
from statedb.testing import histories

from ..running.driving import Driver
from ..running.equation import assert_kept_up
from .clusters import endpoints, nodes

SOON = 20.0
CLUSTER = "c2"
LOCAL = NodeKey(CLUSTER, "n1")
rests = st.lists(st.booleans(), min_size=10, max_size=10)


def is_remote(row: Endpoint | Node) -> bool:
    return row.key.cluster != CLUSTER


def naive(snapshot: Snapshot) -> dict[str, IPEntry]:
    """All claims of all rows, the strongest of each network."""
    claims: dict[str, list[Any]] = {}
    for row in snapshot[Endpoints].values():
        network = str(ip_network(row.key.ip))
        network = network.removesuffix("/128" if ":" in network else "/32")
        entry = IPEntry(
            network, row.identity, row.host_ip, row.encryption_key, row.key.cluster, row.namespace, row.pod, row.source
        )
        claims.setdefault(network, []).append(
            (
                is_remote(row),
                False,
                precedence(CLUSTER, row.key.cluster, row.source),
                0,
                row.key.cluster,
                row.key.ip,
                entry,
            )
        )
    for node in snapshot[Nodes].values():
        strength = precedence(CLUSTER, node.key.cluster, node.source)
        whose = {each.ip: (1, 1 if node.key == LOCAL else 6) for each in node.addresses if each.ip}
        whose |= dict.fromkeys(node.health_ips, (2, 4)) | dict.fromkeys(node.ingress_ips, (3, 8))
        for ip, (order, identity) in whose.items():
            same = [each for each in node.addresses if each.ip and (":" in each.ip) == (":" in ip)]
            internal = [each.ip for each in same if each.type == "InternalIP"]
            external = [each.ip for each in same if each.type == "ExternalIP"]
            host_ip = (internal + external + [""])[0]
            entry = IPEntry(ip, identity, host_ip, node.encryption_key, node.key.cluster, source=node.source)
            claims.setdefault(ip, []).append(
                (is_remote(node), True, strength, order, node.key.cluster, node.key.name, entry)
            )
    return {network: min(found, key=lambda claim: claim[:6])[6] for network, found in claims.items()}


@settings(max_examples=100, deadline=None)
@given(history=histories({Endpoints: endpoints, Nodes: nodes}, max_size=10), rests=rests)
def test_kept_up_incrementally_equals_computed_afresh(history, rests):
    db = Database(Endpoints, Nodes)
    assert_kept_up(db, [derive_ipcache(db, CLUSTER, local_node=LOCAL.name)], history, rests, naive)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(endpoints, max_size=10),
    asked=st.lists(st.sampled_from(["10.0.0.1", "10.0.0.9", "10.1.2.3", "11.1.1.1", "fd00::1", "fd00::9", "::1"])),
)
def test_the_longest_match_is_found(rows, asked):
    db = Database(Endpoints, Nodes)
    with db.write(Endpoints) as txn:
        for row in rows:
            txn[Endpoints].insert(row)
    Driver(derive_ipcache(db, CLUSTER)).settle()
    snapshot = db.snapshot()
    for text in asked:
        address = ip_address(text)
        covering = [row for row in snapshot[IPCache].values() if address in ip_network(row.network)]
        best = max(covering, key=lambda row: ip_network(row.network).prefixlen, default=None)
        assert lookup(snapshot, text) == best == lookup(snapshot, address.packed)


def claim(cluster: str, identity: int, source: str) -> Endpoint:
    return Endpoint(EndpointKey(cluster, "10.0.0.1"), identity, source=source)


def test_the_local_cluster_wins_whatever_remote_ones_say_of_their_sources_and_they_take_over_when_it_goes():
    db = Database(Endpoints, Nodes)
    driver = Driver(derive_ipcache(db, CLUSTER))
    for row in (claim("c1", 1, "clustermesh"), claim("c2", 2, "unspec"), claim("c3", 3, "local")):
        with db.write(Endpoints) as txn:
            txn[Endpoints].insert(row)
        driver.settle()
    assert found(db).identity == 2
    with db.write(Endpoints) as txn:
        txn[Endpoints].delete(EndpointKey("c2", "10.0.0.1"))
    driver.settle()
    assert found(db).identity == 1  # of two remote clusters the first by name
    with db.write(Endpoints) as txn:
        txn[Endpoints].clear()
    driver.settle()
    assert lookup(db.snapshot(), "10.0.0.1") is None


def found(db: Database) -> IPEntry:
    entry = lookup(db.snapshot(), "10.0.0.1")
    assert entry is not None
    return entry


def test_an_endpoint_wins_over_a_node_of_its_cluster_and_of_a_nodes_roles_the_last_counts():
    """Found beside Cilium's own cache: sources decide only among endpoints, and among nodes."""
    db = Database(Endpoints, Nodes)
    driver = Driver(derive_ipcache(db, CLUSTER))
    addresses = (NodeAddress("InternalIP", "10.0.0.1"),)
    with db.write(Endpoints, Nodes) as txn:
        txn[Endpoints].insert(claim(CLUSTER, 7, "custom-resource"))
        txn[Nodes].insert(Node(NodeKey(CLUSTER, "n2"), addresses, health_ips=("10.0.0.1",), source="kvstore"))
    driver.settle()
    assert found(db).identity == 7
    with db.write(Endpoints) as txn:
        txn[Endpoints].clear()
    driver.settle()
    assert found(db).identity == 4
    with db.write(Nodes) as txn:
        txn[Nodes].insert(Node(NodeKey(CLUSTER, "n3"), addresses, source="kvstore"))
    driver.settle()
    assert found(db).identity == 6


def test_nodes_have_their_reserved_identities():
    db = Database(Endpoints, Nodes)
    driver = Driver(derive_ipcache(db, CLUSTER, local_node=LOCAL.name))
    with db.write(Nodes) as txn:
        for name in ("n1", "n2"):
            last = name[1]
            txn[Nodes].insert(
                Node(
                    NodeKey(CLUSTER, name),
                    (NodeAddress("InternalIP", f"172.18.0.{last}"), NodeAddress("CiliumInternalIP", f"10.0.{last}.1")),
                    health_ips=(f"10.0.{last}.2",),
                    ingress_ips=(f"10.0.{last}.3",),
                    encryption_key=5,
                )
            )
    driver.settle()
    snapshot = db.snapshot()
    of = {row.network: (row.identity, row.host_ip, row.encryption_key) for row in snapshot[IPCache].values()}
    assert of == {
        "172.18.0.1": (1, "172.18.0.1", 5),
        "10.0.1.1": (1, "172.18.0.1", 5),
        "10.0.1.2": (4, "172.18.0.1", 5),
        "10.0.1.3": (8, "172.18.0.1", 5),
        "172.18.0.2": (6, "172.18.0.2", 5),
        "10.0.2.1": (6, "172.18.0.2", 5),
        "10.0.2.2": (4, "172.18.0.2", 5),
        "10.0.2.3": (8, "172.18.0.2", 5),
    }


def test_many_threads_look_up_while_updates_run():
    """An address that moves from cluster to cluster in one transaction is always there, with one of the two."""
    db = Database(Endpoints, Nodes)
    wrong: list[Any] = []
    done = threading.Event()
    with db.write(Endpoints) as txn:
        txn[Endpoints].insert(claim("c1", 1, "k8s"))
        txn[Endpoints].insert(Endpoint(EndpointKey("c1", "10.0.0.0/8"), 8))

    def look() -> None:
        while not done.is_set():
            entry = lookup(db.snapshot(), "10.0.0.1")
            if entry is None or (entry.cluster, entry.identity) not in {("c1", 1), ("c2", 2)}:
                wrong.append(entry)

    with derive_ipcache(db, CLUSTER) as derivation:
        assert derivation.wait_applied(timeout=SOON)
        readers = [threading.Thread(target=look) for _ in range(4)]
        for reader in readers:
            reader.start()
        for number in range(200):
            old, new = (claim("c1", 1, "k8s"), claim("c2", 2, "k8s"))[:: 1 if number % 2 else -1]
            with db.write(Endpoints) as txn:
                txn[Endpoints].delete(old.key)
                txn[Endpoints].insert(new)
        assert derivation.wait_applied(timeout=SOON)
        done.set()
        for reader in readers:
            reader.join()
    assert not wrong
