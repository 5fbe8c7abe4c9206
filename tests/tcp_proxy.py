"""A TCP proxy that a test can cut and mend: the fault lies between real client and real server."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit


class TcpProxy:
    """Forwards connections to one server; a context manager."""

    def __init__(self, target: str) -> None:
        """``target`` is ``http://host:port``."""
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"{parts.scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        """How many there have been."""
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_cut = False
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def cut(self) -> None:
        """Break all connections, and every new one at once."""
        with self._lock:
            self._is_cut = True
            broken, self._open = self._open, set()
        for each in broken:
            _break(each)

    def turn(self, target: str) -> None:
        """Lead to another server from now on; connections to the old one break."""
        parts = urlsplit(target)
        self.cut()
        self._target = (parts.hostname, parts.port)
        self.mend()

    def mend(self) -> None:
        """Let new connections through again."""
        with self._lock:
            self._is_cut = False

    def _run(self, work, *arguments) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                refused = self._is_cut
                if not refused:
                    self.connections += 1
                    self._open |= {client, server}
            if refused:
                _break(client)
                _break(server)
                client.close()
                server.close()
                continue
            self._run(self._forward, client, server)
            self._run(self._forward, server, client)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            _break(source)
            _break(target)
            source.close()
            with self._lock:
                self._open.discard(source)


def _break(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
