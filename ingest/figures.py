"""Counters of a source since its start, for operators."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class SourceStats:
    """Written by the threads of one source. Any thread may read it.

    ``events``: changes of objects after a list. ``reconnects``: connections, or watches of Kubernetes, that were made
    again. ``failures``: those that broke or could not be made. ``requests`` took ``requests_s`` seconds in total.
    ``answered_at`` is when the server last answered, in Unix seconds; 0 before the first answer.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        """All counters are zero. ``wall`` returns Unix seconds."""
        self.events = 0
        self.reconnects = 0
        self.failures = 0
        self.requests = 0
        self.requests_s = 0.0
        self.answered_at = 0.0
        self._wall = wall
        self._connected = False
        self._lock = threading.Lock()

    def record_connection(self) -> None:
        """The connection of the source is established. Every time but the first counts as a reconnect."""
        self.reconnects += self._connected
        self._connected = True

    def record_contact(self) -> None:
        """The server answered."""
        self.answered_at = self._wall()

    def record_request(self, seconds: float) -> None:
        """A request was answered after this many seconds. May be called from any thread."""
        with self._lock:
            self.requests += 1
            self.requests_s += seconds
        self.record_contact()
