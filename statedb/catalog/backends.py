"""Backends: the addresses that serve a service. Knows neither etcd nor Kubernetes."""

import msgspec

from statedb import Index, Table, UniqueIndex

from .services import ServiceKey


class BackendKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """A layer 4 address of one service."""

    cluster: str
    namespace: str
    service: str
    ip: str
    port: int
    protocol: str


class Backend(msgspec.Struct, frozen=True, gc=False):
    """A backend at one layer 4 address, with the names of all ports that lead to it.

    ``port_names`` are sorted; an unnamed port has the empty name. ``ready``, ``serving`` and ``terminating`` are the
    conditions of Kubernetes. A condition that is not set is read as ready, serving and not terminating. Values in
    format v1 (`statedb.catalog.wire.services`) have none, so all their backends are ready. ``node``, ``hostname`` and
    ``zone`` are empty if the source does not have them. ``zone_hints`` are the zones that should use the backend, in
    the order of the source.
    """

    key: BackendKey
    port_names: tuple[str, ...] = ("",)
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    hostname: str = ""
    zone: str = ""
    zone_hints: tuple[str, ...] = ()
    node: str = ""
    source: str = "k8s"

    @property
    def service(self) -> ServiceKey:
        """The service that it belongs to."""
        key = self.key
        return ServiceKey(key.cluster, key.namespace, key.service)


def takes_traffic_first(backend: Backend) -> tuple[object, ...]:
    """A sort key for several backends with the same address. The lowest one is used.

    The order is ready, then serving, then the rest; among these, not terminating first; then by the other fields.
    """
    last = (backend.node, backend.hostname, backend.zone, backend.zone_hints, backend.source)
    return not backend.ready, not backend.serving, backend.terminating, *last


class Backends(Table[BackendKey, Backend], name="backends"):
    """One row per layer 4 address, service and cluster."""

    primary = UniqueIndex[BackendKey, Backend](lambda backend: backend.key)
    by_service = Index[ServiceKey, Backend](lambda backend: (backend.service,))
    by_name = Index[tuple[str, str], Backend](lambda backend: ((backend.key.namespace, backend.key.service),))
    by_address = Index[str, Backend](lambda backend: (backend.key.ip,))
