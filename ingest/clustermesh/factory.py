"""Creates the source of the local cluster, and of a remote one."""

from __future__ import annotations

from statedb import Database

from ..errors import InvalidOptions
from ..keyspace.connect import Servers, servers_of
from .ids import ClusterIds
from .kinds import Layout
from .options import ClusterMeshOptions, RemoteClustersOptions
from .session import ClusterSource


def local(db: Database, cluster: str, cluster_id: int, options: ClusterMeshOptions) -> ClusterSource:
    """A source of the local cluster's state. Raises InvalidOptions."""
    layout = Layout(
        cluster=cluster,
        max_clusters=options.max_connected_clusters,
        checked=False,
        prefer_endpoint_slices=options.prefer_endpoint_slices,
    )
    servers = servers_of(options, locked=True)
    return ClusterSource(db, layout, servers, options, own_id=cluster_id, tables=options.tables)


def remote(
    db: Database,
    cluster: str,
    servers: Servers,
    options: RemoteClustersOptions,
    ids: ClusterIds,
    *,
    mirror: bool = False,
) -> ClusterSource:
    """A source of a remote cluster. ``mirror`` adds its raw values, in the table `Mirror`. Raises InvalidOptions."""
    if not servers.locked:
        raise InvalidOptions("a connection to another cluster must be locked to one etcd")
    layout = Layout(
        cluster=cluster,
        max_clusters=options.max_connected_clusters,
        prefer_endpoint_slices=options.prefer_endpoint_slices,
        mirror=mirror,
    )
    return ClusterSource(db, layout, servers, options, ids=ids)
