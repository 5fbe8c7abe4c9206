"""What a writer keeps between connections."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from .desired import Desired
from .leases import Leases
from .options import WriterOptions
from .pacing import StallTimer
from .repairs import Repairs


class WriterState:
    """Written by the writer's thread; others may read."""

    def __init__(self, options: WriterOptions, desired: Desired, jitter: Callable[[], float]) -> None:
        """Empty."""
        self.desired = desired
        self.leases = Leases(max(1, round(options.lease_time_s)), options.lease_keys_max)
        self.repairs = Repairs(options.repair_min_s, options.repair_max_s, jitter)
        self.stall_timer = StallTimer()
        self.counts: Counter[str] = Counter()
        self.wake = threading.Event()
        self.stop = threading.Event()
        self.beat = threading.Event()

    def count_transaction(self, values: list[bytes], deletes: int) -> None:
        """Count a transaction that put these values and deleted so many keys."""
        counts = self.counts
        counts["transactions"] += 1
        counts["puts"] += len(values)
        counts["bytes"] += sum(map(len, values))
        counts["deletes"] += deletes
