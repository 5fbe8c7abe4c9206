"""Endpoints: which address belongs to which identity, on which node. Knows neither etcd nor Kubernetes."""

import msgspec

from statedb import Index, PrefixIndex, Table, UniqueIndex


class EndpointKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """An address, in canonical text; a network (``10.0.0.0/8``) where a whole one has an identity."""

    cluster: str
    ip: str


class NamedPort(msgspec.Struct, frozen=True, order=True, gc=False):
    """A container port that policies may call by its name."""

    name: str
    port: int
    protocol: str


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """What is known of one address.

    ``identity`` 0 means unknown, ``host_ip`` is empty where the node is not known, ``encryption_key`` 0 means none.
    ``named_ports`` keep the order of their source.
    ``source`` is who observed the endpoint, in Cilium's words.
    """

    key: EndpointKey
    identity: int = 0
    host_ip: str = ""
    namespace: str = ""
    pod: str = ""
    service_account: str = ""
    encryption_key: int = 0
    named_ports: tuple[NamedPort, ...] = ()
    source: str = "custom-resource"


class Endpoints(Table[EndpointKey, Endpoint], name="endpoints"):
    """One row per address of every cluster known. A pod with two addresses has two rows."""

    primary = UniqueIndex[EndpointKey, Endpoint](lambda endpoint: endpoint.key)
    by_identity = Index[int, Endpoint](lambda endpoint: (endpoint.identity,))
    by_node = Index[str, Endpoint](lambda endpoint: (endpoint.host_ip,) if endpoint.host_ip else ())
    by_pod = Index[tuple[str, str], Endpoint](
        lambda endpoint: ((endpoint.namespace, endpoint.pod),) if endpoint.pod else ()
    )
    by_prefix = PrefixIndex[str, Endpoint](lambda endpoint: (endpoint.key.ip,))
