"""Tables from etcds in ClusterMesh layout: that of the local cluster, and those of remote clusters.

    options kinds     the configuration; the prefixes and their decoders
    ids               which cluster has which id
    session           the connection to one cluster
    mirror_config     the config of a cluster in the table `Mirror`
    files remotes     a directory with a file for each remote cluster

Opening a source needs the extra ``statedb[etcd]``.
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
    """All remote clusters. They are started and stopped once. Each of them is a source."""

    @property
    def clusters(self) -> Sequence[Source]:
        """The clusters that exist now."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """The error that ended the thread unexpectedly, or None."""
        ...

    def start(self) -> None:
        """Start. From now on clusters may come and go."""
        ...

    def stop(self) -> None:
        """Ask all to end, and return at once."""
        ...

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all have ended; False when ``timeout`` seconds passed before."""
        ...


def open(db: Database, cluster_name: str, cluster_id: int, options: ClusterMeshOptions) -> Source:  # noqa: A001
    """A source, not yet started, of the local cluster's state. Raises InvalidOptions, MissingDependency."""
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
    """The remote clusters of a directory, not yet started. The given cluster is the local one.

    With ``mirror`` their raw values are also written to the table `Mirror` of the catalog, which ``db`` must have then.
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
        make_resolver().close()  # report its errors now, and not once for each cluster
    return RemoteClusters(db, cluster_name, cluster_id, options, mirror=mirror)


def _check_codec(needed: bool) -> None:
    """Report a missing codec once, instead of rejecting every compressed slice."""
    if needed and not can_decompress():
        raise MissingDependency("prefer-endpoint-slices: endpoint slices are compressed; install 'statedb[zstd]'")
