"""What a source has done since its start, as numbers for operators."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class SourceStats:
    """Counted by the threads of one source; for any thread to read.

    ``events`` are changes of objects that came after a list. ``reconnects`` are connections, or watches of Kubernetes,
    that stand again; ``failures`` are those that broke or could not be made. ``requests`` took
    ``requests_s`` seconds in all. ``answered_at`` (Unix seconds, 0 before the first) is when the place last said
    anything, be it that nothing has changed.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        """All are zero. ``wall`` returns Unix seconds."""
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
        """The one connection of the source stands; only the first time it is none that was made again."""
        self.reconnects += self._connected
        self._connected = True

    def record_contact(self) -> None:
        """The place said something."""
        self.answered_at = self._wall()

    def record_request(self, seconds: float) -> None:
        """A request was answered after so many seconds. From any thread."""
        with self._lock:
            self.requests += 1
            self.requests_s += seconds
        self.record_contact()
