"""The options of clusters in ClusterMesh layout, as they stand in the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..keyspace.options import EtcdOptions, ServiceResolverOptions, TlsOptions as TlsOptions

MaxClusters = Literal[255, 511]


class ClusterMeshOptions(EtcdOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """An etcd in ClusterMesh layout; ``endpoints`` may be replicas that know nothing of each other.

    ``max_connected_clusters`` is the same in a whole mesh. ``prefer_endpoint_slices``: where a cluster announces its
    services in both forms, backends come from endpoint slices. ``config_timeout_s``: how long to wait for a cluster to
    say who it is before the connection is made anew; with several servers ``retry_max_s`` at most.
    ``heartbeat_timeout_s``: a server whose heartbeat is older, by our clock, has no writer. ``renewal_s``: how often to
    look for renewed certificates.
    """

    max_connected_clusters: MaxClusters = 255
    prefer_endpoint_slices: bool = False
    config_timeout_s: Annotated[float, Meta(gt=0)] = 180.0
    heartbeat_timeout_s: Annotated[float, Meta(gt=0)] = 120.0
    renewal_s: Annotated[float, Meta(gt=0)] = 10.0


class RemoteClustersOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A directory with one etcd configuration for each other cluster; a file's name is the cluster's.

    ``rescan_s``: how often to look at it. ``sync_timeout_s``: for how long an agent's consumers wait, when it starts,
    for the clusters that are there by then. The others are those of each cluster's connection.
    """

    directory: Annotated[str, Meta(min_length=1)]
    rescan_s: Annotated[float, Meta(gt=0)] = 1.0
    sync_timeout_s: Annotated[float, Meta(ge=0)] = 60.0
    max_connected_clusters: MaxClusters = 255
    prefer_endpoint_slices: bool = False
    service_resolver: ServiceResolverOptions | None = None
    page_limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    lease_time_s: Annotated[float, Meta(ge=0)] = 900.0
    retry_min_s: Annotated[float, Meta(gt=0)] = 0.05
    retry_max_s: Annotated[float, Meta(gt=0)] = 30.0
    request_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    keepalive_s: Annotated[float, Meta(ge=5)] = 10.0
    keepalive_timeout_s: Annotated[float, Meta(gt=0)] = 3.0
    config_timeout_s: Annotated[float, Meta(gt=0)] = 180.0
    heartbeat_timeout_s: Annotated[float, Meta(gt=0)] = 120.0
    renewal_s: Annotated[float, Meta(gt=0)] = 10.0


def config_wait_s(options: ClusterMeshOptions | RemoteClustersOptions, *, has_others: bool) -> float:
    """How long to wait for a cluster config at one server; ``has_others``: there are other servers to ask.

    A replica whose writer died before we came never gets one, while another replica has all.
    """
    return min(options.config_timeout_s, options.retry_max_s) if has_others else options.config_timeout_s
