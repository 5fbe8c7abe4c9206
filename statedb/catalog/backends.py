"""Backends: where a shared service is served. Knows neither etcd nor Kubernetes."""

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

    ``ready``, ``serving`` and ``terminating`` are conditions of Kubernetes; announcements of form v1 hold only
    backends that take traffic. ``zone_hints`` are the zones that should use it, in the order of their source.
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


class Backends(Table[BackendKey, Backend], name="backends"):
    """One row per layer 4 address, service and cluster."""

    primary = UniqueIndex[BackendKey, Backend](lambda backend: backend.key)
    by_service = Index[ServiceKey, Backend](lambda backend: (backend.service,))
    by_address = Index[str, Backend](lambda backend: (backend.key.ip,))
