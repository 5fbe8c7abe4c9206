"""The same again and again: what a process holds must not grow with it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from statedb import Database
from statedb.catalog import TABLES

from .resources import Held, held, held_at_most, slope
from .site import Site

CYCLES = 100
_WARM_UP = 20
_MEMORY_MAX = 20 * 1024


class Growth(msgspec.Struct, kw_only=True):
    """What a hundred readers left behind that were started, synced, cut off and stopped, one after the other.

    ``memory_a_cycle``: bytes, the slope of the last eighty. ``before`` and ``after`` them.
    """

    backend: str
    cycles: int
    before: Held
    after: Held
    memory_a_cycle: float

    @property
    def is_leaking(self) -> bool:
        """More threads or sockets than before, or memory that grows (a few readers say nothing about that)."""
        return (
            self.after.threads > self.before.threads
            or self.after.sockets > self.before.sockets
            or (self.cycles >= CYCLES and self.memory_a_cycle > _MEMORY_MAX)
        )


def connect_and_kill(kind: type[Site], cycles: int = CYCLES, warm_up: int = _WARM_UP) -> Growth:
    """Readers of one site, one after the other, each with tables of its own. Raises AssertionError."""
    with tempfile.TemporaryDirectory(prefix="faults-") as temporary, kind(Path(temporary)) as site:
        samples: list[Held] = []
        first = min(warm_up, cycles // 2)
        for _ in range(cycles):
            site.db = Database(*TABLES)
            site.start_reader()
            site.until(site.is_right, "the first list")
            if site.proxies:
                site.cut()
                site.until(lambda snapshot: site.row(snapshot).state == "stale", "stale")
            site.stop_reader()
            site.mend()
            baseline = samples[first] if len(samples) > first else held()
            samples.append(held_at_most(baseline.threads, baseline.sockets))
        counted = samples[first:]
        return Growth(
            backend=kind.backend,
            cycles=cycles,
            before=counted[0],
            after=counted[-1],
            memory_a_cycle=slope([each.memory for each in counted]),
        )
