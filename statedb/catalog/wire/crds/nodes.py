"""CiliumNode."""

import msgspec

from statedb.catalog.nodes import Node, NodeAddress, NodeKey

from .. import cidr
from .._errors import WireError
from ..addresses import canonical, canonical_or_empty, ipv4_first
from ._objects import Metadata, first_of, named, pairs, read

_WIREGUARD_KEY = ("network.cilium.io/wg-pub-key", "io.cilium.network.wg-pub-key")
"""The annotation, and its older name."""

_NAMES = frozenset({"Hostname", "ExternalDNS", "InternalDNS"})
"""Kinds of addresses that are names: in etcd they stand there without an address."""


class _Address(msgspec.Struct, gc=False):
    type: str = ""
    ip: str = ""


class _Ips(msgspec.Struct, gc=False):
    ipv4: str = ""
    ipv6: str = ""


class _Encryption(msgspec.Struct, gc=False):
    key: int = 0


class _Pool(msgspec.Struct, gc=False):
    cidrs: list[str] = []


class _Pools(msgspec.Struct, gc=False):
    allocated: list[_Pool] = []


class _Ipam(msgspec.Struct, rename={"pod_cidrs": "podCIDRs"}, gc=False):
    pod_cidrs: list[str] = []
    pools: _Pools = msgspec.field(default_factory=_Pools)


class _Spec(msgspec.Struct, gc=False):
    addresses: list[_Address] = []
    bootid: str = ""
    health: _Ips = msgspec.field(default_factory=_Ips)
    ingress: _Ips = msgspec.field(default_factory=_Ips)
    encryption: _Encryption = msgspec.field(default_factory=_Encryption)
    ipam: _Ipam = msgspec.field(default_factory=_Ipam)


class _Node(msgspec.Struct, gc=False):
    metadata: Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)


def node(value: object, cluster: str, cluster_id: int) -> Node:
    """The row of a CiliumNode. Raises WireError."""
    found = read(value, _Node)
    metadata, spec = found.metadata, found.spec
    return Node(
        key=NodeKey(cluster, named(metadata)),
        addresses=tuple([_address(each, place) for place, each in enumerate(spec.addresses)]),
        pod_cidrs=_pod_cidrs(spec.ipam),
        health_ips=_ips(spec.health, "spec.health"),
        ingress_ips=_ips(spec.ingress, "spec.ingress"),
        encryption_key=spec.encryption.key & 0xFF,  # Go keeps the low byte
        labels=pairs(metadata.labels),
        annotations=pairs(metadata.annotations),
        wireguard_key=first_of(metadata.annotations, _WIREGUARD_KEY) or "",
        boot_id=spec.bootid,
        cluster_id=cluster_id,
        source="custom-resource",
    )


def _address(address: _Address, place: int) -> NodeAddress:
    try:
        return NodeAddress(address.type, canonical(address.ip))
    except WireError as error:
        if address.type in _NAMES:
            return NodeAddress(address.type, "")
        raise WireError(f"spec.addresses[{place}].ip: {error}") from None


def _pod_cidrs(ipam: _Ipam) -> tuple[str, ...]:
    texts = [(each, f"spec.ipam.podCIDRs[{place}]") for place, each in enumerate(ipam.pod_cidrs)]
    for pool_place, pool in enumerate(ipam.pools.allocated):
        field = f"spec.ipam.pools.allocated[{pool_place}].cidrs"
        texts += [(each, f"{field}[{place}]") for place, each in enumerate(pool.cidrs)]
    return ipv4_first([_network(text, field) for text, field in texts])


def _network(text: str, field: str) -> str:
    try:
        return cidr.network(text)
    except WireError as error:
        raise WireError(f"{field}: {error}") from None


def _ips(ips: _Ips, field: str) -> tuple[str, ...]:
    found = [canonical_or_empty(ips.ipv4, f"{field}.ipv4"), canonical_or_empty(ips.ipv6, f"{field}.ipv6")]
    return ipv4_first([each for each in found if each])
