"""The addresses under which other nodes reach a node. Pure."""

from __future__ import annotations

from typing import NamedTuple

from statedb.catalog import Node

_REACHED_BY = ("InternalIP", "ExternalIP")


class NodeIPs(NamedTuple):
    """One address per family; empty if the node has none."""

    ipv4: str
    ipv6: str

    def of_family(self, other: str) -> str:
        """The address of the same family as another address or network."""
        return self.ipv6 if ":" in other else self.ipv4


def node_ips(node: Node) -> NodeIPs:
    """The first internal address of each family, or the first external one."""
    found = [each.ip for kind in _REACHED_BY for each in node.addresses if each.type == kind and each.ip]
    ipv4 = next((ip for ip in found if ":" not in ip), "")
    ipv6 = next((ip for ip in found if ":" in ip), "")
    return NodeIPs(ipv4, ipv6)
