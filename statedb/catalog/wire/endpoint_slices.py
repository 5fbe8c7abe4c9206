"""Endpoint slices of shared services in etcd (cilium/cilium pkg/clustermesh/types/endpointslice).

    cilium/state/endpointslices/v1/cluster1/default/web-x7k2p  ->  a zstd frame around a protobuf message

A slice has a part of the backends of one service, which its label ``kubernetes.io/service-name`` names. Unlike format
v1 of services it has conditions and nodes. `backends_of` makes the rows of a slice from any source. Compression needs
an extra before Python 3.14: ``statedb[etcd]``, or ``statedb[zstd]`` alone.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeVar

import msgspec

from ..backends import Backend, BackendKey
from . import _zstd
from ._errors import WireError
from ._protobuf import fields, length, varint
from .partly import PartlyRead, readable_address
from .services import merged

T = TypeVar("T")

SERVICE_NAME = "kubernetes.io/service-name"
"""The label that names the service of a slice."""
_HOSTNAME, _ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
"""The keys of node and zone in ``topology``, which is deprecated."""
_BYTES_MAX = 16 << 20
_KINDS = ("IPv4", "IPv6", "FQDN")
_PORT_MAX = 0xFFFF


class Conditions(msgspec.Struct, frozen=True, gc=False):
    """The conditions of an endpoint. None means not set."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(msgspec.Struct, frozen=True, gc=False):
    """One endpoint of a slice. Its addresses are alternatives of one type. None means not set, unlike an empty text."""

    addresses: tuple[str, ...] = ()
    conditions: Conditions = Conditions()
    hostname: str | None = None
    topology: tuple[tuple[str, str], ...] = ()
    node: str | None = None
    zone: str | None = None
    zone_hints: tuple[str, ...] | None = None


class SlicePort(msgspec.Struct, frozen=True, gc=False):
    """One port of all endpoints of a slice."""

    name: str = ""
    protocol: str = "TCP"
    port: int | None = None
    app_protocol: str | None = None


class EndpointSlice(msgspec.Struct, frozen=True, gc=False):
    """The message. Mappings are sorted pairs."""

    cluster: str
    cluster_id: int
    namespace: str
    name: str
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    address_type: str = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()

    @property
    def service(self) -> str:
        """The name of the service; empty if it has none."""
        return dict(self.labels).get(SERVICE_NAME, "")


def decode(cluster: str, name: str, value: bytes, *, cluster_id: int | None = None) -> tuple[Backend, ...]:
    """The backends of the slice with key ``cluster/namespace/slice``, as `backends_of` makes them.

    Value, key and ``cluster`` must match, and so must ``cluster_id`` if given. Raises WireError.
    """
    found = read(value)
    if found.cluster != cluster:
        raise WireError(f"cluster: unexpected cluster name: got {found.cluster}, expected {cluster}")
    if name != f"{found.cluster}/{found.namespace}/{found.name}":
        raise WireError(f"name: {found.cluster}/{found.namespace}/{found.name} does not match the key, {name}")
    if cluster_id is not None and found.cluster_id != cluster_id:
        raise WireError(f"clusterID: unexpected cluster ID: got {found.cluster_id}, expected {cluster_id}")
    return backends_of(found, [])


def backends_of(of: EndpointSlice, faults: list[str]) -> tuple[Backend, ...]:
    """A row for each layer 4 address. None if the slice has no service, or has names instead of addresses.

    A condition that is not set means ready, serving and not terminating, as in Kubernetes. An address that cannot be
    decoded, or has not the type of the slice, is left out and added to ``faults``. If there are faults, the rows are
    `PartlyRead`. Raises WireError if they leave no row: the last good rows are better than none.
    """
    service = of.service
    if not service or of.address_type == "FQDN":
        return ()
    rows = [
        Backend(
            key=BackendKey(of.cluster, of.namespace, service, ip, port.port, port.protocol),
            port_names=(port.name,),
            ready=each.conditions.ready is not False,
            serving=each.conditions.serving is not False,
            terminating=each.conditions.terminating is True,
            hostname=each.hostname or "",
            zone=_or_topology(each.zone, each, _ZONE),
            zone_hints=each.zone_hints or (),
            node=_or_topology(each.node, each, _HOSTNAME),
        )
        for place, each in enumerate(of.endpoints)
        for number, text in enumerate(each.addresses)
        if (ip := _of_kind(of.address_type, text, faults, place, number)) is not None
        for port in of.ports
        if port.port is not None
    ]
    if faults and not rows:
        raise WireError("; ".join(faults))
    return PartlyRead.of(merged(rows), faults)


