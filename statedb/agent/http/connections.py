"""Connections of the server, with time limits in both directions. Knows no resources.

uvicorn parses requests and runs the application. This module adds what it lacks: a time limit for receiving a request
and one for sending a response, a limit on the number of connections, and protocol errors as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from http import HTTPStatus
from typing import Any

import h11
import msgspec
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from .authentication import PEER
from .limits import Counts, Limits
from .tls import names_in
from .turns import Turns

log = logging.getLogger("statedb.agent")

_protocol_log = logging.getLogger("statedb.agent.http.protocol")
_protocol_log.setLevel(logging.ERROR)  # every malformed request is a warning of uvicorn

_protocol_log.addFilter(lambda record: not _was_cancelled(record))

_URGENT = (b"GET /livez", b"GET /readyz", b"GET /healthz", b"GET /metrics")
_HALF_CLOSED_S = 0.1
_WRITE_BUFFER_BYTES = 32 * 1024


class Connections(ServerState):
    """All connections of a server. Used on the thread of its event loop only."""

    def __init__(self, limits: Limits) -> None:
        """No connection is open."""
        super().__init__()
        self.limits = limits
        self.counts = Counts()
        self.turns = Turns()
        self.waiting: dict[Connection, None] = {}  # for a request, the longest waiting one first

    def make_room(self, newest: Connection) -> bool:
        """Close the connection that has waited longest for a request; False if all are busy."""
        self.counts.refused += 1
        if self.counts.refused == 1:
            log.warning("%d connections are open; from now on idle ones are closed for new ones", len(self.connections))
        for oldest in self.waiting:
            if oldest is not newest:
                oldest.transport.abort()
                return True
        return False

    async def close(self) -> None:
        """Let responses end, for a moment; then abort the rest."""
        for connection in list(self.connections):
            with contextlib.suppress(h11.LocalProtocolError):  # it is closing because of an error
                connection.shutdown()
        deadline = asyncio.get_running_loop().time() + self.limits.stop_s
        while self.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # asyncio closes the sockets in its next round
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Connection(H11Protocol):
    """One connection."""

    def __init__(self, config: Config, connections: Connections) -> None:
        """Made for each connection that is accepted."""
        super().__init__(config, connections, {})
        self.logger = _protocol_log
        self._all = connections
        self._request_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._half_closed = False
        self._unread: deque[bytes] = deque()

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        """Start the time limit for the first request. Reject the connection if there are too many."""
        super().connection_made(transport)
        self.app_state[PEER] = names_in(transport.get_extra_info("peercert"))
        self._all.counts.opened += 1
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        if len(self._all.connections) > self._all.limits.connections and not self._all.make_room(self):
            self._refuse(503, f"{self._all.limits.connections} connections are open already; close one")
        else:
            self._watch_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Unregister the connection."""
        self._stop_request_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request. Probes are answered at once, other requests in turn."""
        self._unset_keepalive_if_required()
        self._unread.append(data)
        if len(self._unread) > 1 and not self.transport.is_closing():
            self.flow.pause_reading()
        elif data.startswith(_URGENT):
            self._read()
            return
        self._all.turns.add(self._read)

    def _read(self) -> None:
        data = self._unread.popleft()
        if not self.transport.is_closing():
            if not self._unread:
                self.flow.resume_reading()
            super().data_received(data)
            self._watch_request()

    def on_response_complete(self) -> None:
        """The response has been written. The next request may come."""
        super().on_response_complete()
        self._leave_half_closed()
        self._watch_request()

    def eof_received(self) -> bool:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """The client has finished writing. It may still read the response, but not an endless stream.

        asyncio closes the connection unless this returns True. A TLS connection cannot be half-closed.
        """
        self._half_closed = self.scheme == "http"
        self._leave_half_closed()
        return self._half_closed and not self.transport.is_closing()

    def _leave_half_closed(self) -> None:
        """Close when nothing is left to answer, or when the response has started and is an endless stream."""
        started = self.busy and self.cycle.response_started and self.scope["method"] == "GET"
        endless = started and self.scope["path"].startswith(("/changes/", "/live"))
        if self._half_closed and not self.transport.is_closing():
            if endless or not (self.busy or self._unread):
                self.transport.close()
            else:
                self.loop.call_later(_HALF_CLOSED_S, self._leave_half_closed)

    def pause_writing(self) -> None:
        """Too much data waits for the reader."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._all.limits.write_s, self._abort_slow_reader)

    def resume_writing(self) -> None:
        """The reader has caught up."""
        super().resume_writing()
        self._stop_write_timer()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the signature is given
        """Called by uvicorn for data that is not HTTP."""
        self._refuse(400, "the request is not valid HTTP")

    def _refuse(self, status: int, error: str) -> None:
        """Answer and close. If a response is in progress, only close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self.busy:
            body = msgspec.json.encode({"error": error}) + b"\n"
            head = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
            response = h11.Response(status_code=status, headers=head, reason=HTTPStatus(status).phrase.encode())
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch_request(self) -> None:
        """Run the time limit for a request while none is being answered."""
        if self.busy or self.transport.is_closing():
            self._stop_request_timer()
        elif self._request_timer is None:
            self._all.waiting[self] = None
            self._request_timer = self.loop.call_later(self._all.limits.request_s, self._abort_slow_request)

    def _abort_slow_request(self) -> None:
        self._all.counts.slow_requests += 1
        self.transport.abort()

    def _abort_slow_reader(self) -> None:
        self._all.counts.slow_readers += 1
        path = self.scope["path"] if self.scope is not None else ""
        log.warning("a reader of %s read nothing for %g s and was disconnected", path, self._all.limits.write_s)
        self.transport.abort()

    def _stop_request_timer(self) -> None:
        self._all.waiting.pop(self, None)
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()


def _was_cancelled(record: logging.LogRecord) -> bool:
    """Whether the record is about a response that was abandoned because the server stopped, which is not an error."""
    return record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
