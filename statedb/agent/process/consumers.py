"""The kinds of consumers that a configuration can name: their options, the tables they need, how they are opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from consumers.etcd.meshcache import MeshCacheOptions, open_meshcache
from consumers.etcd.publisher import PublisherOptions, open_publisher
from consumers.running.derivation import Derivation
from consumers.tables.conflicts import derive_conflicts
from consumers.tables.ipcache import derive_ipcache
from consumers.tables.loadbalancer import derive_loadbalancer
from consumers.tables.routes import derive_routes
from consumers.tables.selectors import derive_selectors
from ingest.errors import InvalidOptions, MissingDependency
from ingest.keyspace.options import EtcdServers
from ingest.source import AnyTable
from statedb import Database
from statedb.catalog import EndpointSlices, Mirror
from statedb.catalog.wire.endpoint_slices import can_decompress

from ..consumer import Consumer
from ..http.resources import Flow
from .parts import Parts
from .publish import PublishSettings, open_publish

if TYPE_CHECKING:
    from ingest.etcd import Client


class ConsumerKind(msgspec.Struct, frozen=True):
    """A kind of consumer: its name and options in the configuration, and the tables that sources must fill for it."""

    name: str
    needs: tuple[str, ...]
    options: type[msgspec.Struct]
    open: Callable[[Database, str, int, Any], Consumer]
    """(db, cluster name, cluster id, options) -> a consumer not yet started; raises InvalidOptions."""
    extra_tables: Callable[[Any], tuple[AnyTable, ...]] = lambda _: ()
    """options -> the tables that the database must have in addition to those of the catalog."""
    fills: tuple[str, ...] = ()
    """The tables that it derives from them."""
    needs_remote_clusters: bool = False
    """Whether the configuration must have ``remote-clusters`` for it."""
    named: Callable[[Any], tuple[str, ...]] = lambda _: ()
    """options -> more tables that sources must fill, because the options name them."""

    def reads(self, options: Any) -> tuple[str, ...]:
        """All tables that sources must fill for it (Any: its options)."""
        return (*self.needs, *self.named(options))


class NoOptions(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """For consumers without options."""


class IPCacheOptions(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """``local_node``: the name of the node of this agent. Without it, no entry has the identity of the host."""

    local_node: str = ""


class SelectorsOptions(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """``peers_are_local``: a peer of a policy without a cluster means the local one only (Cilium's default)."""

    peers_are_local: bool = True


class DerivedTables(Parts[Derivation[Any, Any]]):
    """A `Consumer` made of one or several derived tables."""

    queue_size = 0

    def __init__(self, db: Database, name: str, *parts: Derivation[Any, Any]) -> None:
        """``parts`` are started and stopped together."""
        super().__init__(name, parts)
        self._db = db

    @property
    def ready(self) -> bool:
        """Whether the derived tables are initialized."""
        snapshot = self._db.snapshot()
        return all(snapshot[part.target].initialized for part in self._parts)

    @property
    def set_aside_count(self) -> int:
        """The number of keys and rows that cannot be computed."""
        return sum([len(part.set_aside()) for part in self._parts])

    @property
    def failure_count(self) -> int:
        """The number of failed tries since the start."""
        return sum([part.failures for part in self._parts])


def _open_ipcache(db: Database, cluster: str, _: int, options: IPCacheOptions) -> Consumer:
    return DerivedTables(db, "ipcache", derive_ipcache(db, cluster, local_node=options.local_node))


def _open_selectors(db: Database, cluster: str, _: int, options: SelectorsOptions) -> Consumer:
    return DerivedTables(db, "selectors", *derive_selectors(db, cluster, peers_are_local=options.peers_are_local))


class PublisherSettings(PublisherOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """The options of the publisher, with the etcd to publish to."""

    etcd: EtcdServers


class MeshCacheSettings(MeshCacheOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """The options of the mesh cache, with the etcd to copy remote clusters to."""

    etcd: EtcdServers


def _open_publisher(db: Database, cluster: str, cluster_id: int, options: PublisherSettings) -> Consumer:
    ids = options.max_connected_clusters
    if not 1 <= cluster_id <= ids:
        raise InvalidOptions(
            f"max-connected-clusters: cluster.id is {cluster_id}; a published cluster needs one from 1 to {ids}"
        )
    if options.export != "services" and not can_decompress():
        raise MissingDependency("export: endpoint slices are compressed; install 'statedb[zstd]'")
    if options.users is not None and (options.etcd.tls is None or options.etcd.tls.cert_file is None):
        raise InvalidOptions(
            "users: the etcd will require client certificates, also from us; set etcd.tls.cert-file and key-file "
            f"to a certificate for admin-{cluster} or root"
        )
    return open_publisher(db, cluster, cluster_id, _dialer(options.etcd), options)


def _open_meshcache(db: Database, _: str, __: int, options: MeshCacheSettings) -> Consumer:
    return open_meshcache(db, _dialer(options.etcd), options)


def _open_publish(db: Database, cluster: str, _: int, options: PublishSettings) -> Consumer:
    return open_publish(db, cluster, options, lambda: _dialer(options.etcd))


def _dialer(etcd: EtcdServers) -> Callable[[], Client]:
    """A function that returns a new connection at each call, to the next server each time.

    Raises InvalidOptions, MissingDependency.
    """
    try:
        from ingest.keyspace.connect import Connector, servers_of  # optional package: grpcio
    except ModuleNotFoundError as error:
        raise MissingDependency(f"an etcd needs the package {error.name!r}; install 'statedb[etcd]'") from error
    connector = Connector(servers_of(etcd))
    used = False

    def dial() -> Client:
        nonlocal used
        if used:
            connector.try_next()
        used = True
        return connector.connect()

    return dial


_ALL_KINDS = (
    ConsumerKind("ipcache", ("nodes", "endpoints"), IPCacheOptions, _open_ipcache, fills=("ipcache",)),
    ConsumerKind(
        "routes",
        ("nodes",),
        NoOptions,
        lambda db, cluster, *_: DerivedTables(db, "routes", derive_routes(db, cluster)),
        fills=("routes",),
    ),
    ConsumerKind(
        "loadbalancer",
        ("services", "backends"),
        NoOptions,
        lambda db, cluster, *_: DerivedTables(db, "loadbalancer", derive_loadbalancer(db, cluster)),
        fills=("loadbalancer",),
    ),
    ConsumerKind(
        "selectors",
        ("identities", "policies"),
        SelectorsOptions,
        _open_selectors,
        fills=("selector-uses", "selections"),
    ),
    ConsumerKind(
        "publisher",
        ("nodes", "identities", "endpoints", "services", "backends", "namespaces"),
        PublisherSettings,
        _open_publisher,
        extra_tables=lambda options: () if options.export == "services" else (EndpointSlices,),
    ),
    ConsumerKind(
        "meshcache",
        (),
        MeshCacheSettings,
        _open_meshcache,
        extra_tables=lambda _: (Mirror,),
        needs_remote_clusters=True,
    ),
    ConsumerKind("publish", (), PublishSettings, _open_publish, named=lambda options: options.tables),
)

_WITH_CLAIMS = frozenset({"ipcache", "routes", "loadbalancer"})
"""Consumers whose tables have one winner for each key that rows of several clusters may claim."""


def open_conflicts(db: Database, cluster: str, consumers: Iterable[str]) -> Consumer | None:
    """The consumer that maintains the table ``conflicts`` beside these consumers; None if none of them needs it."""
    if _WITH_CLAIMS.isdisjoint(consumers):
        return None
    return DerivedTables(db, "conflicts", derive_conflicts(db, cluster))


CONSUMER_KINDS: Mapping[str, ConsumerKind] = MappingProxyType({kind.name: kind for kind in _ALL_KINDS})
"""The kinds by their names under ``consumers:`` in a configuration."""


def flows(consumers: Iterable[Consumer], options: Mapping[str, Any]) -> dict[str, Flow]:
    """The tables that each consumer of an agent reads and fills, by its name; ``options`` are those of each kind."""
    kinds = [CONSUMER_KINDS[each.name] for each in consumers if each.name in CONSUMER_KINDS]
    found = {kind.name: Flow(kind.reads(options[kind.name]), kind.fills) for kind in kinds}
    claimed = [kind for kind in kinds if kind.name in _WITH_CLAIMS]
    if "conflicts" in [each.name for each in consumers]:
        reads = tuple(dict.fromkeys([table for kind in claimed for table in kind.needs]))
        found["conflicts"] = Flow(reads, ("conflicts",))
    return found
