"""Ctrl-C while a command waits for an agent.

Python handles a signal between two of its instructions. A signal that comes after the last of these and before a system
call blocks is only recorded: the call continues, and on a quiet change stream it returns with the agent's next
keepalive, half a minute later. Any further signal interrupts the call, and Python then handles the recorded one. Here a
timer sends further signals.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

_PERIOD_S = 0.5


@contextmanager
def interruptible() -> Generator[None]:
    """Signals during the block are handled within a second, whatever it waits for. Does nothing on other threads."""
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
