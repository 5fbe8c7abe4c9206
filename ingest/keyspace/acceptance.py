"""What an operator has accepted of an etcd, until the source carries it out."""

from __future__ import annotations

import logging

_log = logging.getLogger("ingest")


class Acceptance:
    """For the source's thread, except `press`."""

    def __init__(self, source: str) -> None:
        """Nothing is accepted. ``source`` is its name in the log: ``BACKEND/CLUSTER``."""
        self._source = source
        self._pressed = False

    def press(self) -> None:
        """The operator accepts what the etcd holds that answers now. May be called from any thread."""
        self._pressed = True

    def connected(self) -> None:
        """A connection begins. What was accepted before it is void, even if it is to the same etcd.

        Keys may have gone while we were away, which the operator could not see.
        """
        if self._pressed:
            self._pressed = False
            _log.warning(
                "%s: what was accepted before this connection counts for nothing; accept it again", self._source
            )

    def take(self) -> bool:
        """Whether anything was accepted since the last call."""
        pressed = self._pressed
        if pressed:
            self._pressed = False  # only where there was something, so that none of another thread is lost
        return pressed
