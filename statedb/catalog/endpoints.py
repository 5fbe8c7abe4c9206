"""Endpoints: the identity and the node of each address. Knows neither etcd nor Kubernetes."""

import msgspec

from statedb import Index, PrefixIndex, Table, UniqueIndex


class EndpointKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """An address, in canonical text, or a network (``10.0.0.0/8``) if the whole network has one identity."""

    cluster: str
    ip: str


class NamedPort(msgspec.Struct, frozen=True, order=True, gc=False):
    """A container port that policies may refer to by name."""

    name: str
    port: int
    protocol: str


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """What is known about one address.

    ``identity`` 0 means unknown. ``host_ip`` is empty if the node is unknown. ``encryption_key`` 0 means none.
    ``named_ports`` keep the order of their source. ``source`` is who observed the endpoint, in the terms of Cilium.
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
    """One row for each address of every known cluster. A pod with two addresses has two rows."""

    primary = UniqueIndex[EndpointKey, Endpoint](lambda endpoint: endpoint.key)
    by_identity = Index[int, Endpoint](lambda endpoint: (endpoint.identity,))
    by_node = Index[str, Endpoint](lambda endpoint: (endpoint.host_ip,) if endpoint.host_ip else ())
    by_pod = Index[tuple[str, str], Endpoint](
        lambda endpoint: ((endpoint.namespace, endpoint.pod),) if endpoint.pod else ()
    )
    by_prefix = PrefixIndex[str, Endpoint](lambda endpoint: (endpoint.key.ip,))
