"""The prefixes of an etcd in KVStore layout, with their decoders and tables."""

from __future__ import annotations

from typing import Any

from statedb.catalog import Backends, Endpoints, Identities, Nodes, Services
from statedb.catalog.wire import identities, ips, keys, nodes, services

from ..keyspace import kind
from ..keyspace.kind import Kind as Kind
from ..source import AnyTable

HEARTBEAT = keys.HEARTBEAT.encode()
"""Written every minute by the writers of the other keys."""

TABLES: tuple[AnyTable, ...] = (Nodes, Identities, Endpoints, Services, Backends)
"""All that a KVStore etcd can fill."""


def kinds(cluster: str, cluster_id: int) -> tuple[Kind, ...]:
    """The kinds of Cilium, in the order in which they are listed: those that others refer to come first."""
    decode_ip = ips.decode

    def ip(name: str, value: bytes) -> tuple[Any, ...]:
        endpoint = decode_ip(cluster, name, value)
        return () if endpoint is None else (endpoint,)

    def service(name: str, value: bytes) -> tuple[Any, ...]:
        row, backends = services.decode(cluster, name, value, cluster_id=cluster_id)
        return (row, *backends)

    return (
        Kind(
            keys.NODES + "/",
            (Nodes,),
            lambda name, value: (nodes.decode(cluster, name, value, cluster_id=cluster_id),),
        ),
        Kind(keys.IDENTITIES + "/", (Identities,), lambda name, value: (identities.decode(cluster, name, value),)),
        Kind(keys.IPS + "/", (Endpoints,), ip),
        Kind(keys.SERVICES + "/", (Services, Backends), service, mixed=True),
    )


def chosen(cluster: str, cluster_id: int, names: tuple[str, ...] | None) -> tuple[Kind, ...]:
    """The kinds that fill the tables of these names, and no others; all without names. Raises InvalidOptions."""
    return kind.chosen(kinds(cluster, cluster_id), kind.check_names("kvstore", TABLES, names))
