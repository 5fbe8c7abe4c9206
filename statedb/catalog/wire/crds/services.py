"""Service and EndpointSlice of Kubernetes, as far as they are shared between clusters.

The two are joined by name: an EndpointSlice gives backends that count only while their service is there and shared.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from statedb.catalog.backends import Backend, BackendKey
from statedb.catalog.endpoint_slices import EndpointSliceCopy, EndpointSliceKey
from statedb.catalog.services import Frontend, Service, ServiceKey

from .. import endpoint_slices as v2, services as v1
from .._errors import WireError
from ..addresses import canonical
from ._objects import Metadata, first_of, named, namespace_of, pairs, read

_GLOBAL = ("service.cilium.io/global", "io.cilium/global-service")
_SHARED = ("service.cilium.io/shared", "io.cilium/shared-service")
"""Annotations, each with its older name (pkg/annotation)."""

_HEADLESS = "service.kubernetes.io/headless"
_SERVICE_NAME = "kubernetes.io/service-name"

_Port = Annotated[int, Meta(ge=0, le=0xFFFF)]


class _ServicePort(msgspec.Struct, gc=False):
    port: _Port
    name: str = ""
    protocol: str = "TCP"


class _Spec(msgspec.Struct, rename={"cluster_ip": "clusterIP", "cluster_ips": "clusterIPs"}, gc=False):
    ports: list[_ServicePort] = []
    selector: dict[str, str] = {}
    cluster_ip: str = ""
    cluster_ips: list[str] = []


class _Service(msgspec.Struct, gc=False):
    metadata: Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)


class _SlicePort(msgspec.Struct, gc=False):
    name: str = ""
    protocol: str = "TCP"
    port: _Port | None = None


class _Conditions(msgspec.Struct, gc=False):
    """What is not said is true."""

    ready: bool = True
    serving: bool = True


class _ForZone(msgspec.Struct, gc=False):
    name: str


class _Hints(msgspec.Struct, rename="camel", gc=False):
    for_zones: list[_ForZone] = []


class _SliceEndpoint(msgspec.Struct, gc=False):
    addresses: list[str] = []
    conditions: _Conditions = msgspec.field(default_factory=_Conditions)
    hostname: str = ""
    zone: str = ""
    hints: _Hints = msgspec.field(default_factory=_Hints)


class _Slice(msgspec.Struct, rename="camel", gc=False):
    metadata: Metadata
    address_type: str = ""
    ports: list[_SlicePort] = []
    endpoints: list[_SliceEndpoint] = []


class _WholeEndpoint(msgspec.Struct, rename="camel", gc=False):
    """All that a copy of a slice says of an endpoint; a condition may be left unsaid."""

    addresses: tuple[str, ...] = ()
    conditions: v2.Conditions = v2.Conditions()
    hostname: str = ""
    node_name: str = ""
    zone: str = ""
    deprecated_topology: dict[str, str] = {}
    hints: _Hints = msgspec.field(default_factory=_Hints)


class _WholeSlice(msgspec.Struct, rename="camel", gc=False):
    metadata: Metadata
    address_type: str = ""
    ports: list[_SlicePort] = []
    endpoints: list[_WholeEndpoint] = []


def service(value: object, cluster: str, cluster_id: int) -> Service | None:
    """The row of a Service, or None where it is not shared. Raises WireError.

    Whether its namespace is shared is not looked at.
    """
    found = read(value, _Service)
    metadata, spec = found.metadata, found.spec
    key = ServiceKey(cluster, namespace_of(metadata.namespace), named(metadata))
    if not (_is_true(metadata, _GLOBAL, default=False) and _is_true(metadata, _SHARED, default=True)):
        return None
    return Service(
        key=key,
        frontends=tuple(
            sorted(
                Frontend(ip, port.name, port.protocol, port.port)
                for ip in _cluster_ips(metadata, spec)
                for port in spec.ports
            )
        ),
        shared=True,
        include_external=True,
        labels=pairs(metadata.labels),
        selector=pairs(spec.selector),
        cluster_id=cluster_id,
    )


def endpoint_slice(value: object, cluster: str) -> tuple[Backend, ...]:
    """The backends in an EndpointSlice that are ready or serving; none where it is of no service. Raises WireError."""
    found = read(value, _Slice)
    named(found.metadata)
    name = found.metadata.labels.get(_SERVICE_NAME, "")
    if not name or found.address_type == "FQDN":
        return ()
    namespace = namespace_of(found.metadata.namespace)
    return v1.merged(
        Backend(
            key=BackendKey(cluster, namespace, name, ip, port.port, port.protocol),
            port_names=(port.name,),
            hostname=each.hostname,
            zone=each.zone,
            zone_hints=tuple([zone.name for zone in each.hints.for_zones]) if each.zone else (),
        )
        for place, each in enumerate(found.endpoints)
        if each.conditions.ready or each.conditions.serving
        for ip in _addresses(each.addresses, place)
        for port in found.ports
        if port.port is not None
    )


def whole_endpoint_slice(value: object, cluster: str, cluster_id: int) -> tuple[Backend | EndpointSliceCopy, ...]:
    """What `endpoint_slice` gives, and then a copy of the slice, if it is of a service. Raises WireError."""
    backends = endpoint_slice(value, cluster)
    found = read(value, _WholeSlice)
    service = found.metadata.labels.get(_SERVICE_NAME, "")
    if not service:
        return backends
    namespace, name = namespace_of(found.metadata.namespace), named(found.metadata)
    message = v2.write(
        v2.EndpointSlice(
            cluster=cluster,
            cluster_id=cluster_id,
            namespace=namespace,
            name=name,
            labels=pairs(found.metadata.labels),
            annotations=pairs(found.metadata.annotations),
            address_type=found.address_type,
            endpoints=tuple([_copied(each) for each in found.endpoints]),
            ports=tuple([v2.SlicePort(port.name, port.protocol, port.port) for port in found.ports]),
        )
    )
    copy = EndpointSliceCopy(
        EndpointSliceKey(cluster, namespace, name), ServiceKey(cluster, namespace, service), message
    )
    return (*backends, copy)


def _copied(each: _WholeEndpoint) -> v2.SliceEndpoint:
    return v2.SliceEndpoint(
        addresses=each.addresses,
        conditions=each.conditions,
        hostname=each.hostname,
        topology=pairs(each.deprecated_topology),
        node=each.node_name,
        zone=each.zone,
        zone_hints=tuple([zone.name for zone in each.hints.for_zones]),
    )


def join(of: Service | None, slices: Iterable[tuple[Backend, ...]]) -> tuple[Backend, ...]:
    """The backends of a service: those of all its slices, one row per layer 4 address; none without the service."""
    return () if of is None else v1.merged(backend for each in slices for backend in each)


def _is_true(metadata: Metadata, names: tuple[str, ...], *, default: bool) -> bool:
    """What an annotation says: any text but ``true``, in any case, is false."""
    text = first_of(metadata.annotations, names)
    return default if text is None else text.lower() == "true"


def _cluster_ips(metadata: Metadata, spec: _Spec) -> list[str]:
    """The addresses of the service in its cluster; a headless one has none."""
    if _HEADLESS in metadata.labels or spec.cluster_ip == "None":
        return []
    field, texts = ("clusterIPs", spec.cluster_ips) if spec.cluster_ips else ("clusterIP", [spec.cluster_ip])
    try:
        return [canonical(text) for text in texts if text not in ("", "None")]
    except WireError as error:
        raise WireError(f"spec.{field}: {error}") from None


def _addresses(texts: Iterable[str], place: int) -> list[str]:
    try:
        return [canonical(text) for text in texts]
    except WireError as error:
        raise WireError(f"endpoints[{place}].addresses: {error}") from None
