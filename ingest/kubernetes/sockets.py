"""Connections of urllib3 that another thread can close, whatever they are blocked in. Knows nothing of Kubernetes.

The first request on each connection identifies the server at its other end. A TCP connection stays with one server, but
an address may lead to several.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import msgspec
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError, ProtocolError

from ..unfinished_tls import close_unfinished_tls

_KEEPALIVE = [
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 15),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
]
"""They detect a dead peer after half a minute, on systems that have these options."""

_SMALL_BYTES = 1 << 20
_UNKNOWN = object()
"""In place of an answer whose head has not come."""


def stream_of(connection: Any) -> socket.socket:
    """The socket of a connection (Any: urllib3 has no common type). Raises OSError if it is closed."""
    stream: socket.socket | None = getattr(connection, "stream", None)
    if stream is None:
        raise ConnectionAbortedError("the connection is closed")
    return stream


def release(connection: Any, response: BaseHTTPResponse) -> None:
    """Report that an answer on a connection has been read or closed.

    Late calls are harmless: the pool may give the connection to another thread as soon as the answer has been read.
    """
    done: Callable[[Any], None] | None = getattr(connection, "release", None)
    if done is not None:
        done(response)


def limit(response: BaseHTTPResponse, seconds: float) -> None:
    """Let reads of a body raise TimeoutError after this time, even while bytes still come."""
    head: Any = response  # Any: urllib3 does not declare the answer of http.client that it reads from
    method: Callable[[float], None] | None = getattr(head._original_response, "limit", None)
    if method is not None:
        method(seconds)


class Greeting(msgspec.Struct, frozen=True):
    """The first request on a connection: a GET of ``path``. ``read`` gets status and body, and returns the identity.

    If it returns None, the request is repeated before the next one. ``asked`` is called for each such request. The
    answer may take ``timeout_s`` seconds.
    """

    path: str
    read: Callable[[int, bytes], str | None]
    asked: Callable[[], None]
    timeout_s: float


def server_of(connection: Any) -> str | None:
    """The identity of the server at the other end of a connection (Any: urllib3 has no common type); None if unknown.

    It is unknown behind a proxy that forwards single requests, because each may go to another server, and if the server
    closes the connection after each answer.
    """
    server: str | None = getattr(connection, "server", None)
    return server


class _TimedReads(io.RawIOBase):
    """What a socket receives. A read that would end after `until` raises TimeoutError.

    The timeout of a socket is for one read of the system, and a line or a chunk may take thousands of those.
    """

    def __init__(self, raw: Any, sock: socket.socket) -> None:
        """``raw`` (Any: the type that `makefile` returns is private) reads from ``sock``."""
        self.until: float | None = None
        self._raw = raw
        self._sock = sock
        self._timeout_s = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.until is not None:
            left = self.until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer takes too long")
            self._sock.settimeout(left if self._timeout_s is None else min(left, self._timeout_s))
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Head(http.client.HTTPResponse):
    """An answer whose head must come within the timeout of its socket."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._timeout_s = sock.gettimeout()
        self._reads = _TimedReads(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._reads)

    def begin(self) -> None:
        if self._timeout_s is not None:
            self.limit(self._timeout_s)
        super().begin()
        self._reads.until = None

    def limit(self, seconds: float) -> None:
        """See `limit`."""
        self._reads.until = time.monotonic() + seconds


class Sockets:
    """The connections of some pools. `abort` closes all of them and allows no new ones."""

    def __init__(self, greeting: Greeting | None = None) -> None:
        """There are no connections yet. Without a ``greeting`` servers are not identified."""
        self._greeting = greeting
        self._lock = threading.Lock()
        self._handles: set[socket.socket] = set()
        self._is_aborted = False

    def abort(self) -> None:
        """Fail all connects, handshakes, waits and reads at once. May be called from any thread and repeatedly."""
        with self._lock:
            self._is_aborted = True
            for handle in self._handles:
                _shut(handle)

    def attach(self, pools: PoolManager, prefix: str = "") -> None:
        """Let the manager use our connections from now on. ``prefix`` is the first part of all URL paths."""
        kinds: dict[str, Any] = {  # Any: it is declared with the same kind of pool for both schemes
            "http": type("_HttpPool", (HTTPConnectionPool,), {"ConnectionCls": self._kind(HTTPConnection, prefix)}),
            "https": type("_HttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": self._kind(HTTPSConnection, prefix)}),
        }
        pools.pool_classes_by_scheme = kinds

    def connect(self, host: str, port: int, timeout_s: float | None) -> tuple[socket.socket, socket.socket]:
        """A connected socket, and a second handle with which it can be closed. Raises OSError."""
        failure: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            handle = self._register(sock)
            try:
                for level, name, value in _KEEPALIVE:
                    if hasattr(socket, name):
                        sock.setsockopt(level, getattr(socket, name), value)
                sock.settimeout(timeout_s)
                sock.connect(address)
                self._check_allowed()  # `abort` cannot close a socket that has not begun to connect
                return sock, handle
            except OSError as error:
                failure = error
                sock.close()
                self.forget(handle)
        raise failure

    def forget(self, handle: socket.socket) -> None:
        """The connection is closed."""
        with self._lock:
            self._handles.discard(handle)
        handle.close()

    def _register(self, sock: socket.socket) -> socket.socket:
        """A second handle, because TLS takes over the descriptor of the first one and hides it during the handshake."""
        try:
            handle = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
        except OSError:
            sock.close()
            raise
        try:
            with self._lock:
                self._handles.add(handle)
            self._check_allowed()
        except OSError:
            sock.close()
            self.forget(handle)
            raise
        return handle

    def _check_allowed(self) -> None:
        with self._lock:
            if self._is_aborted:
                raise ConnectionAbortedError("stopped")

    def _kind(self, base: type[Any], prefix: str) -> type[Any]:
        """A class of connections (Any: two that share no base with what is needed here) that register themselves."""
        own = {"_sockets": self, "_greeting": self._greeting, "_prefix": prefix}
        return type("Connection", (_Connection, base), own)


