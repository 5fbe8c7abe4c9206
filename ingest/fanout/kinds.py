"""Published tables: which types their rows have, where they stand in an etcd, how their values become rows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from statedb import InvalidTable
from statedb.catalog import (
    TABLES as CATALOG,
    EndpointSlices,
    Mirror,
    Object,
    Objects,
    Rejected,
    Sources,
    kinds as of_kubernetes,
    objects_table,
)
from statedb.catalog.wire import WireError, published

from ..errors import InvalidOptions
from ..keyspace.kind import Kind
from ..objects import index_names
from ..own_rows import own_rows
from ..reflect.ownership import begins_with_cluster
from ..source import AnyTable
from .options import TableOptions

TABLES: tuple[AnyTable, ...] = tuple([table for table in CATALOG if table not in (Sources, Rejected)])
"""Those whose rows are of the catalog's types."""

_TYPED = {table.name: table for table in TABLES}
_RESERVED = {table.name for table in (Sources, Rejected, Mirror, EndpointSlices)}


def table_of(named: str | TableOptions) -> AnyTable:
    """The table of this name: of typed rows if asked for, else of the catalog or of `Object`. Raises InvalidOptions."""
    options = TableOptions(table=named) if isinstance(named, str) else named
    name = options.table
    if name in _RESERVED:
        raise InvalidOptions(f"tables: {name!r} is a table of the agent's own; nobody publishes it")
    if options.rows_of is not None and options.index:
        raise InvalidOptions(f"tables: {name}: typed rows have indexes of their own; leave the option index out")
    if options.rows_of is not None and name in _TYPED:
        raise InvalidOptions(f"tables: the catalog has a table {name!r} already; publish these rows under another name")
    if name not in _TYPED:
        try:
            return _kubernetes_table(name, options)
        except (InvalidTable, ValueError) as error:
            raise InvalidOptions(f"tables: {name}: {error}") from None
    if options.index:
        raise InvalidOptions(f"tables: {name}: a table of the catalog has its own indexes; leave the option index out")
    return _TYPED[name]


def _kubernetes_table(name: str, options: TableOptions) -> AnyTable:
    """A table of typed rows, or of `Object` rows. Raises InvalidTable and ValueError."""
    if options.rows_of is None:
        return objects_table(name, index_names(name, options.index))
    kind = of_kubernetes.kind_named(options.rows_of)
    if kind is None:
        raise ValueError(f"rows-of: {options.rows_of} has no typed rows; those that have are {of_kubernetes.known()}")
    return kind.table_named(name)


def tables_of(named: Iterable[str | TableOptions]) -> tuple[AnyTable, ...]:
    """The tables of these names, in their order. Raises InvalidOptions where one is named twice."""
    found: dict[str, AnyTable] = {}
    for each in named:
        table = table_of(each)
        if table.name in found:
            raise InvalidOptions(f"tables: {table.name} is named twice; name it once")
        found[table.name] = table
    return tuple(found.values())


def kind(table: AnyTable, prefix: str, cluster: str, owns: Callable[[Any], bool] | None) -> Kind:
    """Where the table stands below a prefix, and its canary. ``owns``: which rows are the source's (Any: of a user)."""
    decode = msgspec.json.Decoder(table.row_type).decode
    of_one_cluster = owns is None and begins_with_cluster(table)
    keys_by_path = len(table.indexes) - len(Objects.indexes)

    def read(value: bytes) -> tuple[Any, ...]:
        row = decode(value)
        if isinstance(row, Object) and len(row.indexed) != keys_by_path:
            raise WireError(
                f"its writer has {len(row.indexed)} indexes by path, this table has {keys_by_path}: "
                "name them in the writer's order by the option index"
            )
        if of_one_cluster and table.key_of(row).cluster != cluster:
            raise WireError(
                f"it is of cluster {table.key_of(row).cluster!r}, and this source's is {cluster!r}: "
                "give both agents the same cluster.name"
            )
        return (row,)

    def rows(_: str, value: bytes) -> tuple[Any, ...]:
        return own_rows(table, lambda: read(value), owns)

    canary = published.canary(prefix, table.name).encode()
    return Kind(published.folder(prefix, table.name), (table,), rows, canaries=(canary,))
