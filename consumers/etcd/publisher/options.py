"""The options of the publisher, as they stand in a configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

ServiceForm = Literal["services", "services-and-endpointslices", "endpointslices-only"]


class UsersOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Who may read what is published: the etcd knows its users by the names (CN) in their certificates.

    ``remotes`` are the names that other clusters show. ``users_file`` has more of them, as Cilium's ConfigMap
    ``clustermesh-remote-users`` has: ``users: [{name: remote-cluster2, role: remote}]``; it is read again and again.
    """

    remotes: tuple[Annotated[str, Meta(min_length=1)], ...] = ("remote",)
    users_file: Annotated[str, Meta(min_length=1)] | None = None


class PublisherOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """How the etcd is written.

    ``rate_limit``: keys written in a second, 0 for no limit; news are late where it is below what the cluster
    changes in a second. ``batch_keys``: keys of one transaction (servers take 128). ``lease_time_s``: keys
    go so long after we have. ``lease_keys``: etcd's writes grow slower with the keys of a lease. ``heartbeat_s``: how
    often readers are told that we live. ``enforce_s``: how often what the cluster says of itself is written again,
    beside at once when somebody changes it. ``export``: services whole, as endpoint slices, or both.
    ``default_global_namespace``: whether a namespace without the annotation ``clustermesh.cilium.io/global`` is shared.
    ``max_connected_clusters`` is the same in a whole mesh. ``users``: make users and roles, and let the etcd ask for
    them; it is left as it is if not given.
    """

    rate_limit: Annotated[float, Meta(ge=0)] = 0.0
    batch_keys: Annotated[int, Meta(ge=1, le=128)] = 100
    lease_time_s: Annotated[float, Meta(ge=1)] = 900.0
    lease_keys: Annotated[int, Meta(ge=1)] = 1000
    heartbeat_s: Annotated[float, Meta(gt=0)] = 60.0
    enforce_s: Annotated[float, Meta(gt=0)] = 300.0
    export: ServiceForm = "services"
    default_global_namespace: bool = True
    max_connected_clusters: Literal[255, 511] = 255
    users: UsersOptions | None = None
    page_limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    retry_min_s: Annotated[float, Meta(gt=0)] = 0.1
    retry_max_s: Annotated[float, Meta(gt=0)] = 30.0
