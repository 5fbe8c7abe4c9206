"""Which node serves a pod network: the routes of all clusters, gone with their node.

Where several nodes claim a network, the strongest source wins, then the first by name; a node without an address that
others could send to serves none.
"""

from __future__ import annotations

import msgspec

from statedb import Database, Index, PrefixIndex, Table, UniqueIndex
from statedb.catalog import Node, NodeKey, Nodes

from ..running.derivation import Cut, Derivation, derive
from ..running.follower import Report
from .node_ips import node_ips
from .precedence import rank


class Route(msgspec.Struct, frozen=True, gc=False):
    """A pod network and its node's address in each family, empty where the node has none of that family."""

    pod_cidr: str
    node: NodeKey
    ipv4: str = ""
    ipv6: str = ""
    encryption_key: int = 0
    source: str = ""

    @property
    def via(self) -> str:
        """The node's address of the network's own family; empty where only the other one can carry it."""
        return self.ipv6 if ":" in self.pod_cidr else self.ipv4


class Routes(Table[str, Route], name="routes"):
    """One row per pod network."""

    primary = UniqueIndex[str, Route](lambda route: route.pod_cidr)
    by_node = Index[NodeKey, Route](lambda route: (route.node,))
    by_network = PrefixIndex[str, Route](lambda route: (route.pod_cidr,))


def derive_routes(db: Database, *, report: Report | None = None) -> Derivation[str, Route]:
    """Keeps the table ``Routes``."""
    return derive(db, Routes, _route, {Nodes: lambda _, node: node.pod_cidrs}, name="routes", report=report)


def _route(cut: Cut, pod_cidr: str) -> Route | None:
    able = [node for node in cut[Nodes.by_pod_cidr][pod_cidr] if any(node_ips(node))]
    if not able:
        return None
    node = min(able, key=_who_wins)
    ips = node_ips(node)
    return Route(pod_cidr, node.key, ips.ipv4, ips.ipv6, node.encryption_key, node.source)


def _who_wins(node: Node) -> tuple[int, NodeKey]:
    return rank(node.source), node.key
