"""The backend ``etcd``: tables that other agents publish to an etcd, filled from there.

One agent watches the API server, and many read the tables that it publishes.

    options    the options in a configuration
    kinds      the types of the tables, their prefixes in the etcd, their decoders
    evidence   what is known about the writer of each table
    session    the source

`consumers.etcd.TableToEtcd` writes them. Needs the extra ``statedb[etcd]`` when it is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from statedb import Database
from statedb.catalog import Rejected, Sources
from statedb.catalog.wire import published

from ..errors import InvalidOptions, MissingDependency
from ..keyspace.options import EtcdReading
from ..source import AnyTable, Source
from . import kinds
from .options import FanoutOptions as FanoutOptions, TableOptions as TableOptions


def open(db: Database, cluster_name: str, cluster_id: int, options: FanoutOptions) -> Source:  # noqa: A001, ARG001
    """A source for the tables that the options name, not yet started. Raises InvalidOptions, MissingDependency."""
    return source(
        db,
        *kinds.tables_of(options.tables),
        options=options,
        prefix=options.prefix,
        heartbeat_timeout_s=options.heartbeat_timeout_s,
        cluster=cluster_name,
    )


def source(
    db: Database,
    *tables: AnyTable,
    options: EtcdReading,
    prefix: str = published.PREFIX,
    heartbeat_timeout_s: float = 120.0,
    cluster: str = "default",
    owns: Callable[[Any], bool] | None = None,
) -> Source:
    """A source, not yet started, that fills tables of your own from what `TableToEtcd` wrote of them elsewhere.

    A table is initialized once its writer has written all of it. A row goes when the writer deleted it: no row goes
    because the writer is away, its leases have ended, or the etcd lost its data. A table whose heartbeat is older than
    ``heartbeat_timeout_s`` is stale.

    Several sources may fill one table, each under a ``cluster`` of its own. Then ``owns`` says which rows are this
    one's, or the type of the table's keys begins with a field ``cluster``. The tables, ``sources`` and ``rejected`` are
    added to ``db`` where it lacks them. Raises InvalidOptions, MissingDependency.
    """
    _check(prefix)
    if not tables:
        raise InvalidOptions("tables: name at least one")
    try:
        from .session import FanoutSource
    except ModuleNotFoundError as error:
        raise MissingDependency(f"backend 'etcd' needs the package {error.name!r}; install 'statedb[etcd]'") from error
    for each in (*tables, Sources, Rejected):
        db.register(each)
    return FanoutSource(db, cluster, tables, options, prefix=prefix, heartbeat_timeout_s=heartbeat_timeout_s, owns=owns)


def added_tables(options: FanoutOptions) -> tuple[AnyTable, ...]:
    """The tables that the options name and the catalog has not. Raises InvalidOptions."""
    _check(options.prefix)
    return tuple([table for table in kinds.tables_of(options.tables) if table not in kinds.TABLES])


def catalog_names(options: FanoutOptions) -> tuple[str, ...]:
    """The names of the tables of the catalog that the options name."""
    names = [each if isinstance(each, str) else each.table for each in options.tables]
    return tuple([table.name for table in kinds.TABLES if table.name in names])


def _check(prefix: str) -> None:
    if not prefix.endswith("/"):
        raise InvalidOptions(f"prefix: {prefix!r} must end with a slash, or it takes the keys of others as well")
