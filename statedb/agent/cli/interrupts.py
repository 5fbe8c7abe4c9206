"""Ctrl-C while a command waits for an agent.

Python handles a signal between two of its instructions. One that comes after the last of these and before a system call
has begun to wait is only noted: the call goes on, and a quiet change stream ends with the agent's next keepalive, half
a minute later. Any further signal interrupts the call, and Python then handles what it has noted. Here a timer sends
one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

_PERIOD_S = 0.5


@contextmanager
def noticed_within_a_second() -> Generator[None]:
    """Signals that come within the block are handled in time, whatever it waits for. Does nothing on other threads."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, _PERIOD_S, _PERIOD_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
