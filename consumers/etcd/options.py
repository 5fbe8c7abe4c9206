"""The options of whatever writes an etcd, as they stand in a configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class WriterOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """How an etcd is written. Times are in seconds.

    writes_per_s      keys written in a second; as many as possible if None
    batch_keys_max    keys of one transaction (servers take 128 unless told otherwise)
    batch_bytes_max   bytes of one transaction (servers take 1.5 MiB unless told otherwise)
    lease_time_s      keys disappear so long after their writer
    lease_keys_max    keys of one lease: etcd gets slower with the keys of a lease
    heartbeat_s       how often the heartbeat is written, from which readers see that the writer is alive
    stuck_s           the heartbeat stops when keys have waited so long without any being written
    leader_election   only one of several processes writes, the others stand by
    leader_time_s     a leader that is silent for so long is replaced
    page_limit        keys of one page of the first list
    retry_min_s, retry_max_s    the pause after a failure doubles from the first to the second
    repair_min_s, repair_max_s  likewise for a key that somebody else changes again and again
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
