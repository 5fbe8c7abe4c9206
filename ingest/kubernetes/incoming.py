"""The body of an answer, read from its connection as it comes. Never waits. Knows nothing of Kubernetes.

urllib3 can only wait for a body. So the socket is taken from it once the head of the answer has come.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from urllib3 import BaseHTTPResponse

from .body import Body
from .sockets import release, stream_of

_PIECE_BYTES = 1 << 16
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Incoming:
    """The body of an answer whose head has come. For one thread at a time."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        """The answer may not be read in any other way from now on. Raises OSError."""
        answer: Any = response  # Any: urllib3 does not declare the answer of http.client that it reads from
        self._head: http.client.HTTPResponse = answer._original_response
        self._response = response
        self._connection = response.connection
        self._stream: socket.socket = stream_of(self._connection)
        self._timeout_s = self._stream.gettimeout()
        self._stream.settimeout(0)
        self._has_ended = False
        """Whether the connection has no more bytes."""
        self._failure: OSError | None = None
        self._body = Body(chunked=bool(answer._original_response.chunked), length=self._head.length)
        self._first = self._read_ahead()
        self._is_closed = False

    @property
    def is_complete(self) -> bool:
        """Whether the whole body has come."""
        return self._body.is_complete

    def fileno(self) -> int:
        """The descriptor to wait on, after `pieces` has come to its end. TLS may have decrypted more before that."""
        return self._stream.fileno()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the descriptor has something to read, or the connection ends. False after the time."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def pieces(self) -> Iterator[list[bytes]]:
        """What has arrived. Ends when nothing more is there. Raises OSError, HTTPException."""
        if self._first:
            first, self._first = self._first, b""
            yield self._body.feed(first)
        is_drained = False
        while not (is_drained or self._body.is_complete):
            data, is_drained = self._received()
            if data:
                yield self._body.feed(data)
        if self._has_ended and not self._body.is_complete:
            self._body.end()

    def close(self) -> None:
        """Give the connection back for the next request if the body is complete; else close it.

        May be called repeatedly. Another thread may use the connection after the first call.
        """
        if self._is_closed:
            return
        self._is_closed = True
        release(self._connection, self._response)
        is_clean = self._body.is_complete and not self._body.has_surplus and not self._has_ended
        if is_clean and not self._head.will_close:
            self._stream.settimeout(self._timeout_s)
            self._head.close()
            self._response.release_conn()
        self._response.close()

    def _received(self) -> tuple[bytes, bool]:
        """What has arrived, at most some 64 KiB, and whether that is all. Raises OSError after the bytes before it.

        Records of TLS are collected, because those of an API server have 4 KiB, which is less than most objects, and
        whole objects are cheaper to read.
        """
        records, size = list[bytes](), 0
        if self._failure is not None:
            raise self._failure
        try:
            while size < _PIECE_BYTES:
                record = self._stream.recv(_PIECE_BYTES)
                if not record:
                    self._has_ended = True
                    break
                records.append(record)
                size += len(record)
        except _NOTHING_YET:
            return b"".join(records), True
        except OSError as error:
            self._failure = error  # what came before it comes first
        return b"".join(records), self._has_ended

    def _read_ahead(self) -> bytes:
        """What came together with the head."""
        try:
            return self._head.fp.read1(_PIECE_BYTES)
        except _NOTHING_YET:
            return b""