def _of_kind(kind: str, text: str, faults: list[str], endpoint: int, number: int) -> str | None:
    if not kind or (":" in text) == (kind == "IPv6"):
        return readable_address(text, faults, "endpoints[{}].addresses[{}]", endpoint, number)
    faults.append(f"endpoints[{endpoint}].addresses[{number}]: {text!r} is not an {kind} address")
    return None


def _or_topology(text: str | None, endpoint: SliceEndpoint, label: str) -> str:
    if text is None:
        return dict(endpoint.topology).get(label, "") if endpoint.topology else ""
    return text


def encode(of: EndpointSlice) -> bytes:
    """The value of a slice's key. Raises WireError without the extra."""
    return compressed(write(of))


def compressed(message: bytes) -> bytes:
    """The value for a message. Raises WireError without the extra."""
    return _zstd.compress(message)


def name(of: EndpointSlice) -> str:
    """The part of the key below the prefix."""
    return f"{of.cluster}/{of.namespace}/{of.name}"


def can_decompress() -> bool:
    """Whether the codec for values is installed."""
    return _zstd.is_available()


def read(value: bytes) -> EndpointSlice:
    """The message in a value. Raises WireError."""
    return parse(_zstd.decompress(value, _BYTES_MAX))


def parse(message: bytes) -> EndpointSlice:
    """The message in its uncompressed form. Unknown fields are skipped. Raises WireError."""
    texts = {1: "", 3: "", 4: "", 7: ""}
    cluster_id = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    endpoints: list[SliceEndpoint] = []
    ports: list[SlicePort] = []
    for number, field in fields(message):
        if number in texts:
            texts[number] = _text(field)
        elif number == 2:
            cluster_id = _number(field)
        elif number == 5:
            _add_pair(labels, field)
        elif number == 6:
            _add_pair(annotations, field)
        elif number == 8:
            endpoints.append(_endpoint(_message(field)))
        elif number == 9:
            ports.append(_port(_message(field)))
    if texts[7] not in _KINDS:
        raise WireError(f"addressType: {texts[7]!r} is not one of {', '.join(_KINDS)}")
    for number, what in ((1, "cluster"), (3, "namespace"), (4, "name")):
        if not texts[number]:
            raise WireError(f"{what}: {what} is unset")
    return EndpointSlice(
        cluster=texts[1],
        cluster_id=cluster_id,
        namespace=texts[3],
        name=texts[4],
        labels=tuple(sorted(labels.items())),
        annotations=tuple(sorted(annotations.items())),
        address_type=texts[7],
        endpoints=tuple(endpoints),
        ports=tuple(ports),
    )


def write(of: EndpointSlice) -> bytes:
    """The uncompressed message as Cilium writes it: fields in ascending order, mappings sorted."""
    head = [length(1, of.cluster), varint(2, of.cluster_id), length(3, of.namespace), length(4, of.name)]
    head += [length(5, _pair(pair)) for pair in sorted(of.labels)]
    head += [length(6, _pair(pair)) for pair in sorted(of.annotations)]
    head.append(length(7, of.address_type))
    head += [length(8, _written_endpoint(each)) for each in of.endpoints]
    head += [length(9, _written_port(each)) for each in of.ports]
    return b"".join(head)


# --- reading ----------------------------------------------------------------------------------------------------------


