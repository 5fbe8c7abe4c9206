"""Figures of a writer."""

from __future__ import annotations

import msgspec


class WriterStats(msgspec.Struct, frozen=True):
    """Counted since the start; ``keys``, ``leases``, ``unwritten``, ``contested`` and ``lease_left_s`` are as of now.

    ``repairs`` counts keys that somebody else had changed or deleted. ``unwritten`` are keys that the server refuses,
    ``contested`` those that somebody else changes again and again. ``put_bytes`` are those of the values put.
    ``leads``: whether it is this process that writes. A new lease lasts ``lease_time_s``; the first one ends after
    ``lease_left_s`` unless it is renewed (0 without any).
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
