"""Connections of urllib3 that another thread can cut, in whatever they are blocked. Knows no Kubernetes."""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import traceback
from collections.abc import Callable
from typing import Any

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

_KEEPALIVE = [
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 15),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
]
"""A peer whose machine is gone is found after half a minute, where the system has these options."""


def has_more(response: BaseHTTPResponse) -> bool:
    """Whether more has come already of a body that is being read. May miss a little that a buffer holds."""
    method: Callable[[], bool] | None = getattr(response.connection, "has_more", None)
    return method is not None and method()


def set_silence(connection: Any, seconds: float) -> None:
    """Let a connection (Any: urllib3 has no common type) be silent for so long from now on."""
    change: Callable[[float], None] | None = getattr(connection, "set_silence", None)
    if change is not None:
        change(seconds)


def release(connection: Any) -> None:
    """The answer that came on a connection has been read or closed."""
    done: Callable[[], None] | None = getattr(connection, "release", None)
    if done is not None:
        done()


class Sockets:
    """The connections of some pools. `abort` ends them all and lets no new one begin."""

    def __init__(self) -> None:
        """None yet."""
        self._lock = threading.Lock()
        self._handles: set[socket.socket] = set()
        self._is_aborted = False

    def abort(self) -> None:
        """Whoever connects, shakes hands, waits or reads gets an error at once. From any thread, more than once."""
        with self._lock:
            self._is_aborted = True
            for handle in self._handles:
                _shut(handle)

    def attach(self, pools: PoolManager) -> None:
        """Let the manager make connections of ours from now on."""
        kinds: dict[str, Any] = {  # Any: it is declared as wanting one kind of pool twice
            "http": type("_HttpPool", (HTTPConnectionPool,), {"ConnectionCls": self._kind(HTTPConnection)}),
            "https": type("_HttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": self._kind(HTTPSConnection)}),
        }
        pools.pool_classes_by_scheme = kinds

    def connect(self, host: str, port: int, timeout_s: float | None) -> tuple[socket.socket, socket.socket]:
        """A connected socket, and a second handle of it by which it can be cut. Raises OSError."""
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
        """A second handle: TLS takes the first one's descriptor over, and hides it until it has shaken hands."""
        handle = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
        with self._lock:
            self._handles.add(handle)
            if not self._is_aborted:
                return handle
        sock.close()
        self.forget(handle)
        raise ConnectionAbortedError("stopped")

    def _kind(self, base: type[Any]) -> type[Any]:
        """A class of connections (Any: two that share no base with what is needed here) that register themselves."""
        sockets = self

        class Connection(base):  # type: ignore[misc]
            _handle: socket.socket | None = None
            _poll: Any = None
            _stream: socket.socket | None = None
            _is_answering = False

            def _new_conn(self) -> socket.socket:
                timeout_s = self.timeout if isinstance(self.timeout, int | float) else None
                try:
                    sock, self._handle = sockets.connect(self._dns_host, self.port, timeout_s)
                except OSError as error:  # a bare ECONNRESET urllib3 would take for one while sending, and go on
                    raise NewConnectionError(self, "cannot connect") from error
                self._poll = select.poll()
                self._poll.register(self._handle, select.POLLIN)
                return sock

            def has_more(self) -> bool:
                return self._handle is not None and bool(self._poll.poll(0))

            def set_silence(self, seconds: float) -> None:
                if self._stream is not None and self._stream.fileno() >= 0:
                    self._stream.settimeout(seconds)

            def connect(self) -> None:
                try:
                    super().connect()
                except OSError as error:
                    _close_unfinished_tls(error)
                    raise
                self._stream = self.sock

            def getresponse(self, *args: Any, **options: Any) -> Any:
                # A "Connection: close" closes the connection here, and its body is still to be read, and to be cut.
                self._is_answering = True
                try:
                    return super().getresponse(*args, **options)
                except BaseException:
                    self.release()
                    raise

            def release(self) -> None:
                self._is_answering = False
                if self.sock is None:
                    self._forget()

            def close(self) -> None:
                super().close()
                if not self._is_answering:
                    self._forget()

            def _forget(self) -> None:
                handle, self._handle, self._stream = self._handle, None, None
                if handle is not None:
                    sockets.forget(handle)

        return Connection


def _close_unfinished_tls(error: OSError) -> None:
    """Close the TLS socket that Python leaves to its collector where the peer resets before the first handshake."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        made = frame.f_locals.get("self")
        if isinstance(made, ssl.SSLSocket):
            made.close()


def _shut(handle: socket.socket) -> None:
    try:
        handle.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # not connected any more
