"""Statistics of a writer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class WriterStats(msgspec.Struct, frozen=True):
    """Counts since the start, and current values.

    Current are ``keys``, ``leases``, ``unwritten``, ``contested`` and ``lease_left_s``. ``repairs``: keys that another
    writer had changed or deleted. ``unwritten``: keys that the server refuses. ``contested``: keys that another writer
    keeps changing. ``put_bytes``: the size of all values that were put. ``leads``: whether this process writes.
    ``lease_time_s``: the time to live of a new lease. ``lease_left_s``: the seconds until the first lease expires
    unless it is renewed; 0 without leases.
    """

    puts: int
    deletes: int
    put_bytes: int
    transactions: int
    connections: int
    failures: int
    repairs: int
    keys: int
    leases: int
    unwritten: int
    contested: int
    leads: bool
    lease_time_s: float
    lease_left_s: float


_NOT_ADDED = ("leads", "lease_time_s", "lease_left_s")


def total(writers: Sequence[WriterStats]) -> WriterStats:
    """The sum of several writers, at least one. ``lease_left_s`` is that of the lease that expires first."""
    counts = {
        name: sum([getattr(each, name) for each in writers])
        for name in WriterStats.__struct_fields__
        if name not in _NOT_ADDED
    }
    return WriterStats(
        **counts,
        leads=all(each.leads for each in writers),
        lease_time_s=min(each.lease_time_s for each in writers),
        lease_left_s=min(each.lease_left_s for each in writers),
    )
