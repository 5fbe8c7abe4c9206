"""How often an agent's process collects garbage."""

from __future__ import annotations

import gc

THRESHOLDS = (10_000, 20, 20)
"""Tables of many rows are many objects that live long, and every full collection walks them all, to find nothing: rows
make no cycles. With Python's own thresholds an event of a watch into a table of 40 000 endpoints takes 39 us of CPU,
with these 27, with no collector at all 23 (``python -m benchmarks kvstore-watch``)."""


def collect_rarely() -> None:
    """For the process of an agent, where nobody else has a say in it; a library must not."""
    gc.set_threshold(*THRESHOLDS)
