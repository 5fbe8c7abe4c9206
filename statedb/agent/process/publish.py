"""The consumer ``publish``: writes tables of an agent to an etcd, for other agents with ``ingest: etcd``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from msgspec import Meta

from consumers.etcd import TableToEtcd, WriterOptions, WriterStats
from consumers.etcd.statistics import total
from consumers.etcd.store import Connect
from ingest.errors import InvalidOptions
from ingest.keyspace.options import EtcdServers
from ingest.reflect.ownership import begins_with_cluster
from ingest.source import AnyTable
from statedb import Database
from statedb.catalog.wire import published

from .parts import Parts


class PublishSettings(WriterOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Which tables are published, the options of their writers, and the etcd to write to.

    ``tables``: their names. Each has a writer, a heartbeat and a canary of its own. ``prefix``: the prefix of all keys
    in the etcd; it ends with a slash.
    """

    etcd: EtcdServers
    tables: Annotated[tuple[str, ...], Meta(min_length=1)]
    prefix: str = published.PREFIX


class PublishedTables(Parts[TableToEtcd]):
    """The writers of all published tables as one `Consumer`."""

    @property
    def ready(self) -> bool:
        """Whether all tables are written, with their canaries, and nothing is stuck now."""
        return all(part.ready for part in self._parts)

    @property
    def queue_size(self) -> int:
        """The number of keys that wait to be written."""
        return sum([part.queue_size for part in self._parts])

    def stats(self) -> WriterStats:
        """The combined statistics of the writers."""
        return total([part.stats() for part in self._parts])


def open_publish(
    db: Database, cluster: str, options: PublishSettings, connect: Callable[[], Connect]
) -> PublishedTables:
    """The writers, not yet started. ``connect`` is called once for each. Raises InvalidOptions."""
    if not options.prefix.endswith("/"):
        raise InvalidOptions(
            f"prefix: {options.prefix!r} must end with a slash, or it takes the keys of others as well"
        )
    tables: Sequence[AnyTable] = [db.table(name) for name in dict.fromkeys(options.tables)]
    return PublishedTables(
        "publish",
        [
            TableToEtcd(
                db, table, connect(), options, prefix=options.prefix, owns=_owns(table, cluster), cluster=cluster
            )
            for table in tables
        ],
    )


def _owns(table: AnyTable, cluster: str) -> Callable[[Any], bool] | None:
    """A test for rows of this cluster, if the table has several clusters: each cluster publishes its own rows."""
    key_of = table.key_of
    return (lambda row: key_of(row).cluster == cluster) if begins_with_cluster(table) else None
