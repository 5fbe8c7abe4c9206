"""Settings of the interpreter for the process of an agent."""

from __future__ import annotations

import gc
import sys

THRESHOLDS = (10_000, 20, 20)
"""A full collection visits every long-lived row and finds nothing, because rows form no cycles. One watch event for a
table of 40 000 endpoints takes 39 us of CPU with Python's default thresholds, 27 us with these, and 23 us without a
collector (``python -m benchmarks kvstore-watch``)."""

SWITCH_INTERVAL_S = 0.001
"""How long a busy thread may keep the interpreter lock. A probe needs the lock some four times: beside two threads that
encode dumps, `/livez` takes 28 ms with Python's 5 ms and 11 ms with this (medians).
"""


def tune_interpreter() -> None:
    """Apply these settings. Only a program may do so, never a library: they are global to the process."""
    gc.set_threshold(*THRESHOLDS)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
