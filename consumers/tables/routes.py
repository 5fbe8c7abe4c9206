"""Routes: the node of each pod network, for all clusters. A route is deleted with its node.

If several nodes claim a network, a node of the local cluster wins (`precedence`), then the first by cluster and name. A
node without a reachable address has no routes. A network of a remote cluster inside a network of the local cluster gets
no route, because its longer prefix would capture traffic of the local cluster.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from statedb import Database, Index, PrefixIndex, Table, UniqueIndex
from statedb.catalog import Node, NodeKey, Nodes

from ..running.derivation import Derivation, derive
from ..running.follower import Report
from ..running.source_snapshot import SourceSnapshot
from .node_ips import node_ips
from .precedence import precedence


class Route(msgspec.Struct, frozen=True, gc=False):
    """A pod network and the address of its node in each family; empty if the node has none."""

    pod_cidr: str
    node: NodeKey
    ipv4: str = ""
    ipv6: str = ""
    encryption_key: int = 0
    source: str = ""

    @property
    def via(self) -> str:
        """The node's address in the family of the network; empty if it only has one of the other family."""
        return self.ipv6 if ":" in self.pod_cidr else self.ipv4


class Routes(Table[str, Route], name="routes"):
    """One row for each pod network."""

    primary = UniqueIndex[str, Route](lambda route: route.pod_cidr)
    by_node = Index[NodeKey, Route](lambda route: (route.node,))
    by_network = PrefixIndex[str, Route](lambda route: (route.pod_cidr,))


def derive_routes(db: Database, cluster: str, *, report: Report | None = None) -> Derivation[str, Route]:
    """Maintain the table ``Routes``. ``cluster`` is the local cluster, whose claims win over all others."""

    def compute(snapshot: SourceSnapshot, pod_cidr: str) -> Route | None:
        reachable = [node for node in snapshot[Nodes.by_pod_cidr][pod_cidr] if any(node_ips(node))]
        if not reachable:
            return None
        node = min(reachable, key=lambda node: (precedence(cluster, node.key.cluster, node.source), node.key))
        if node.key.cluster != cluster and owner_of_network(snapshot, cluster, pod_cidr) is not None:
            return None
        ips = node_ips(node)
        return Route(pod_cidr, node.key, ips.ipv4, ips.ipv6, node.encryption_key, node.source)

    return derive(
        db,
        Routes,
        compute,
        {Nodes: lambda snapshot, node: affected_networks(snapshot, cluster, node)},
        name="routes",
        report=report,
    )


def owner_of_network(snapshot: SourceSnapshot, local_cluster: str, pod_cidr: str) -> Node | None:
    """A node of the local cluster with this network or a wider one, and a reachable address; None if there is none."""
    nodes = snapshot[Nodes.by_pod_cidr].covering(pod_cidr)
    return next((node for node in nodes if node.key.cluster == local_cluster and any(node_ips(node))), None)


def affected_networks(snapshot: SourceSnapshot, local_cluster: str, node: Node) -> Iterable[str]:
    """The networks whose route a node affects: its own, and for a local node also the networks inside them."""
    if node.key.cluster != local_cluster:
        return node.pod_cidrs
    inside = [other for network in node.pod_cidrs for other in snapshot[Nodes.by_pod_cidr].within(network)]
    return dict.fromkeys([*node.pod_cidrs, *[network for other in inside for network in other.pod_cidrs]])
