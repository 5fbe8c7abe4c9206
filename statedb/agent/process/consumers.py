"""The consumers that a configuration can name: which tables they need, and how they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from consumers.etcd.meshcache import MeshCacheOptions, open_meshcache
from consumers.etcd.publisher import PublisherOptions, open_publisher
from consumers.running.derivation import Derivation
from consumers.tables.conflicts import derive_conflicts
from consumers.tables.ipcache import derive_ipcache
from consumers.tables.loadbalancer import derive_loadbalancer
from consumers.tables.routes import derive_routes
from consumers.tables.selectors import derive_selectors
from ingest.errors import InvalidOptions, MissingDependency
from ingest.keyspace.options import EtcdOptions, ServiceResolverOptions, TlsOptions
from ingest.source import AnyTable
from statedb import Database
from statedb.catalog import EndpointSlices, Mirror
from statedb.catalog.wire.endpoint_slices import can_decompress

if TYPE_CHECKING:
    from ingest.etcd import Client


class Consumer(Protocol):
    """Does something with the tables on threads of its own. One life: made, started once, stopped once."""

    @property
    def name(self) -> str:
        """What it is called in the configuration."""
        ...

    @property
    def health(self) -> str:
        """How it is doing, in one line, which begins with OK where it does well."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it has done all that there was to do when the tables were first complete."""
        ...

    @property
    def queue_size(self) -> int:
        """What it still has to do: keys to write, or 0 for those whose work is done as soon as it is there."""
        ...

    @property
    def crash(self) -> BaseException | None:
        """What ended it against all expectation: a bug. Else None."""
        ...

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """Ask it to end, and return at once."""
        ...

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; False when ``timeout`` seconds passed before."""
        ...


class Kind(msgspec.Struct, frozen=True):
    """A kind of consumer: its name and options in the configuration, and the tables that a source must fill for it."""

    name: str
    needs: tuple[str, ...]
    options: type[msgspec.Struct]
    open: Callable[[Database, str, int, Any], Consumer]
    """(db, cluster name, cluster id, options) -> a consumer not yet started; raises InvalidOptions."""
    own: Callable[[Any], tuple[AnyTable, ...]] = lambda _: ()
    """options -> the tables that the database must have for it, beside those of the catalog."""
    of_remotes: bool = False
    """Whether it is about remote clusters, so that there must be some."""


class NoOptions(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Of consumers that have nothing to choose."""