def _endpoint(message: bytes) -> SliceEndpoint:
    addresses: list[str] = []
    texts: dict[int, str | None] = {3: None, 6: None, 7: None}
    conditions = Conditions()
    topology: dict[str, str] = {}
    hints: list[str] | None = None
    for number, field in fields(message):
        if number == 1:
            addresses.append(_text(field))
        elif number == 2:
            conditions = _conditions(_message(field))
        elif number in texts:
            texts[number] = _text(field)
        elif number == 5:
            _add_pair(topology, field)
        elif number == 8:
            hints = [*(hints or ()), *_each(_message(field), 1, lambda zone: "".join(_each(_message(zone), 1, _text)))]
    return SliceEndpoint(
        addresses=tuple(addresses),
        conditions=conditions,
        hostname=texts[3],
        topology=tuple(sorted(topology.items())),
        node=texts[6],
        zone=texts[7],
        zone_hints=None if hints is None else tuple(hints),
    )


def _conditions(message: bytes) -> Conditions:
    found: dict[int, bool | None] = {1: None, 2: None, 3: None}
    for number, field in fields(message):
        if number in found:
            found[number] = _number(field) != 0
    return Conditions(found[1], found[2], found[3])


def _port(message: bytes) -> SlicePort:
    port_name, protocol, port, app_protocol = "", "TCP", None, None
    for number, field in fields(message):
        if number == 1:
            port_name = _text(field)
        elif number == 2:
            protocol = _text(field)
        elif number == 3:
            port = _number(field)
            if port > _PORT_MAX:
                raise WireError(f"ports: {port} is not a port number")
        elif number == 4:
            app_protocol = _text(field)
    return SlicePort(port_name, protocol, port, app_protocol)


def _each(message: bytes, wanted: int, read: Callable[[int | bytes], T]) -> list[T]:
    return [read(field) for number, field in fields(message) if number == wanted]


def _add_pair(pairs: dict[str, str], field: int | bytes) -> None:
    key = value = ""
    for number, text in fields(_message(field)):
        if number == 1:
            key = _text(text)
        elif number == 2:
            value = _text(text)
    pairs[key] = value


def _message(field: int | bytes) -> bytes:
    if isinstance(field, int):
        raise WireError("the value is not an endpoint slice: a number in place of a message")
    return field


def _text(field: int | bytes) -> str:
    try:
        return _message(field).decode()
    except UnicodeDecodeError as error:
        raise WireError(f"a text is not UTF-8: {error.reason}") from None


def _number(field: int | bytes) -> int:
    if isinstance(field, bytes):
        raise WireError("the value is not an endpoint slice: text in place of a number")
    return field


# --- writing ----------------------------------------------------------------------------------------------------------


def _pair(pair: tuple[str, str]) -> bytes:
    return length(1, pair[0]) + length(2, pair[1])


def _optional(number: int, text: str | None) -> bytes:
    return b"" if text is None else length(number, text)


def _written_endpoint(of: SliceEndpoint) -> bytes:
    parts = [length(1, address) for address in of.addresses]
    parts += [_written_conditions(of.conditions), _optional(3, of.hostname)]
    if of.topology:
        parts += [length(5, _pair(pair)) for pair in sorted(of.topology)]
    parts += [_optional(6, of.node), _optional(7, of.zone)]
    if of.zone_hints is not None:
        parts.append(length(8, _hints(of.zone_hints)))
    return b"".join(parts)


@cache
def _written_conditions(of: Conditions) -> bytes:
    values = (of.ready, of.serving, of.terminating)
    return length(2, b"".join([varint(number, each) for number, each in enumerate(values, 1) if each is not None]))


def _hints(zones: Iterable[str]) -> bytes:
    return b"".join([length(1, length(1, zone)) for zone in zones])


def _written_port(of: SlicePort) -> bytes:
    port = b"" if of.port is None else varint(3, of.port)
    return length(1, of.name) + length(2, of.protocol) + port + _optional(4, of.app_protocol)
