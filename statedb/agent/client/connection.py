"""One connection to an agent: TCP with or without TLS, or a Unix socket. It can be cancelled at any moment."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from contextlib import suppress
from typing import Any

from ingest.unfinished_tls import close_unfinished_tls

from ..address import Address


class Cancellation:
    """Cancels a request from another thread. The thread that makes the request gets Unreachable at once.

    Use it for one request at a time. It cannot be reset: a request that starts after `cancel` ends at once as well.
    """

    def __init__(self) -> None:
        """Not cancelled yet."""
        self._lock = threading.Lock()
        self._cancelled = False
        self._socket: socket.socket | None = None

    def cancel(self) -> None:
        """End the request. A thread that is about to connect may miss it: call it again until the request has ended."""
        with self._lock:
            self._cancelled = True
            if self._socket is not None:
                with suppress(OSError):  # not connected yet, or no longer
                    self._socket.shutdown(socket.SHUT_RDWR)

    def attach(self, connection: socket.socket) -> None:
        """Apply to this connection from now on. Raises ConnectionAbortedError if it is already cancelled."""
        self.detach()
        with self._lock:
            if self._cancelled:
                raise ConnectionAbortedError("the request was cancelled")
            self._socket = connection.dup()  # a descriptor of our own: the original number may be reused at any time

    def detach(self) -> None:
        """Forget the connection; it has been closed."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


class Connection(http.client.HTTPConnection):
    """A connection for one request. It can also be cancelled while it connects."""

    def __init__(
        self, address: Address, timeout_s: float, tls: ssl.SSLContext | None, cancellation: Cancellation | None
    ) -> None:
        """``tls`` is for a secure address, and None for others."""
        super().__init__("localhost" if address.path else address.host, address.port or None, timeout=timeout_s)
        self._address = address
        self._tls = tls
        self._cancellation = cancellation

    def connect(self) -> None:
        """Try each address of the host in turn, then do the TLS handshake. Raises the OSError of the last address."""
        addresses = _socket_addresses(self._address)
        for family, where in addresses:
            self.sock = socket.socket(family)
            try:
                self.sock.settimeout(self.timeout)
                if self._cancellation is not None:
                    self._cancellation.attach(self.sock)
                self.sock.connect(where)
            except OSError:
                self.sock.close()
                if where == addresses[-1][1]:
                    raise
            else:
                break
        if not self._address.path:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            try:
                self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._address.host)
            except OSError as error:
                close_unfinished_tls(error)
                raise


def _socket_addresses(address: Address) -> list[tuple[int, Any]]:
    """Pairs of an address family and an argument for `socket.connect`."""
    if address.path:
        return [(socket.AF_UNIX, address.path)]
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [(family, where) for family, _, _, _, where in found]
