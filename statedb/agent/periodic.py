"""Work that a thread does at a fixed interval."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Periodic:
    """A thread that calls a function at its start and then after each interval. Started and stopped once."""

    def __init__(self, name: str, work: Callable[[], None], interval_s: float) -> None:
        """Not yet started. ``work`` must not raise."""
        self._work = work
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end. Returns at once."""
        self._stopping.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended. False after ``timeout`` seconds."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._work()
        while not self._stopping.wait(self._interval_s):
            self._work()
