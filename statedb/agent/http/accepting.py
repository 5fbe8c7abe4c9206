"""Accepts connections for an event loop. Knows no HTTP.

All waiting connections are accepted at once, but only a few are served in each iteration of the loop, the newest first.
asyncio's own server serves them in order: a probe that comes after 1 000 other clients waits until all of them are
served. A burst is an overload, in which the client that came last is the least likely to have given up (Maurer, "Fail
at Scale", ACM Queue 13(8), 2015).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

from .limits import Limits
from .turns import Turns

log = logging.getLogger("statedb.agent")

_AT_ONCE = 100
_WAITING_MAX = 1024
_RETRY_S = 1.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE)


class Acceptor:
    """Accepts connections from its creation until `close`. Used on the thread of the event loop only."""

    def __init__(
        self, listening: Any, make: Callable[[], asyncio.Protocol], turns: Turns, limits: Limits, tls: Any = None
    ) -> None:
        """``listening``: a non-blocking socket, which stays open. ``make`` returns the protocol of a connection.

        ``tls``: the context for the next connections; it may be replaced.
        """
        self.tls: ssl.SSLContext | None = tls
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._make = make
        self._turns = turns
        self._limits = limits
        self._waiting: list[socket.socket] = []
        self._opening: dict[asyncio.Task[None], None] = {}  # the oldest first
        self._retry: asyncio.TimerHandle | None = None
        self._failing = False
        self._listen()

    async def close(self) -> None:
        """Accept no more, and close the connections that are not served yet."""
        self._loop.remove_reader(self._listening)
        if self._retry is not None:
            self._retry.cancel()
        while self._waiting:
            self._waiting.pop().close()
        await asyncio.sleep(0)  # a task that never ran would not close its socket
        opening = list(self._opening)
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)

    def _listen(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(min(_AT_ONCE, _WAITING_MAX - len(self._waiting))):
            try:
                accepted, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            if self._failing:
                self._failing = False
                log.info("connections are accepted again")
            accepted.setblocking(False)
            self._waiting.append(accepted)
            self._turns.add(self._serve_newest)

    def _pause(self, error: OSError) -> None:
        """Try again in a second: the socket stays readable, for example until the process closes another file."""
        if not self._failing:
            self._failing = True
            remedy = "; raise the limit of open files (ulimit -n)" if error.errno in _EXHAUSTED else ""
            log.warning("connections cannot be accepted: %s%s", error.strerror, remedy)
        self._loop.remove_reader(self._listening)
        self._retry = self._loop.call_later(_RETRY_S, self._listen)

    def _serve_newest(self) -> None:
        if not self._waiting:  # closed meanwhile
            return
        if len(self._opening) >= self._limits.connections:
            next(iter(self._opening)).cancel()
        task = self._loop.create_task(self._serve(self._waiting.pop()))
        self._opening[task] = None
        task.add_done_callback(self._opening.pop)

    async def _serve(self, accepted: socket.socket) -> None:
        """Until the connection is open: at once, or with TLS after the handshake, which may fail."""
        encrypted: dict[str, Any] = {}
        if self.tls is not None:
            encrypted = {"ssl": self.tls, "ssl_handshake_timeout": self._limits.request_s}
        try:
            await self._loop.connect_accepted_socket(self._make, accepted, **encrypted)
        except OSError as error:
            log.debug("a connection was not opened: %s", error)
