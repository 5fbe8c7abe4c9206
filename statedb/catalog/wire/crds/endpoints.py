"""CiliumEndpoint and CiliumEndpointSlice: one row for every address."""

from typing import Annotated

import msgspec
from msgspec import Meta

from statedb.catalog.endpoints import Endpoint, EndpointKey, NamedPort

from .._errors import WireError
from ..addresses import canonical
from ..identities import HOST, REMOTE_NODE
from ._objects import Metadata, named, namespace_of, read

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
    """An endpoint of a slice: ``id`` is its security identity here."""

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
    """The rows of a CiliumEndpoint, whose name is its pod's; none while it has no network. Raises WireError."""
    found = read(value, _Endpoint)
    pod = _Pod(cluster, namespace_of(found.metadata.namespace), named(found.metadata), found.status.identity.id)
    return _rows(pod, found.status, "status")


def endpoint_slice_of_cilium(value: object, cluster: str) -> tuple[Endpoint, ...]:
    """The rows of all endpoints of a CiliumEndpointSlice; of two with one address the last counts.

    One endpoint that cannot be read makes the whole object unreadable: raises WireError.
    """
    found = read(value, _Slice)
    named(found.metadata)
    namespace = namespace_of(found.namespace)
    rows: dict[EndpointKey, Endpoint] = {}
    for place, each in enumerate(found.endpoints):
        field = f"endpoints[{place}]"
        if not each.name:
            raise WireError(f"{field}.name: name is unset")
        for row in _rows(_Pod(cluster, namespace, each.name, each.id), each, field):
            rows[row.key] = row  # the slice is one owner: its later entry is written over the earlier
    return tuple(rows.values())


class _Pod(msgspec.Struct, frozen=True, gc=False):
    """Whose addresses they are."""

    cluster: str
    namespace: str
    name: str
    identity: int


def _rows(pod: _Pod, of: _Status | _CoreEndpoint, field: str) -> tuple[Endpoint, ...]:
    """One row per address."""
    identity = REMOTE_NODE if pod.identity == HOST else pod.identity  # as read from etcd
    ports = tuple([NamedPort(port.name, port.port, port.protocol) for port in of.named_ports])
    return tuple(
        [
            Endpoint(
                key=EndpointKey(pod.cluster, ip),
                identity=identity,
                host_ip=_host(of.networking.node),
                namespace=pod.namespace,
                pod=pod.name,
                service_account=of.service_account,
                encryption_key=of.encryption.key & 0xFF,  # Go keeps the low byte
                named_ports=ports,
            )
            for ip in _ips(of.networking, f"{field}.networking")
        ]
    )


def _ips(networking: _Networking, field: str) -> list[str]:
    """The addresses, in order, each once."""
    ips: dict[str, None] = {}
    for place, pair in enumerate(networking.addressing):
        for name, text in (("ipv4", pair.ipv4), ("ipv6", pair.ipv6)):
            if text:
                try:
                    ips[canonical(text)] = None
                except WireError as error:
                    raise WireError(f"{field}.addressing[{place}].{name}: {error}") from None
    return list(ips)


def _host(text: str) -> str:
    """The node's address; one that cannot be read is as good as none."""
    try:
        return canonical(text) if text else ""
    except WireError:
        return ""
