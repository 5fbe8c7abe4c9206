"""Resolves names of Services (``NAME.NAMESPACE.svc``) to the present addresses of their endpoints, by the API server.

They are not resolved to the cluster IP, because it needs a working datapath, which may be waiting for us.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from statedb.catalog.wire import WireError
from statedb.catalog.wire.addresses import canonical

from ..errors import InvalidOptions
from ..names import SocketAddress, Unresolved
from .api import Api
from .credentials import check
from .errors import ApiError, Missing, Unauthorized
from .options import ApiServerOptions
from .request import Request

_BYTES = 16 << 20
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(
    rf"(?:(?P<hostname>{_LABEL})\.)?(?P<name>{_LABEL})\.(?P<namespace>{_LABEL})\.svc(?:\.cluster\.local)?\.?"
)


class ServiceNames:
    """A `Resolver`. ``HOSTNAME.NAME.NAMESPACE.svc`` is one pod of a Service; ``.cluster.local`` may follow.

    It needs the rights to get services and to list endpointslices (discovery.k8s.io) in their namespaces. Each call
    sends two requests, and nothing is cached.
    """

    def __init__(self, options: ApiServerOptions) -> None:
        """Sends no request yet. Raises InvalidOptions."""
        try:
            check(options)
        except InvalidOptions as error:
            raise InvalidOptions(f"service-resolver.kubernetes.{error}") from None
        try:
            self._api = Api(options)
        except Unauthorized as error:
            raise InvalidOptions(f"service-resolver.kubernetes: {error}") from None

    def close(self) -> None:
        """Cancel the current request, and allow no further one."""
        self._api.close()

    def resolve(self, host: str, port: int) -> Sequence[SocketAddress] | None:
        """The ready endpoints of a Service for one of its ports; None for other names. Raises Unresolved."""
        parts = _NAME.fullmatch(host.lower())
        if parts is None:
            return None
        namespace, name = parts["namespace"], parts["name"]
        try:
            service = self._service(namespace, name)
            slices = self._slices(namespace, name)
        except ApiError as error:
            raise Unresolved(f"cannot ask for Service {namespace}/{name}: {error}") from None
        finally:
            self._api.clear()  # the next call may come in a month
        port_name = _port_name(f"Service {namespace}/{name}", service.spec, port)
        resolve = dict.fromkeys(place for each in slices for place in _places(each, parts["hostname"], port, port_name))
        if not resolve:
            whose = f" named {parts['hostname']}" if parts["hostname"] else ""
            raise Unresolved(f"Service {namespace}/{name} has no ready endpoint{whose} for port {port}")
        return tuple(resolve)

    def _service(self, namespace: str, name: str) -> _Service:
        request = Request("get", "services", f"/api/v1/namespaces/{namespace}/services/{name}")
        try:
            return self._api.document(request, _Service, bytes_max=_BYTES)
        except Missing:
            raise Unresolved(f"there is no Service {namespace}/{name}") from None

    def _slices(self, namespace: str, name: str) -> list[_Slice]:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        selector = {"labelSelector": f"kubernetes.io/service-name={name}"}
        request = Request("list", "endpointslices.discovery.k8s.io", path, selector)
        return self._api.document(request, _Slices, bytes_max=_BYTES).items or []


def _port_name(service: str, spec: _Spec, port: int) -> str | None:
    """The name of a port in slices; None for a headless Service, whose ports are those of its pods."""
    if spec.type == "ExternalName":
        raise Unresolved(f"{service} stands for the host {spec.external_name!r}; name that one")
    if spec.cluster_ip == "None":
        return None
    found = [each.name or "" for each in spec.ports or () if each.port == port and each.protocol == "TCP"]
    if not found:
        known = ", ".join(str(each.port) for each in spec.ports or ()) or "none"
        raise Unresolved(f"{service} has no TCP port {port}; it has {known}")
    return found[0]


def _places(each: _Slice, hostname: str | None, port: int, port_name: str | None) -> Iterator[SocketAddress]:
    if port_name is None:
        ports = [port]
    else:
        ports = [known.port for known in each.ports or () if (known.name or "") == port_name and known.port]
    for endpoint in each.endpoints or ():
        if endpoint.conditions.ready is False or (hostname and endpoint.hostname != hostname):
            continue
        for address in endpoint.addresses[:1]:  # the API says to use only the first address of an endpoint
            try:
                text = canonical(address)
            except WireError:  # of addressType FQDN
                continue
            yield from (SocketAddress(text, number) for number in ports)


class _Port(msgspec.Struct):
    port: int = 0
    name: str | None = None
    protocol: str = "TCP"


class _Spec(msgspec.Struct, rename={"cluster_ip": "clusterIP", "external_name": "externalName"}):
    type: str = "ClusterIP"
    cluster_ip: str = ""
    external_name: str = ""
    ports: list[_Port] | None = None


class _Service(msgspec.Struct):
    spec: _Spec


class _Conditions(msgspec.Struct):
    ready: bool | None = None


class _Endpoint(msgspec.Struct):
    addresses: list[str]
    conditions: _Conditions = msgspec.field(default_factory=_Conditions)
    hostname: str | None = None


class _SlicePort(msgspec.Struct):
    port: int | None = None
    name: str | None = None


class _Slice(msgspec.Struct):
    endpoints: list[_Endpoint] | None = None
    ports: list[_SlicePort] | None = None


class _Slices(msgspec.Struct):
    items: list[_Slice] | None = None
