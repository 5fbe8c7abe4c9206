"""The options of all consumers that write to an etcd, as in the configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class WriterOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """How an etcd is written. Times are in seconds.

    writes_per_s      maximum number of keys written per second; unlimited if None
    batch_keys_max    maximum number of keys in a transaction (the default limit of servers is 128)
    batch_bytes_max   maximum size of a transaction (the default limit of servers is 1.5 MiB)
    lease_time_s      how long keys stay after their writer has died
    lease_keys_max    maximum number of keys of a lease; etcd gets slower with more
    heartbeat_s       interval of the heartbeat, which shows readers that the writer is alive
    stuck_s           the heartbeat stops after so long in which keys wait and none is written
    leader_election   only one of several processes writes; the others stand by
    leader_time_s     how long a leader may be silent before it is replaced
    page_limit        number of keys in a page of the first list
    retry_min_s, retry_max_s    the first and the longest pause after a failure; pauses double
    repair_min_s, repair_max_s  the same for a key that somebody else keeps changing
    """

    writes_per_s: Annotated[float, Meta(gt=0)] | None = None
    batch_keys_max: Annotated[int, Meta(ge=1, le=10_000)] = 100
    batch_bytes_max: Annotated[int, Meta(ge=1)] = 1_000_000
    lease_time_s: Annotated[float, Meta(ge=1)] = 900.0
    lease_keys_max: Annotated[int, Meta(ge=1)] = 1000
    heartbeat_s: Annotated[float, Meta(gt=0)] = 60.0
    stuck_s: Annotated[float, Meta(gt=0)] = 120.0
    leader_election: bool = False
    leader_time_s: Annotated[int, Meta(ge=2)] = 3
    page_limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    retry_min_s: Annotated[float, Meta(gt=0)] = 0.1
    retry_max_s: Annotated[float, Meta(gt=0)] = 30.0
    repair_min_s: Annotated[float, Meta(gt=0)] = 1.0
    repair_max_s: Annotated[float, Meta(gt=0)] = 300.0
