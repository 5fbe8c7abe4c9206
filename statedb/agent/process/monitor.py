"""Checks the health of an agent's consumers once a second, for readiness, and logs when one works again."""

from __future__ import annotations

import logging

from ..periodic import Periodic
from ..readiness import Readiness

log = logging.getLogger("statedb.agent")

_POLL_S = 1.0


class Monitor(Periodic):
    """A thread that checks until it is stopped. Consumers log failures themselves."""

    def __init__(self, readiness: Readiness) -> None:
        """Not yet started."""
        super().__init__("monitor", self._observe, _POLL_S)
        self._readiness = readiness

    def _observe(self) -> None:
        for name, seconds in self._readiness.observe_consumers():
            log.info("consumer %s works again, after %.0f s", name, seconds)
