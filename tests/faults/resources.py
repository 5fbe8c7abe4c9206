"""What a process holds: threads, sockets, memory."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event

import msgspec

_WAIT_S = 10.0
_give_back: Callable[[int], int] = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)


class Held(msgspec.Struct, frozen=True):
    """Numbers of threads and sockets, and bytes of memory (RSS)."""

    threads: int
    sockets: int
    memory: int


def held() -> Held:
    """This process, after a collection of garbage; memory kept for later is given back first. Linux."""
    gc.collect()
    _give_back(0)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return Held(int(status["Threads"]), _sockets(), int(status["VmRSS"].split()[0]) * 1024)


def held_at_most(threads: int, sockets: int) -> Held:
    """The same, once it is no more than that, or after ten seconds: what is let go of may take its time to end."""
    pause = Event()
    for _ in range(int(_WAIT_S * 20)):
        now = held()
        if now.threads <= threads and now.sockets <= sockets:
            break
        pause.wait(0.05)
    return now


def _sockets() -> int:
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue
    return count


def slope(values: list[float]) -> float:
    """By how much they grow from one to the next: the median of all slopes between two of them (Theil and Sen)."""
    slopes = sorted(
        (later - earlier) / (j - i)
        for i, earlier in enumerate(values)
        for j, later in enumerate(values[i + 1 :], start=i + 1)
    )
    return slopes[len(slopes) // 2] if slopes else 0.0
