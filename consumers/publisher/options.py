"""The options of the publisher, as they stand in a configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

ServiceForm = Literal["services", "services-and-endpointslices", "endpointslices-only"]


class PublisherOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """How the etcd is written.

    ``rate_limit``: keys written in a second, 0 for no limit; news are late where it is below what the cluster
    changes in a second. ``batch_keys``: keys of one transaction (servers take 128). ``lease_time_s``: keys
    go so long after we have. ``lease_keys``: etcd's writes grow slower with the keys of a lease. ``heartbeat_s``: how
    often readers are told that we live. ``enforce_s``: how often what the cluster says of itself is written again,
    beside at once when somebody changes it. ``export``: services whole, as endpoint slices, or both.
    ``default_global_namespace``: whether a namespace without the annotation ``clustermesh.cilium.io/global`` is shared.
    ``max_connected_clusters`` is the same in a whole mesh.
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
    page_limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    retry_min_s: Annotated[float, Meta(gt=0)] = 0.1
    retry_max_s: Annotated[float, Meta(gt=0)] = 30.0
