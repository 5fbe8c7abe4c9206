"""The backends that a configuration can name: ours, registered ones, and those of installed packages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

import msgspec

from statedb import Database, catalog

from . import clustermesh, kubernetes, kvstore, manifests
from .source import AnyTable, Source

ENTRY_POINTS = "statedb.backends"
"""The group of entry points under which packages offer backends: name -> a `Backend` of that name."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


def no_tables(options: Any) -> tuple[AnyTable, ...]:
    """The tables that options add, of a backend whose options never do."""
    del options
    return ()


class Backend(msgspec.Struct, frozen=True):
    """A kind of source: its name in the configuration, its options, the names of the tables it can carry.

    ``options`` is what stands below the name; a field ``tables`` in it, of names or None, lets users choose some of
    them. ``own`` are those of the tables that are not of the catalog: an agent with this backend has them too.
    ``extra`` gives the tables that some options add; then others are filled only where ``tables`` names them.
    """

    name: str
    options: type[msgspec.Struct]
    tables: tuple[str, ...]
    open: Callable[[Database, str, int, Any], Source]
    """(db, cluster name, cluster id, options) -> a source not yet started; InvalidOptions, MissingDependency."""
    own: tuple[AnyTable, ...] = ()
    extra: Callable[[Any], tuple[AnyTable, ...]] = no_tables
    """options -> tables; InvalidOptions. The same tables for the same options."""


_CLUSTER_STATE = ("nodes", "identities", "endpoints", "services", "backends")
_ALL = (*_CLUSTER_STATE, "namespaces", "policies")

_OURS = (
    Backend("manifests", manifests.ManifestsOptions, _ALL, manifests.open),
    Backend("kubernetes", kubernetes.KubernetesOptions, _ALL, kubernetes.open, extra=kubernetes.own_tables),
    Backend("kvstore", kvstore.KvstoreOptions, _CLUSTER_STATE, kvstore.open),
    Backend("clustermesh", clustermesh.ClusterMeshOptions, _CLUSTER_STATE, clustermesh.open),
)
_registered = {backend.name: backend for backend in _OURS}

BACKENDS: Mapping[str, Backend] = MappingProxyType(_registered)
"""By the name that stands under ``ingest:`` in a configuration; grows with `register` and `discover`."""


def register(backend: Backend) -> None:
    """Make a backend known to configurations. Raises ValueError for a name or a table that cannot be.

    Packages need not call it: they offer the backend as an entry point of the group `ENTRY_POINTS`.
    """
    if not _NAME.fullmatch(backend.name):
        raise ValueError(f"backend {backend.name!r}: a name is lower-case letters, digits and dashes, 31 at most")
    if _registered.get(backend.name, backend) is not backend:
        raise ValueError(f"backend {backend.name!r} is registered already; choose another name")
    ours = {table.name for table in catalog.TABLES}
    own = {table.name for table in backend.own}
    if own & ours:
        raise ValueError(
            f"backend {backend.name!r}: {', '.join(sorted(own & ours))} is a table of the catalog, not its own"
        )
    unknown = sorted(set(backend.tables) - own - ours)
    if unknown or not own <= set(backend.tables):
        raise ValueError(
            f"backend {backend.name!r}: tables must name its own tables ({', '.join(sorted(own)) or 'none'}) and "
            f"besides only tables of the catalog{'; not ' + ', '.join(unknown) if unknown else ''}"
        )
    _registered[backend.name] = backend


def discover(name: str) -> str:
    """Look for a backend of this name among installed packages, and register it; why that failed, or the empty text."""
    for offer in entry_points(group=ENTRY_POINTS, name=name):
        package = offer.dist.name if offer.dist is not None else offer.value
        try:
            backend = offer.load()
            if not isinstance(backend, Backend) or backend.name != name:
                return f"package {package!r} offers {offer.value}, which is no Backend of the name {name!r}"
            register(backend)
        except Exception as error:  # whatever a foreign package does when it is imported
            return f"package {package!r} offers it, and it cannot be loaded: {type(error).__name__}: {error}"
    return ""
