"""The backends that a configuration can name: built-in ones, registered ones, and those of installed packages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

import msgspec

from statedb import Database, catalog

from . import clustermesh, fanout, kubernetes, kvstore, manifests
from .source import AnyTable, Source

ENTRY_POINTS = "statedb.backends"
"""The group of entry points under which packages offer backends: name -> a `Backend` of that name."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


def no_tables(options: Any) -> tuple[AnyTable, ...]:
    """The ``extra`` of a backend whose options never add tables."""
    del options
    return ()


def chosen_tables(options: Any) -> tuple[str, ...] | None:
    """The ``chosen`` of most backends: the field ``tables`` of options; None if they have no such field."""
    chosen: tuple[str, ...] | None = getattr(options, "tables", None)
    return chosen


class Backend(msgspec.Struct, frozen=True):
    """A kind of source: its name in the configuration, its options, and the names of the tables that it can fill.

    ``options`` is the type of what is below the name in the configuration. Its field ``tables`` (names or None), if it
    has one, lets users choose among the tables. ``own`` are the tables that are not in the catalog; an agent with this
    backend has them as well. ``extra`` returns the tables that options add; if there are any, the other tables are
    filled only if ``tables`` names them. ``chosen`` returns the names of ``tables`` that options choose, None for all,
    if that is not their field ``tables``.
    """

    name: str
    options: type[msgspec.Struct]
    tables: tuple[str, ...]
    open: Callable[[Database, str, int, Any], Source]
    """(db, cluster name, cluster id, options) -> a source, not yet started. May raise the errors of `ingest.errors`."""
    own: tuple[AnyTable, ...] = ()
    extra: Callable[[Any], tuple[AnyTable, ...]] = no_tables
    """options -> tables, always the same ones for the same options. Raises InvalidOptions."""
    chosen: Callable[[Any], tuple[str, ...] | None] = chosen_tables
    """options -> names, or None."""


_CLUSTER_STATE = ("nodes", "identities", "endpoints", "services", "backends")
_ALL = (*_CLUSTER_STATE, "namespaces", "policies")

_OURS = (
    Backend("manifests", manifests.ManifestsOptions, _ALL, manifests.open),
    Backend("kubernetes", kubernetes.KubernetesOptions, _ALL, kubernetes.open, extra=kubernetes.own_tables),
    Backend("kvstore", kvstore.KvstoreOptions, _CLUSTER_STATE, kvstore.open),
    Backend("clustermesh", clustermesh.ClusterMeshOptions, _CLUSTER_STATE, clustermesh.open),
    Backend("etcd", fanout.FanoutOptions, _ALL, fanout.open, extra=fanout.added_tables, chosen=fanout.catalog_names),
)
_registered = {backend.name: backend for backend in _OURS}

BACKENDS: Mapping[str, Backend] = MappingProxyType(_registered)
"""The backends by their names below ``ingest:`` in a configuration. `register` and `discover` add to them."""


def register(backend: Backend) -> None:
    """Make a backend known to configurations. Raises ValueError for an invalid name or table.

    Packages need not call this: they offer the backend as an entry point of the group `ENTRY_POINTS`.
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
    """Find a backend of this name in the installed packages, and register it. Returns why that failed, or ''."""
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
