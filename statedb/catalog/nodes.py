"""Nodes: the machines of a cluster, their addresses and pod networks. Knows neither etcd nor Kubernetes."""

import msgspec

from statedb import Index, PrefixIndex, Table, UniqueIndex


class NodeKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """A node's name is unique within its cluster."""

    cluster: str
    name: str


class NodeAddress(msgspec.Struct, frozen=True, order=True, gc=False):
    """One address. ``type`` is InternalIP, ExternalIP, CiliumInternalIP, or a kind of host name, which has no ip."""

    type: str
    ip: str


class Node(msgspec.Struct, frozen=True, gc=False):
    """A node as its cluster announces it. Addresses and networks are canonical text, mappings are sorted pairs.

    ``pod_cidrs`` has IPv4 before IPv6, the primary network of each family first. ``encryption_key`` 0 means none.
    ``source`` is who observed the node, in the terms of Cilium: ``custom-resource``, ``local``, ``kvstore``.
    """

    key: NodeKey
    addresses: tuple[NodeAddress, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    health_ips: tuple[str, ...] = ()
    ingress_ips: tuple[str, ...] = ()
    encryption_key: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    wireguard_key: str = ""
    boot_id: str = ""
    cluster_id: int = 0
    source: str = "custom-resource"


class Nodes(Table[NodeKey, Node], name="nodes"):
    """One row for each node of every known cluster."""

    primary = UniqueIndex[NodeKey, Node](lambda node: node.key)
    by_address = Index[str, Node](lambda node: tuple([each.ip for each in node.addresses if each.ip]))
    by_pod_cidr = PrefixIndex[str, Node](lambda node: node.pod_cidrs)
    by_ip = Index[str, Node](
        lambda node: (*[each.ip for each in node.addresses if each.ip], *node.health_ips, *node.ingress_ips)
    )
