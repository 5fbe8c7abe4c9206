"""Etcds in ClusterMesh layout into tables: the local cluster's, and those of remote clusters.

    options kinds     what a configuration says, what stands where and how it becomes rows
    ids               who has which id
    session           one cluster: the life of its connection
    files remotes     a directory with a file for each remote cluster

Needs the extra ``statedb[etcd]`` when it is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from statedb import Database
from statedb.catalog.wire.endpoint_slices import can_decompress

from ..errors import MissingDependency
from ..source import Source
from .options import ClusterMeshOptions as ClusterMeshOptions, RemoteClustersOptions as RemoteClustersOptions


class RemoteSources(Protocol):
    """All remote clusters: started once, stopped once. Each of them is a source of its own."""

    @property
    def clusters(self) -> Sequence[Source]:
        """Those that are there now."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """What ended its thread against all expectation, else None."""
        ...

    def start(self) -> None:
        """Begin; clusters may come and go from now on."""
        ...

    def stop(self) -> None:
        """Ask all to end, and return at once."""
        ...

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all have ended; False when ``timeout`` seconds passed before."""
        ...


def open(db: Database, cluster_name: str, cluster_id: int, options: ClusterMeshOptions) -> Source:  # noqa: A001
    """The local cluster's own state from such an etcd, not yet started. Raises InvalidOptions, MissingDependency."""
    _check_codec(options.prefer_endpoint_slices)
    try:
        from .factory import local
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"backend 'clustermesh' needs the package {error.name!r}; install 'statedb[etcd]'"
        ) from error
    return local(db, cluster_name, cluster_id, options)


def open_remotes(
    db: Database, cluster_name: str, cluster_id: int, options: RemoteClustersOptions, *, mirror: bool = False
) -> RemoteSources:
    """The remote clusters that a directory names, not yet started; ours is the cluster given.

    With ``mirror`` their raw values go into the table `Mirror` of the catalog besides, which ``db`` has then.
    Raises InvalidOptions, MissingDependency.
    """
    _check_codec(options.prefer_endpoint_slices)
    try:
        from ..keyspace.resolving import resolver_of
        from .remotes import RemoteClusters
    except ModuleNotFoundError as error:
        raise MissingDependency(f"remote clusters need the package {error.name!r}; install 'statedb[etcd]'") from error
    make_resolver = resolver_of(options.service_resolver)
    if make_resolver is not None:
        make_resolver().close()  # what is wrong with it is told now, and not of each cluster
    return RemoteClusters(db, cluster_name, cluster_id, options, mirror=mirror)


def _check_codec(needed: bool) -> None:
    """Slices that cannot be read should be told before all of them are rejected one by one."""
    if needed and not can_decompress():
        raise MissingDependency("prefer-endpoint-slices: endpoint slices are compressed; install 'statedb[zstd]'")