class IPCacheOptions(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """``local_node`` is the name of the node whose addresses are the host's own; none if not given."""

    local_node: str = ""


class SelectorsOptions(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """``peers_are_local``: a peer of a policy that names no cluster means the local one only (Cilium's default)."""

    peers_are_local: bool = True


class Derived:
    """One or several derived tables as a `Consumer`."""

    queue_size = 0

    def __init__(self, db: Database, name: str, *parts: Derivation[Any, Any]) -> None:
        """All of them are started and stopped together."""
        self.name = name
        self._db = db
        self._parts = parts

    @property
    def health(self) -> str:
        """Of the first part that is not well."""
        return next((part.health for part in self._parts if part.health != "OK"), "OK")

    @property
    def ready(self) -> bool:
        """Whether the derived tables are initialized."""
        snapshot = self._db.snapshot()
        return all(snapshot[part.target].initialized for part in self._parts)

    @property
    def crash(self) -> BaseException | None:
        """Of the first part that crashed."""
        return next((part.crash for part in self._parts if part.crash is not None), None)

    def start(self) -> None:
        """Begin."""
        for part in self._parts:
            part.start()

    def stop(self) -> None:
        """Ask them to end; the tables stay."""
        for part in self._parts:
            part.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all have ended; ``timeout`` is for each."""
        ended = [part.join(timeout) for part in self._parts]
        return all(ended)


def _open_ipcache(db: Database, cluster: str, _: int, options: IPCacheOptions) -> Consumer:
    return Derived(db, "ipcache", derive_ipcache(db, cluster, local_node=options.local_node))


def _open_selectors(db: Database, cluster: str, _: int, options: SelectorsOptions) -> Consumer:
    return Derived(db, "selectors", *derive_selectors(db, cluster, peers_are_local=options.peers_are_local))


class Etcd(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """The etcd that is written, told as those that backends read."""

    endpoints: Annotated[tuple[str, ...], Meta(min_length=1)]
    tls: TlsOptions | None = None
    username: str | None = None
    password_file: str | None = None
    host_aliases: dict[str, tuple[str, ...]] = {}
    service_resolver: ServiceResolverOptions | None = None
    request_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    keepalive_s: Annotated[float, Meta(ge=5)] = 10.0
    keepalive_timeout_s: Annotated[float, Meta(gt=0)] = 3.0


class PublisherSettings(PublisherOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Where and how to publish."""

    etcd: Etcd


class MeshCacheSettings(MeshCacheOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Where and how to copy remote clusters."""

    etcd: Etcd


def _open_publisher(db: Database, cluster: str, cluster_id: int, options: PublisherSettings) -> Consumer:
    if options.export != "services" and not can_decompress():
        raise MissingDependency("export: endpoint slices are compressed; install 'statedb[zstd]'")
    if options.users is not None and (options.etcd.tls is None or options.etcd.tls.cert_file is None):
        raise InvalidOptions(
            "users: the etcd will ask for certificates, ours too; name etcd.tls.cert-file and key-file, "
            f"of a certificate for admin-{cluster} or root"
        )
    return open_publisher(db, cluster, cluster_id, _dialer(options.etcd), options)


def _open_meshcache(db: Database, _: str, __: int, options: MeshCacheSettings) -> Consumer:
    return open_meshcache(db, _dialer(options.etcd), options)


def _dialer(etcd: Etcd) -> Callable[[], Client]:
    """Each call gives a new connection, to the next server where the last one failed.

    Raises InvalidOptions, MissingDependency.
    """
    try:
        from ingest.keyspace.connect import Connector, servers_of
    except ModuleNotFoundError as error:
        raise MissingDependency(f"an etcd needs the package {error.name!r}; install 'statedb[etcd]'") from error
    where = {name: getattr(etcd, name) for name in etcd.__struct_fields__}
    connector = Connector(servers_of(EtcdOptions(**where)))
    used = False

    def dial() -> Client:
        nonlocal used
        if used:
            connector.failed()
        used = True
        return connector.connect()

    return dial


_KINDS = (
    Kind("ipcache", ("nodes", "endpoints"), IPCacheOptions, _open_ipcache),
    Kind("routes", ("nodes",), NoOptions, lambda db, cluster, *_: Derived(db, "routes", derive_routes(db, cluster))),
    Kind(
        "loadbalancer",
        ("services", "backends"),
        NoOptions,
        lambda db, cluster, *_: Derived(db, "loadbalancer", derive_loadbalancer(db, cluster)),
    ),
    Kind(
        "selectors",
        ("identities", "policies"),
        SelectorsOptions,
        _open_selectors,
    ),
    Kind(
        "publisher",
        ("nodes", "identities", "endpoints", "services", "backends", "namespaces"),
        PublisherSettings,
        _open_publisher,
        own=lambda options: () if options.export == "services" else (EndpointSlices,),
    ),
    Kind("meshcache", (), MeshCacheSettings, _open_meshcache, own=lambda _: (Mirror,), of_remotes=True),
)

_WITH_CLAIMS = frozenset({"ipcache", "routes", "loadbalancer"})
"""Consumers whose tables have one winner for each key that rows of several clusters may claim."""


def open_conflicts(db: Database, cluster: str, consumers: Iterable[str]) -> Consumer | None:
    """What keeps the table ``conflicts`` beside consumers of these names; None where none of them needs it."""
    if _WITH_CLAIMS.isdisjoint(consumers):
        return None
    return Derived(db, "conflicts", derive_conflicts(db, cluster))


KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""By the name that stands under ``consumers:`` in a configuration."""
