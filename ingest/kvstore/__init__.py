"""Tables from an etcd in Cilium's KVStore layout. Opening a source needs the extra ``statedb[etcd]``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from statedb import Database, Table
from statedb.catalog import Rejected, Sources
from statedb.catalog.wire import published

from .. import fanout
from ..errors import InvalidOptions, MissingDependency
from ..own_rows import own_rows
from ..source import Source
from .kinds import Kind
from .options import KvstoreOptions as KvstoreOptions, TlsOptions as TlsOptions

R = TypeVar("R")


def open(db: Database, cluster_name: str, cluster_id: int, options: KvstoreOptions) -> Source:  # noqa: A001
    """A source, not yet started. Raises InvalidOptions, MissingDependency."""
    return _source(db, cluster_name, cluster_id, options)


def source(
    db: Database,
    prefix: str,
    decode: Callable[[str, bytes], Iterable[R]],
    table: type[Table[Any, R]],
    options: KvstoreOptions,
    *,
    cluster: str = "default",
    owns: Callable[[R], bool] | None = None,
) -> Source:
    """A source, not yet started, that fills a table of your own from the keys under a prefix of an etcd.

    ``decode`` gets the part of a key after the prefix, and the value. It returns the rows: none, one or several. It is
    called by one thread and must be pure. An exception affects only its key: the last good rows of the key stay, and
    the table ``rejected`` has the reason. ``table``, ``sources`` and ``rejected`` are added to ``db``
    if it lacks them. All guarantees of the backend hold: when a list deletes, what an outage does, one owner for each
    table.

    Several sources may fill one table, each with a ``cluster`` of its own. Then ``owns`` tells which rows belong to
    this source, unless the type of the table's keys begins with a field ``cluster``.

    Raises InvalidOptions, MissingDependency.
    """
    if not prefix.endswith("/"):
        raise InvalidOptions(f"prefix: {prefix!r} must end with a slash, or it takes the keys of others as well")
    if options.tables is not None:
        raise InvalidOptions("tables: a source of your own fills the table it is given; leave the option out")

    def decoded(name: str, value: bytes) -> tuple[R, ...]:
        return own_rows(table, lambda: decode(name, value), owns)

    for each in (table, Sources, Rejected):
        db.register(each)
    return _source(db, cluster, 0, options, (Kind(prefix, (table,), decoded),), owns)


def table(
    db: Database,
    table: type[Table[Any, R]],
    options: KvstoreOptions,
    *,
    prefix: str = published.PREFIX,
    cluster: str = "default",
    owns: Callable[[R], bool] | None = None,
) -> Source:
    """A source, not yet started, that reads a table which ``consumers.etcd.TableToEtcd`` writes in another process.

    As `ingest.fanout.source`, for one table and with the options of this backend.
    Raises InvalidOptions, MissingDependency.
    """
    if options.tables is not None or options.relist_s is not None:
        raise InvalidOptions("tables, relist-s: a source of your own table has no use for them; leave them out")
    return fanout.source(db, table, options=options, prefix=prefix, cluster=cluster, owns=owns)


def _source(
    db: Database,
    cluster: str,
    cluster_id: int,
    options: KvstoreOptions,
    kinds: tuple[Kind, ...] | None = None,
    owns: Callable[[Any], bool] | None = None,
) -> Source:
    try:
        from .session import KvstoreSource
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"backend 'kvstore' needs the package {error.name!r}; install 'statedb[etcd]'"
        ) from error
    return KvstoreSource(db, cluster, cluster_id, options, kinds=kinds, owns=owns)
