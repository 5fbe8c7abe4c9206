"""What stands under which prefix of an etcd in KVStore layout, and how it becomes rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from catalog import Backends, Endpoints, Identities, Nodes, Services
from catalog.wire import identities, ips, keys, nodes, services

from ..errors import InvalidOptions
from ..source import AnyTable

HEARTBEAT = keys.HEARTBEAT.encode()
"""Written every minute by whoever writes the rest."""

TABLES: tuple[AnyTable, ...] = (Nodes, Identities, Endpoints, Services, Backends)
"""All that a KVStore etcd can fill."""


class Kind(msgspec.Struct, frozen=True):
    """One prefix. ``decode`` makes rows of what follows the prefix in a key, and the value; or raises WireError.

    ``mixed``: the rows are of several types. Rows of tables that are not among ``tables`` are left out.
    """

    prefix: str
    tables: tuple[AnyTable, ...]
    decode: Callable[[str, bytes], tuple[Any, ...]]
    mixed: bool = False


def kinds(cluster: str, cluster_id: int) -> tuple[Kind, ...]:
    """Those of Cilium, in the order in which they are best listed: what others refer to comes first."""
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
    if names is None:
        return kinds(cluster, cluster_id)
    by_name = {table.name: table for table in TABLES}
    for name in names:
        if name not in by_name:
            raise InvalidOptions(f"tables: kvstore carries no table {name!r}; it carries {', '.join(by_name)}")
    if not names:
        raise InvalidOptions("tables: name at least one, or leave the option out to fill all")
    found = []
    for kind in kinds(cluster, cluster_id):
        tables = tuple(table for table in kind.tables if table.name in names)
        if tables:
            found.append(msgspec.structs.replace(kind, tables=tables))
    return tuple(found)
