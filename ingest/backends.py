"""The backends that a configuration can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from statedb import Database

from . import clustermesh, kvstore, manifests
from .source import Source


class Backend(msgspec.Struct, frozen=True):
    """A kind of source: its name in the configuration, its options, the names of the tables it can carry."""

    name: str
    options: type[msgspec.Struct]
    tables: tuple[str, ...]
    open: Callable[[Database, str, int, Any], Source]
    """(db, cluster name, cluster id, options) -> a source not yet started; InvalidOptions, MissingDependency."""


_CLUSTER_STATE = ("nodes", "identities", "endpoints", "services", "backends")

BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {
        backend.name: backend
        for backend in (
            Backend(
                "manifests", manifests.ManifestsOptions, (*_CLUSTER_STATE, "namespaces", "policies"), manifests.open
            ),
            Backend("kvstore", kvstore.KvstoreOptions, _CLUSTER_STATE, kvstore.open),
            Backend("clustermesh", clustermesh.ClusterMeshOptions, _CLUSTER_STATE, clustermesh.open),
        )
    }
)
"""By the name that stands under ``ingest:`` in a configuration."""
