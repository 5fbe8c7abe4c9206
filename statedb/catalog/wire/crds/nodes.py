"""CiliumNode: one row for each node."""

from collections.abc import Iterable

import msgspec

from statedb.catalog.nodes import Node, NodeAddress, NodeKey

from .. import cidr
from .._errors import WireError
from ..addresses import ipv4_first
from ..partly import PartlyRead, readable_address
from ._objects import Metadata, first_of, name_of, pairs, read_parts

_WIREGUARD_KEY = ("network.cilium.io/wg-pub-key", "io.cilium.network.wg-pub-key")
"""The annotation, and its older name."""

_NAMES = frozenset({"Hostname", "ExternalDNS", "InternalDNS"})
"""Address types whose value may be a name. A name is skipped: it is not an address, and not a fault."""


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


def node(value: object, cluster: str, cluster_id: int) -> tuple[Node, ...]:
    """The row of a CiliumNode. An address or network that cannot be decoded is left out (`PartlyRead`).

    Raises WireError if the rest cannot be decoded.
    """
    found, faults = read_parts(value, _Node, {("spec", "addresses"): _Address})
    metadata, spec = found.metadata, found.spec
    row = Node(
        key=NodeKey(cluster, name_of(metadata)),
        addresses=_addresses(spec.addresses, faults),
        pod_cidrs=_pod_cidrs(spec.ipam, faults),
        health_ips=_ips(spec.health, "spec.health", faults),
        ingress_ips=_ips(spec.ingress, "spec.ingress", faults),
        encryption_key=spec.encryption.key & 0xFF,  # Go keeps the low byte
        labels=pairs(metadata.labels),
        annotations=pairs(metadata.annotations),
        wireguard_key=first_of(metadata.annotations, _WIREGUARD_KEY) or "",
        boot_id=spec.bootid,
        cluster_id=cluster_id,
        source="custom-resource",
    )
    return PartlyRead.of((row,), faults)


def _addresses(addresses: Iterable[_Address], faults: list[str]) -> tuple[NodeAddress, ...]:
    found: list[NodeAddress] = []
    for place, each in enumerate(addresses):
        unread: list[str] = []
        ip = readable_address(each.ip, unread, "spec.addresses[{}].ip", place)
        if ip is not None:
            found.append(NodeAddress(each.type, ip))
        elif each.type not in _NAMES:
            faults += unread
    return tuple(found)


def _pod_cidrs(ipam: _Ipam, faults: list[str]) -> tuple[str, ...]:
    texts = [(f"spec.ipam.podCIDRs[{place}]", each) for place, each in enumerate(ipam.pod_cidrs)]
    for pool_place, pool in enumerate(ipam.pools.allocated):
        field = f"spec.ipam.pools.allocated[{pool_place}].cidrs"
        texts += [(f"{field}[{place}]", each) for place, each in enumerate(pool.cidrs)]
    found: list[str] = []
    for field, text in texts:
        try:
            found.append(cidr.network(text))
        except WireError as error:
            faults.append(f"{field}: {error}")
    return ipv4_first(found)


def _ips(ips: _Ips, field: str, faults: list[str]) -> tuple[str, ...]:
    found = [
        readable_address(text, faults, f"{field}.{name}")
        for name, text in (("ipv4", ips.ipv4), ("ipv6", ips.ipv6))
        if text
    ]
    return ipv4_first([ip for ip in found if ip is not None])
