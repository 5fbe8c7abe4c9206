"""Thresholds of the garbage collector for the process of an agent."""

from __future__ import annotations

import gc

THRESHOLDS = (10_000, 20, 20)
"""A full collection visits every long-lived row and finds nothing, because rows form no cycles. One watch event for a
table of 40 000 endpoints takes 39 us of CPU with Python's default thresholds, 27 us with these, and 23 us without a
collector (``python -m benchmarks kvstore-watch``)."""


def raise_gc_thresholds() -> None:
    """Set the thresholds. Only a program may do so, never a library: they are global to the process."""
    gc.set_threshold(*THRESHOLDS)
