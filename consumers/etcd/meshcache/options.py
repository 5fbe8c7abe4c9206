"""The options of the cache, as they stand in a configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class MeshCacheOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """How the cache is written.

    ``lease_time_s``: keys go so long after we have. ``lease_keys_max``: etcd's writes grow slower with the keys of a
    lease. ``grace_s``: how long the keys of a cluster that has left stay. ``heartbeat_s``: how often readers are told
    that we live. ``enforce_s``: how often what clusters say of themselves is written again. ``batch_keys_max``: keys of
    one transaction (servers take 128). ``writes_per_s``: keys written in a second, as many as possible if None.

    ``connect_wait_s`` and ``sync_wait_s``: readiness waits so long for clusters that do not answer, and for all.
    """

    lease_time_s: Annotated[float, Meta(ge=1)] = 900.0
    lease_keys_max: Annotated[int, Meta(ge=1)] = 1000
    grace_s: Annotated[float, Meta(ge=0)] = 180.0
    heartbeat_s: Annotated[float, Meta(gt=0)] = 60.0
    enforce_s: Annotated[float, Meta(gt=0)] = 300.0
    batch_keys_max: Annotated[int, Meta(ge=1, le=128)] = 100
    writes_per_s: Annotated[float, Meta(gt=0)] | None = None
    page_limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    connect_wait_s: Annotated[float, Meta(ge=0)] = 15.0
    sync_wait_s: Annotated[float, Meta(ge=0)] = 600.0
    retry_min_s: Annotated[float, Meta(gt=0)] = 0.1
    retry_max_s: Annotated[float, Meta(gt=0)] = 30.0
