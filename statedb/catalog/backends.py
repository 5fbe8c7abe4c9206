"""Backends: the addresses that serve a service. Knows neither etcd nor Kubernetes."""

import msgspec

from statedb import Index, Table, UniqueIndex

from .services import ServiceKey


class BackendKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """One layer 4 address of one service."""

    cluster: str
    namespace: str
    service: str
    ip: str
    port: int
    protocol: str


class Backend(msgspec.Struct, frozen=True, gc=False):
    """One layer 4 address, under all the port names that lead to it (sorted; the empty name is an unnamed port).

    ``ready``, ``serving`` and ``terminating`` are the conditions of Kubernetes: one that is not set is read as ready,
    serving and not terminating. Values of form v1 (`statedb.catalog.wire.services`) have none, so that all their
    backends are ready. ``node``, ``hostname`` and ``zone`` are empty where the source does not tell them.
    ``zone_hints`` are the zones that should use the backend, in the order of the source.
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
        """The service that it is a backend of."""
        key = self.key
        return ServiceKey(key.cluster, key.namespace, key.service)


def takes_traffic_first(backend: Backend) -> tuple[object, ...]:
    """What to sort backends of one address by: the lowest is the one that counts.

    Ready before serving before not, then not terminating, then the first by its other fields.
    """
    last = (backend.node, backend.hostname, backend.zone, backend.zone_hints, backend.source)
    return not backend.ready, not backend.serving, backend.terminating, *last


class Backends(Table[BackendKey, Backend], name="backends"):
    """One row per layer 4 address, service and cluster."""

    primary = UniqueIndex[BackendKey, Backend](lambda backend: backend.key)
    by_service = Index[ServiceKey, Backend](lambda backend: (backend.service,))
    by_name = Index[tuple[str, str], Backend](lambda backend: ((backend.key.namespace, backend.key.service),))
    by_address = Index[str, Backend](lambda backend: (backend.key.ip,))
