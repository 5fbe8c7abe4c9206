"""Nodes in etcd (Node of cilium/cilium pkg/node/types).

    cilium/state/nodes/v1/cluster1/node-1
        ->  {"Name":"node-1","Cluster":"cluster1","IPAddresses":[{"Type":"InternalIP","IP":"172.18.0.2"}], and so on}

A pod network is an address and mask, a text, or null. All three are accepted, and the first is written.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from ..nodes import Node, NodeAddress, NodeKey
from . import _gojson, cidr
from ._errors import WireError
from .addresses import by_family, canonical_or_empty, ipv4_first

_Uint8 = Annotated[int, Meta(ge=0, le=0xFF)]
_Uint32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]


class _Network(msgspec.Struct, forbid_unknown_fields=True, rename={"ip": "IP", "mask": "Mask"}, gc=False):
    ip: str
    mask: bytes


_Cidr = _Network | str | None


class _Address(msgspec.Struct, forbid_unknown_fields=True, rename={"type": "Type", "ip": "IP"}, gc=False):
    type: str
    ip: str


class _Node(
    msgspec.Struct,
    forbid_unknown_fields=True,
    gc=False,
    rename={
        "name": "Name",
        "cluster": "Cluster",
        "addresses": "IPAddresses",
        "ipv4": "IPv4AllocCIDR",
        "ipv4_more": "IPv4SecondaryAllocCIDRs",
        "ipv6": "IPv6AllocCIDR",
        "ipv6_more": "IPv6SecondaryAllocCIDRs",
        "health_ipv4": "IPv4HealthIP",
        "health_ipv6": "IPv6HealthIP",
        "ingress_ipv4": "IPv4IngressIP",
        "ingress_ipv6": "IPv6IngressIP",
        "cluster_id": "ClusterID",
        "source": "Source",
        "encryption_key": "EncryptionKey",
        "labels": "Labels",
        "annotations": "Annotations",
        "wireguard_key": "WireguardPubKey",
        "boot_id": "BootID",
    },
):
    """The value. All fields are always written, in this order."""

    name: str
    cluster: str
    addresses: list[_Address] | None
    ipv4: _Cidr
    ipv4_more: list[_Cidr] | None
    ipv6: _Cidr
    ipv6_more: list[_Cidr] | None
    health_ipv4: str
    health_ipv6: str
    ingress_ipv4: str
    ingress_ipv6: str
    cluster_id: _Uint32
    source: str
    encryption_key: _Uint8
    labels: dict[str, str] | None
    annotations: dict[str, str] | None
    wireguard_key: str
    boot_id: str


_read = _gojson.Reader(_Node)


def decode(cluster: str, name: str, value: bytes, *, cluster_id: int | None = None) -> Node:
    """The node with key ``cluster/node``. Raises WireError.

    Value, key and ``cluster`` must match, and so must ``cluster_id`` if given.
    """
    node = _read(value)
    _check_names(node, cluster, name)
    if cluster_id is not None and node.cluster_id != cluster_id:
        raise WireError(f"ClusterID: unexpected cluster ID: got {node.cluster_id}, expected {cluster_id}")
    return Node(
        key=NodeKey(node.cluster, node.name),
        addresses=_addresses(node.addresses or ()),
        pod_cidrs=_pod_cidrs(node),
        health_ips=_present(node.health_ipv4, node.health_ipv6, "HealthIP"),
        ingress_ips=_present(node.ingress_ipv4, node.ingress_ipv6, "IngressIP"),
        encryption_key=node.encryption_key,
        labels=tuple(sorted((node.labels or {}).items())),
        annotations=tuple(sorted((node.annotations or {}).items())),
        wireguard_key=node.wireguard_key,
        boot_id=node.boot_id,
        cluster_id=node.cluster_id,
        source=node.source,
    )


def encode(node: Node) -> bytes:
    """The value of a node's key."""
    ipv4, ipv6 = by_family(node.pod_cidrs)
    health_ipv4, health_ipv6 = by_family(node.health_ips)
    ingress_ipv4, ingress_ipv6 = by_family(node.ingress_ips)
    return _gojson.encode(
        _Node(
            name=node.key.name,
            cluster=node.key.cluster,
            addresses=[_Address(address.type, address.ip) for address in node.addresses] or None,
            ipv4=_network(ipv4[0]) if ipv4 else None,
            ipv4_more=[_network(each) for each in ipv4[1:]] or None,
            ipv6=_network(ipv6[0]) if ipv6 else None,
            ipv6_more=[_network(each) for each in ipv6[1:]] or None,
            health_ipv4="".join(health_ipv4[:1]),
            health_ipv6="".join(health_ipv6[:1]),
            ingress_ipv4="".join(ingress_ipv4[:1]),
            ingress_ipv6="".join(ingress_ipv6[:1]),
            cluster_id=node.cluster_id,
            source=node.source,
            encryption_key=node.encryption_key,
            labels=dict(sorted(node.labels)) or None,
            annotations=dict(sorted(node.annotations)) or None,
            wireguard_key=node.wireguard_key,
            boot_id=node.boot_id,
        )
    )


def name(node: Node) -> str:
    """The part of the key below the prefix."""
    return f"{node.key.cluster}/{node.key.name}"


def _check_names(node: _Node, cluster: str, key: str) -> None:
    if not node.cluster:
        raise WireError("Cluster: cluster is unset")
    if not node.name:
        raise WireError("Name: name is unset")
    if node.cluster != cluster:
        raise WireError(f"Cluster: unexpected cluster name: got {node.cluster}, expected {cluster}")
    if key != f"{node.cluster}/{node.name}":
        raise WireError(f"Name: {node.cluster}/{node.name} does not match the key, {key}")


def _addresses(addresses: Iterable[_Address]) -> tuple[NodeAddress, ...]:
    return tuple([NodeAddress(each.type, canonical_or_empty(each.ip, "IPAddresses")) for each in addresses])


def _present(ipv4: str, ipv6: str, field: str) -> tuple[str, ...]:
    found = (canonical_or_empty(ipv4, f"IPv4{field}"), canonical_or_empty(ipv6, f"IPv6{field}"))
    return ipv4_first([each for each in found if each])


def _pod_cidrs(node: _Node) -> tuple[str, ...]:
    fields = [
        ("IPv4AllocCIDR", [node.ipv4]),
        ("IPv4SecondaryAllocCIDRs", node.ipv4_more or []),
        ("IPv6AllocCIDR", [node.ipv6]),
        ("IPv6SecondaryAllocCIDRs", node.ipv6_more or []),
    ]
    return ipv4_first([_text(each, field) for field, cidrs in fields for each in cidrs if each is not None])


def _text(network: _Network | str, field: str) -> str:
    try:
        return cidr.network(network) if isinstance(network, str) else cidr.from_mask(network.ip, network.mask)
    except WireError as error:
        raise WireError(f"{field}: {error}") from None


def _network(text: str) -> _Network:
    return _Network(*cidr.mask_of(text))
