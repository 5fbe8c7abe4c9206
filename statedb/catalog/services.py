"""Services, without their backends. Knows neither etcd nor Kubernetes."""

import msgspec

from statedb import Index, Table, UniqueIndex


class ServiceKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """The name of a service is unique in its namespace."""

    cluster: str
    namespace: str
    name: str


class Frontend(msgspec.Struct, frozen=True, order=True, gc=False):
    """An address and port at which the cluster serves it. ``port_name`` is empty for an unnamed port."""

    ip: str
    port_name: str
    protocol: str
    port: int


class Service(msgspec.Struct, frozen=True, gc=False):
    """A service as its own cluster announces it. Services of one name in several clusters are one global service.

    ``frontends`` are sorted; a headless service has none. ``include_external``: it is global, and uses the backends of
    other clusters. ``shared``: other clusters may use its backends; only a global service can be shared. ``affinity``
    is the side whose backends it prefers, ``local``, ``remote`` or empty. An etcd has shared services only, and no
    affinity. ``source`` is who observed the service, in the terms of Cilium.
    """

    key: ServiceKey
    frontends: tuple[Frontend, ...] = ()
    shared: bool = True
    include_external: bool = True
    affinity: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    selector: tuple[tuple[str, str], ...] = ()
    cluster_id: int = 0
    source: str = "k8s"


class Services(Table[ServiceKey, Service], name="services"):
    """One row for each service: those of the local cluster that its source has, and those that other clusters share."""

    primary = UniqueIndex[ServiceKey, Service](lambda service: service.key)
    by_name = Index[tuple[str, str], Service](lambda service: ((service.key.namespace, service.key.name),))
    by_frontend = Index[str, Service](lambda service: tuple([frontend.ip for frontend in service.frontends]))
