"""Shared services in etcd, format v1 (ClusterService of cilium/cilium pkg/clustermesh/store).

    cilium/state/services/v1/cluster1/default/web
        ->  {"cluster":"cluster1","namespace":"default","name":"web","frontends":{...},"backends":{...}, and so on}

One value is one service with all its backends. Several port names may lead to one layer 4 address: they are one backend
with several names. The format has no conditions, no node and no affinity: rows have their defaults. It is written as
Cilium 1.20 writes it.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from ..backends import Backend, BackendKey, takes_traffic_first
from ..services import Frontend, Service, ServiceKey
from . import _gojson
from ._errors import WireError
from .addresses import canonical

V = TypeVar("V")

_Uint16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
_Uint32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]


class _Port(msgspec.Struct, forbid_unknown_fields=True, rename="pascal", gc=False):
    protocol: str
    port: _Uint16


_Ports = dict[str, _Port | None] | None


class _ForZone(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str


class _Zone(msgspec.Struct, forbid_unknown_fields=True, rename="camel", gc=False):
    zone: str
    for_zones: list[_ForZone] | None


class _Service(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel", gc=False):
    """The value. Fields that are always written are required."""

    cluster: str
    namespace: str
    name: str
    frontends: dict[str, _Ports] | None
    backends: dict[str, _Ports] | None
    hostnames: dict[str, str] | None = None
    zones: dict[str, _Zone] | None = None
    labels: dict[str, str] | None
    selector: dict[str, str] | None
    include_external: bool
    shared: bool
    cluster_id: _Uint32 = msgspec.field(name="clusterID")


_read = _gojson.Reader(_Service)
_NO_ZONE = _Zone("", None)


def decode(
    cluster: str, name: str, value: bytes, *, cluster_id: int | None = None
) -> tuple[Service, tuple[Backend, ...]]:
    """The service with key ``cluster/namespace/service``, and its backends. Raises WireError.

    Value, key and ``cluster`` must match, and so must ``cluster_id`` if given.
    """
    service = _read(value)
    key = _checked_key(service, cluster, name)
    if cluster_id is not None and service.cluster_id != cluster_id:
        raise WireError(f"clusterID: unexpected cluster ID: got {service.cluster_id}, expected {cluster_id}")
    row = Service(
        key=key,
        frontends=_frontends(service.frontends or {}),
        shared=service.shared,
        include_external=service.include_external,
        labels=tuple(sorted((service.labels or {}).items())),
        selector=tuple(sorted((service.selector or {}).items())),
        cluster_id=service.cluster_id,
    )
    return row, _backends(key, service)


def encode(service: Service, backends: Iterable[Backend]) -> bytes:
    """The value of a service's key.

    The format has one port for each name of an address, one zone and one host name. If there are several, those of the
    lowest port are written.
    """
    backends = sorted(backends, key=lambda backend: backend.key)
    hostnames: dict[str, str] = {}
    zones: dict[str, _Zone] = {}
    for backend in backends:
        if backend.hostname:
            hostnames.setdefault(backend.key.ip, backend.hostname)
        if backend.zone:
            hints = [_ForZone(zone) for zone in backend.zone_hints]
            zones.setdefault(backend.key.ip, _Zone(backend.zone, hints))
    return _gojson.encode(
        _Service(
            cluster=service.key.cluster,
            namespace=service.key.namespace,
            name=service.key.name,
            frontends=_by_address((each.ip, each.port_name, each.protocol, each.port) for each in service.frontends),
            backends=_by_address(
                (backend.key.ip, port_name, backend.key.protocol, backend.key.port)
                for backend in backends
                for port_name in backend.port_names
            ),
            hostnames=hostnames or None,
            zones=zones or None,
            labels=dict(sorted(service.labels)),
            selector=dict(sorted(service.selector)),
            include_external=service.include_external,
            shared=service.shared,
            cluster_id=service.cluster_id,
        )
    )


def name(service: Service) -> str:
    """The part of the key below the prefix."""
    return f"{service.key.cluster}/{service.key.namespace}/{service.key.name}"


def merged(backends: Iterable[Backend]) -> tuple[Backend, ...]:
    """Backends with one row for each layer 4 address, sorted.

    A row has the port names of all backends with its address. If several pods have one address (the old one is about to
    go), the one that takes traffic first is used: see `takes_traffic_first`. So the row does not depend on the order of
    the pods.
    """
    best: dict[BackendKey, Backend] = {}
    for backend in backends:
        other = best.setdefault(backend.key, backend)
        if other is not backend:
            names = tuple(sorted({*other.port_names, *backend.port_names}))
            best[backend.key] = msgspec.structs.replace(min(backend, other, key=takes_traffic_first), port_names=names)
    return tuple([best[key] for key in sorted(best)])


def _checked_key(service: _Service, cluster: str, key: str) -> ServiceKey:
    for field, text in (("cluster", service.cluster), ("namespace", service.namespace), ("name", service.name)):
        if not text:
            raise WireError(f"{field}: {field} is unset")
    if service.cluster != cluster:
        raise WireError(f"cluster: unexpected cluster name: got {service.cluster}, expected {cluster}")
    found = f"{service.cluster}/{service.namespace}/{service.name}"
    if found != key:
        raise WireError(f"name: {found} does not match the key, {key}")
    return ServiceKey(service.cluster, service.namespace, service.name)


def _frontends(frontends: Mapping[str, _Ports]) -> tuple[Frontend, ...]:
    found: set[Frontend] = set()
    for text, ports in frontends.items():
        ip = _address(text, "frontends")
        found |= {Frontend(ip, port_name, port.protocol, port.port) for port_name, port in _listed(text, ports)}
    return tuple(sorted(found))


def _backends(service: ServiceKey, value: _Service) -> tuple[Backend, ...]:
    hostnames = _by_canonical(value.hostnames or {})
    zones = _by_canonical(value.zones or {})
    found: list[Backend] = []
    for text, ports in (value.backends or {}).items():
        ip = _address(text, "backends")
        zone = zones.get(ip, _NO_ZONE)
        hints = tuple([each.name for each in zone.for_zones or ()])
        for port_name, port in _listed(text, ports):
            found.append(
                Backend(
                    key=BackendKey(service.cluster, service.namespace, service.name, ip, port.port, port.protocol),
                    port_names=(port_name,),
                    hostname=hostnames.get(ip, ""),
                    zone=zone.zone,
                    zone_hints=hints,
                )
            )
    return merged(found)


def _listed(address: str, ports: _Ports) -> Iterable[tuple[str, _Port]]:
    """The ports by name. Raises WireError for a null."""
    for port_name, port in (ports or {}).items():
        if port is None:
            raise WireError(f"the port {port_name!r} of {address} is null")
        yield port_name, port


def _address(text: str, field: str) -> str:
    try:
        return canonical(text)
    except WireError as error:
        raise WireError(f"{field}: {error}") from None


def _by_canonical(mapping: Mapping[str, V]) -> dict[str, V]:
    """The mapping by canonical address. A key that is not an address is skipped: no backend can have it."""
    found: dict[str, V] = {}
    for text, value in mapping.items():
        try:
            found[canonical(text)] = value
        except WireError:
            continue
    return found


def _by_address(ports: Iterable[tuple[str, str, str, int]]) -> dict[str, _Ports]:
    """Addresses, port names, protocols and ports as the nested mapping of the value, in Go's order."""
    nested: dict[str, _Ports] = {}
    for ip, port_name, protocol, port in sorted(ports, key=lambda each: (*each[:2], each[3], each[2])):
        of_address = nested.setdefault(ip, {})
        assert of_address is not None
        of_address.setdefault(port_name, _Port(protocol, port))
    return nested
