"""To wait for what no watch tells, with an end: a test that waits for ever tells nobody why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

WAIT_S = 60.0
AT_ONCE_S = 10.0
"""Enough for what happens at once, also where all processors are taken. Requests of the product time out later."""


def eventually(holds: Callable[[], Any], what: str = "it", *, pause_s: float = 0.02) -> None:
    """Look again and again until it holds; AssertionError after a minute."""
    end = time.monotonic() + WAIT_S
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < end, f"{what} did not come"
        pause.wait(pause_s)
