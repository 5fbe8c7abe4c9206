"""CiliumEndpoint and CiliumEndpointSlice: one row for each address."""

from typing import Annotated

import msgspec
from msgspec import Meta

from statedb.catalog.endpoints import Endpoint, EndpointKey, NamedPort

from .._errors import WireError
from ..addresses import canonical
from ..identities import HOST, REMOTE_NODE
from ..partly import PartlyRead, readable_address
from ._objects import Metadata, Parts, name_of, namespace_of, read_parts

_IdentityNumber = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]


class _Addresses(msgspec.Struct, gc=False):
    ipv4: str = ""
    ipv6: str = ""


class _Networking(msgspec.Struct, gc=False):
    addressing: list[_Addresses] = []
    node: str = ""


class _Encryption(msgspec.Struct, gc=False):
    key: int = 0


class _Port(msgspec.Struct, gc=False):
    name: str = ""
    port: Annotated[int, Meta(ge=0, le=0xFFFF)] = 0
    protocol: str = ""


class _Identity(msgspec.Struct, gc=False):
    id: _IdentityNumber = 0


class _Status(msgspec.Struct, rename={"named_ports": "named-ports", "service_account": "service-account"}, gc=False):
    identity: _Identity = msgspec.field(default_factory=_Identity)
    networking: _Networking = msgspec.field(default_factory=_Networking)
    encryption: _Encryption = msgspec.field(default_factory=_Encryption)
    named_ports: list[_Port] = []
    service_account: str = ""


class _Endpoint(msgspec.Struct, gc=False):
    metadata: Metadata
    status: _Status = msgspec.field(default_factory=_Status)


class _CoreEndpoint(
    msgspec.Struct, rename={"named_ports": "named-ports", "service_account": "service-account"}, gc=False
):
    """An endpoint of a slice. ``id`` is its security identity."""

    name: str = ""
    id: _IdentityNumber = 0
    networking: _Networking = msgspec.field(default_factory=_Networking)
    encryption: _Encryption = msgspec.field(default_factory=_Encryption)
    named_ports: list[_Port] = []
    service_account: str = ""


class _Slice(msgspec.Struct, gc=False):
    metadata: Metadata
    namespace: str = ""
    endpoints: list[_CoreEndpoint] = []


def endpoint(value: object, cluster: str) -> tuple[Endpoint, ...]:
    """The rows of a CiliumEndpoint, which has the name of its pod. None until it has an address.

    An address or named port that cannot be decoded is left out (`PartlyRead`). Raises WireError if the rest cannot be
    decoded, or if no address can: the last good rows are better than none.
    """
    parts: Parts = {("status", "networking", "addressing"): _Addresses, ("status", "named-ports"): _Port}
    found, faults = read_parts(value, _Endpoint, parts)
    pod = _Pod(cluster, namespace_of(found.metadata.namespace), name_of(found.metadata), found.status.identity.id)
    rows = _rows(pod, found.status, "status", faults)
    if faults and not rows:
        raise WireError("; ".join(faults))
    return PartlyRead.of(rows, faults)


def endpoint_slice_of_cilium(value: object, cluster: str) -> tuple[Endpoint, ...]:
    """The rows of all endpoints of a CiliumEndpointSlice. Of two endpoints with one address the last is used.

    An endpoint or address that cannot be decoded is left out (`PartlyRead`). Raises WireError if the rest cannot be
    decoded.
    """
    found, faults = read_parts(value, _Slice, {("endpoints",): _CoreEndpoint})
    name_of(found.metadata)
    rows: dict[EndpointKey, Endpoint] = {}
    for place, each in enumerate(found.endpoints):
        field = f"endpoints[{place}]"
        if not each.name:
            faults.append(f"{field}.name: name is unset")
            continue
        for row in _rows(_Pod(cluster, found.namespace, each.name, each.id), each, field, faults):
            rows[row.key] = row  # the slice is one owner: a later entry replaces an earlier one
    return PartlyRead.of(rows.values(), faults)


class _Pod(msgspec.Struct, frozen=True, gc=False):
    """The pod that the addresses belong to."""

    cluster: str
    namespace: str
    name: str
    identity: int


def _rows(pod: _Pod, of: _Status | _CoreEndpoint, field: str, faults: list[str]) -> tuple[Endpoint, ...]:
    """One row for each address."""
    ips = _ips(of.networking, field, faults)
    if not ips:
        return ()
    node = of.networking.node
    host_ip = (readable_address(node, faults, f"{field}.networking.node") or "") if node else ""
    identity = REMOTE_NODE if pod.identity == HOST else pod.identity  # as when read from etcd
    ports = tuple([NamedPort(port.name, port.port, port.protocol) for port in of.named_ports])
    return tuple(
        [
            Endpoint(
                key=EndpointKey(pod.cluster, ip),
                identity=identity,
                host_ip=host_ip,
                namespace=pod.namespace,
                pod=pod.name,
                service_account=of.service_account,
                encryption_key=of.encryption.key & 0xFF,  # Go keeps the low byte
                named_ports=ports,
            )
            for ip in ips
        ]
    )


def _ips(networking: _Networking, field: str, faults: list[str]) -> list[str]:
    """The addresses, in order, without duplicates."""
    ips: dict[str, None] = {}
    for place, pair in enumerate(networking.addressing):
        for name, text in (("ipv4", pair.ipv4), ("ipv6", pair.ipv6)):
            if text:
                try:
                    ips[canonical(text)] = None
                except WireError as error:
                    faults.append(f"{field}.networking.addressing[{place}].{name}: {error}")
    return list(ips)
