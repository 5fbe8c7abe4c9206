"""An etcd in Cilium's KVStore layout into tables. Needs the extra ``statedb[etcd]`` when it is opened."""

from __future__ import annotations

from statedb import Database

from ..errors import MissingDependency
from ..source import Source
from .options import KvstoreOptions as KvstoreOptions, TlsOptions as TlsOptions


def open(db: Database, cluster_name: str, cluster_id: int, options: KvstoreOptions) -> Source:  # noqa: A001
    """A source, not yet started. Raises InvalidOptions, MissingDependency."""
    try:
        from .source import KvstoreSource
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"backend 'kvstore' needs the package {error.name!r}; install 'statedb[etcd]'"
        ) from error
    return KvstoreSource(db, cluster_name, cluster_id, options)
