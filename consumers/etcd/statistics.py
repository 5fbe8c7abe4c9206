"""Figures of a writer."""

from __future__ import annotations

import msgspec


class WriterStats(msgspec.Struct, frozen=True):
    """Counted since the start; ``keys``, ``leases``, ``unwritten`` and ``contested`` are as of now.

    ``repairs`` counts keys that somebody else had changed or deleted. ``unwritten`` are keys that the server refuses,
    ``contested`` those that somebody else changes again and again.
    """

    puts: int
    deletes: int
    transactions: int
    connections: int
    failures: int
    repairs: int
    keys: int
    leases: int
    unwritten: int
    contested: int
