"""Clocks that jump. Import this before what is to see them: it takes the place of `time.time` and `time.monotonic`.

gRPC keeps the true ones: it gives deadlines to the part of it that is not Python, which asks the system for the time.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

import grpc._channel

true_monotonic = time.monotonic
_true_time, _true_time_ns = time.time, time.time_ns
_wall_s = 0.0
_passed_s = 0.0

grpc._channel.time = SimpleNamespace(**vars(time))


def set_wall(offset_s: float) -> None:
    """The time of day is off by so much from now on."""
    global _wall_s
    _wall_s = offset_s


def pass_at_once(seconds: float) -> None:
    """So much time passes now, as for a process that was stopped. There is no way back."""
    global _passed_s
    _passed_s += seconds


def _time() -> float:
    return _true_time() + _wall_s


def _time_ns() -> int:
    return _true_time_ns() + int(_wall_s * 1e9)


def _monotonic() -> float:
    return true_monotonic() + _passed_s


time.time, time.time_ns, time.monotonic = _time, _time_ns, _monotonic
