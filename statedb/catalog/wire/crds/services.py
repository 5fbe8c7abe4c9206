"""Service and EndpointSlice of Kubernetes.

The two are joined by name: the backends of an EndpointSlice are used only while its service exists.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from statedb.catalog.backends import Backend
from statedb.catalog.endpoint_slices import EndpointSliceCopy, EndpointSliceKey
from statedb.catalog.services import Frontend, Service, ServiceKey

from .. import endpoint_slices as v2, services as v1
from ..partly import PartlyRead, readable_address
from ._objects import Metadata, first_of, name_of, namespace_of, pairs, read_parts

_GLOBAL = ("service.cilium.io/global", "io.cilium/global-service")
_SHARED = ("service.cilium.io/shared", "io.cilium/shared-service")
_AFFINITY = ("service.cilium.io/affinity", "io.cilium/service-affinity")
"""Annotations, each with its older name (pkg/annotation)."""
_SIDES = frozenset({"local", "remote"})

_HEADLESS = "service.kubernetes.io/headless"
_NO_ADDRESS = "none"
"""The address of a headless service, in any case."""
_PROXY_NAME = "service.kubernetes.io/service-proxy-name"
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_MESH_CONTROLLER = "endpointslice-mesh-controller.cilium.io"

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


class _SlicePort(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    protocol: str = "TCP"
    port: _Port | None = None
    app_protocol: str | None = None


class _ForZone(msgspec.Struct, gc=False):
    name: str


class _Hints(msgspec.Struct, rename="camel", gc=False):
    for_zones: list[_ForZone] = []


class _SliceEndpoint(msgspec.Struct, rename="camel", gc=False):
    addresses: tuple[str, ...] = ()
    conditions: v2.Conditions = v2.Conditions()
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    deprecated_topology: dict[str, str] = {}
    hints: _Hints | None = None


class _Slice(msgspec.Struct, rename="camel", gc=False):
    metadata: Metadata
    address_type: str = ""
    ports: list[_SlicePort] = []
    endpoints: list[_SliceEndpoint] = []


def service(value: object, cluster: str, cluster_id: int) -> tuple[Service, ...]:
    """The row of a Service. None if another proxy serves it (label ``service.kubernetes.io/service-proxy-name``).

    ``include_external``, ``shared`` and ``affinity`` come from the annotations, and are unset unless the service is
    global. Whether the namespace is global is not considered here. An address or port that cannot be decoded is left
    out (`PartlyRead`). Raises WireError if the rest cannot be decoded.
    """
    found, faults = read_parts(value, _Service, {("spec", "ports"): _ServicePort})
    metadata, spec = found.metadata, found.spec
    key = ServiceKey(cluster, namespace_of(metadata.namespace), name_of(metadata))
    if _PROXY_NAME in metadata.labels:
        return ()
    ips = _cluster_ips(metadata, spec, faults)
    is_global = _is_true(metadata, _GLOBAL, default=False)
    row = Service(
        key=key,
        frontends=tuple(
            sorted({Frontend(ip, port.name, port.protocol, port.port) for ip in ips for port in spec.ports})
        ),
        shared=is_global and _is_true(metadata, _SHARED, default=True),
        include_external=is_global,
        affinity=_affinity(metadata) if is_global else "",
        labels=pairs(metadata.labels),
        selector=pairs(spec.selector),
        cluster_id=cluster_id,
    )
    return PartlyRead.of((row,), faults)


def endpoint_slice(value: object, cluster: str) -> tuple[Backend, ...]:
    """The backends of an EndpointSlice. None if it belongs to no service of this cluster.

    Slices that Cilium's mesh controller has made from the backends of another cluster do not belong to this cluster,
    nor do those that another proxy serves. An address, endpoint or port that cannot be decoded is left out
    (`PartlyRead`). Raises WireError if the rest cannot be decoded.
    """
    found, faults = _read_slice(value, cluster, 0)
    return () if found is None else v2.backends_of(found, faults)


def whole_endpoint_slice(value: object, cluster: str, cluster_id: int) -> tuple[Backend | EndpointSliceCopy, ...]:
    """The result of `endpoint_slice`, followed by a copy of the slice. Raises WireError."""
    found, faults = _read_slice(value, cluster, cluster_id)
    if found is None:
        return ()
    backends = v2.backends_of(found, faults)
    key = EndpointSliceKey(cluster, found.namespace, found.name)
    copy = EndpointSliceCopy(key, ServiceKey(cluster, found.namespace, found.service), v2.write(found))
    return PartlyRead.of((*backends, copy), faults)


def join(of: Service | None, slices: Iterable[tuple[Backend, ...]]) -> tuple[Backend, ...]:
    """The backends of a service from all its slices, one row for each layer 4 address. None without the service."""
    return () if of is None else v1.merged(backend for each in slices for backend in each)


def _read_slice(value: object, cluster: str, cluster_id: int) -> tuple[v2.EndpointSlice | None, list[str]]:
    """The slice as in etcd, and its faults. None if it belongs to no service of this cluster."""
    found, faults = read_parts(value, _Slice, {("endpoints",): _SliceEndpoint, ("ports",): _SlicePort})
    metadata = found.metadata
    name, labels = name_of(metadata), metadata.labels
    if not labels.get(v2.SERVICE_NAME) or _PROXY_NAME in labels or labels.get(_MANAGED_BY) == _MESH_CONTROLLER:
        return None, []
    whole = v2.EndpointSlice(
        cluster=cluster,
        cluster_id=cluster_id,
        namespace=namespace_of(metadata.namespace),
        name=name,
        labels=pairs(labels),
        annotations=pairs(metadata.annotations),
        address_type=found.address_type,
        endpoints=tuple([_copied(each) for each in found.endpoints]),
        ports=tuple([v2.SlicePort(each.name, each.protocol, each.port, each.app_protocol) for each in found.ports]),
    )
    return whole, faults


def _copied(each: _SliceEndpoint) -> v2.SliceEndpoint:
    return v2.SliceEndpoint(
        addresses=each.addresses,
        conditions=each.conditions,
        hostname=each.hostname,
        topology=pairs(each.deprecated_topology),
        node=each.node_name,
        zone=each.zone,
        zone_hints=None if each.hints is None else tuple([zone.name for zone in each.hints.for_zones]),
    )


def _is_true(metadata: Metadata, names: tuple[str, ...], *, default: bool) -> bool:
    """The value of an annotation: everything except ``true``, in any case, is false."""
    text = first_of(metadata.annotations, names)
    return default if text is None else text.lower() == "true"


def _affinity(metadata: Metadata) -> str:
    """``local`` or ``remote``, in any case. Empty for every other value."""
    text = (first_of(metadata.annotations, _AFFINITY) or "").lower()
    return text if text in _SIDES else ""


def _cluster_ips(metadata: Metadata, spec: _Spec, faults: list[str]) -> list[str]:
    """The addresses of the service in its cluster. A headless service has none."""
    if _HEADLESS in metadata.labels or spec.cluster_ip.lower() == _NO_ADDRESS:
        return []
    texts, field = (
        (spec.cluster_ips, "spec.clusterIPs[{}]") if spec.cluster_ips else ([spec.cluster_ip], "spec.clusterIP")
    )
    found = [
        readable_address(text, faults, field, place)
        for place, text in enumerate(texts)
        if text.lower() not in ("", _NO_ADDRESS)
    ]
    return [ip for ip in found if ip is not None]
