"""The options of the backend for published tables, as they stand in the configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from statedb.catalog.wire import published

from ..keyspace.options import EtcdReading, TlsOptions as TlsOptions

_Text = Annotated[str, Meta(min_length=1)]


class TableOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A table by its name, and what its writer put into it.

    ``index``: the names of its indexes by path, in the order in which its writer has them. ``rows_of``: the resource of
    Kubernetes whose typed rows (`statedb.catalog.kinds`) are in the table.
    """

    table: _Text
    index: tuple[str, ...] = ()
    rows_of: _Text | None = None


class FanoutOptions(EtcdReading, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """An etcd to which agents publish tables; all endpoints are of one etcd cluster.

    ``tables``: which tables to fill, each a name, or a name with its indexes by path: ``{table: pods, index: [zone]}``.
    ``prefix``: where the tables stand in the etcd, the same as at their writer. ``heartbeat_timeout_s``: a table whose
    heartbeat is older, by our clock, has no writer.
    """

    tables: Annotated[tuple[_Text | TableOptions, ...], Meta(min_length=1)]
    prefix: str = published.PREFIX
    heartbeat_timeout_s: Annotated[float, Meta(gt=0)] = 120.0
