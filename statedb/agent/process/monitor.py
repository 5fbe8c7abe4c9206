"""Looks at the health of an agent's consumers once a second, for readiness, and logs when one works again."""

from __future__ import annotations

import logging
import threading

from ..readiness import Readiness

log = logging.getLogger("statedb.agent")

_LOOK_S = 1.0


class Monitor:
    """A thread that observes until it is stopped. Failures are logged by the consumers themselves."""

    def __init__(self, readiness: Readiness) -> None:
        """Not yet started."""
        self._readiness = readiness
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end. Returns at once."""
        self._stopping.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; False when ``timeout`` seconds have passed before."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            for name, seconds in self._readiness.observe_consumers():
                log.info("consumer %s works again, after %.0f s", name, seconds)