_Base: Any = object
"""One of urllib3's two connection classes; the subclass is made at run time (Any: types cannot express that)."""


class _Connection(_Base):  # type: ignore[misc]
    """What our connections add to those of urllib3."""

    _sockets: Sockets
    _greeting: Greeting | None
    _prefix: str
    server: str | None = None
    timeout: Any
    _handle: socket.socket | None = None
    _poll: Any = None
    stream: socket.socket | None = None
    response_class = _Head
    _answer: Any = None
    """The answer that is being read. Its body may still come when the connection is closed for new requests."""

    def _new_conn(self) -> socket.socket:
        self.server = None
        self._forget()  # the pool closes a dropped connection before it releases the last answer on it
        timeout_s = self.timeout if isinstance(self.timeout, int | float) else None
        try:
            sock, self._handle = self._sockets.connect(self._dns_host, self.port, timeout_s)
        except OSError as error:  # urllib3 would take a bare ECONNRESET for one while sending, and go on
            raise NewConnectionError(self, "cannot connect") from error
        return sock

    def connect(self) -> None:
        try:
            super().connect()
        except OSError as error:
            close_unfinished_tls(error)
            raise
        self.stream = self.sock

    def request(self, method: str, url: str, *args: Any, **options: Any) -> None:
        greeting = self._greeting
        if (
            greeting is not None and self.server is None and url.startswith("/")
        ):  # otherwise the request goes to a proxy
            greeting.asked()
            self.server = greeting.read(*self._asked(greeting, options["headers"]))
            if self.sock is None:  # the next answer comes on a connection of its own
                self.server = None
        super().request(method, url, *args, **options)

    def _asked(self, greeting: Greeting, headers: Mapping[str, str]) -> tuple[int, bytes]:
        kept = {name: value for name, value in headers.items() if name != "content-type"}
        timeout_s, self.timeout = self.timeout, greeting.timeout_s
        kept |= {"accept": "application/json", "accept-encoding": "identity"}
        try:
            super().request("GET", self._prefix + greeting.path, headers=kept, preload_content=False)
            with closing(self.getresponse()) as response:
                status, body = response.status, _body(response, greeting.timeout_s)
        except ssl.SSLError:  # expired certificates, for instance: the caller handles it
            self.close()
            raise
        except (OSError, http.client.HTTPException) as error:  # see _new_conn
            self.close()
            raise ProtocolError("the server cannot be identified", error) from error
        finally:
            self.release(self._answer)
        self.timeout = timeout_s
        return status, body

    def getresponse(self, *args: Any, **options: Any) -> Any:
        # "Connection: close" closes the connection here, but its body is still to be read, and must be cancellable.
        self._answer = _UNKNOWN
        try:
            self._answer = super().getresponse(*args, **options)
        except BaseException:
            self.release(_UNKNOWN)
            raise
        return self._answer

    def release(self, answer: Any) -> None:
        if self._answer is not answer:
            return  # it belongs to another answer
        self._answer = None
        if self.sock is None:
            self._forget()

    def close(self) -> None:
        super().close()
        if self._answer is None:
            self._forget()

    def _forget(self) -> None:
        handle, self._handle, self.stream = self._handle, None, None
        if handle is not None:
            self._sockets.forget(handle)


def _body(response: BaseHTTPResponse, timeout_s: float) -> bytes:
    """The whole body of a small answer. Raises HTTPException if it is large or takes too long."""
    until, body = time.monotonic() + timeout_s, b""
    while piece := response.read1(_SMALL_BYTES):
        body += piece
        if len(body) > _SMALL_BYTES or time.monotonic() > until:
            raise http.client.HTTPException("the answer does not end")
    return body


def _shut(handle: socket.socket) -> None:
    try:
        handle.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # not connected any more
