"""A TCP proxy that a test can cut, freeze, slow down and mend: the fault lies between real client and real server."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Self
from urllib.parse import urlsplit


class TcpProxy:
    """Forwards connections to one server; a context manager."""

    def __init__(self, target: str, *, address: str = "127.0.0.1", port: int = 0) -> None:
        """``target`` is ``http://host:port``; ``address`` and ``port`` are where it listens, 0: any port."""
        parts = urlsplit(target)
        self.target = target
        self._listener = socket.create_server((address, port))
        self.port: int = self._listener.getsockname()[1]
        self.endpoint = f"{parts.scheme}://{address}:{self.port}"
        self.connections = 0
        """How many there have been."""
        self.broken_off = 0
        """How many connections the limit has ended."""
        self._lock = threading.Condition()
        self._open: set[socket.socket] = set()
        self._is_cut = False
        self._cuts = 0
        self._is_frozen = False
        self._delay_s = 0.0
        self._limit: int | None = None
        self._threads: set[threading.Thread] = set()

    def __enter__(self) -> Self:
        self._acceptor = self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._acceptor.join(10)  # first: it begins the others
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(10)

    @property
    def is_used(self) -> bool:
        """Whether a connection goes through it now."""
        return bool(self._open)

    def cut(self) -> None:
        """Break all connections, and every new one at once."""
        with self._lock:
            self._is_cut = True
            self._cuts += 1
            broken, self._open = self._open, set()
            self._lock.notify_all()
        for each in broken:
            _break(each)

    def turn(self, target: str) -> None:
        """Lead to another server from now on; connections to the old one break."""
        self.cut()
        self.target = target
        self.mend()

    def freeze(self) -> None:
        """Connections stay and are taken, and nothing comes through: packets are dropped, and nobody is told."""
        with self._lock:
            self._is_frozen = True

    def slow(self, delay_s: float) -> None:
        """Each piece that comes through takes so much longer; 0: no longer."""
        with self._lock:
            self._delay_s = delay_s

    def limit(self, size: int | None) -> None:
        """Connections break off once so many bytes went to the client; those that are open now too. None: never."""
        with self._lock:
            self._limit = size

    def open(self) -> None:
        """Connections are taken again; what else is wrong with them stays."""
        with self._lock:
            self._is_cut = False

    def mend(self) -> None:
        """Let everything through again."""
        with self._lock:
            self._is_cut = self._is_frozen = False
            self._delay_s, self._limit = 0.0, None
            self._lock.notify_all()

    def _run(self, work: Any, *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=self._finish, args=(work, *arguments), daemon=True)
        with self._lock:  # who sees it there may join it
            self._threads.add(thread)
            thread.start()
        return thread

    def _finish(self, work: Any, *arguments: Any) -> None:
        try:
            work(*arguments)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            cuts = self._cuts  # before the target is read: a connection to an earlier one must not outlive a turn
            try:
                parts = urlsplit(self.target)
                server = socket.create_connection((parts.hostname, parts.port))
            except OSError:
                client.close()
                continue
            with self._lock:
                refused = self._is_cut or self._cuts != cuts
                if not refused:
                    self.connections += 1
                    self._open |= {client, server}
            if refused:
                _break(client)
                _break(server)
                client.close()
                server.close()
                continue
            self._run(self._forward, client, server, False)
            self._run(self._forward, server, client, True)

    def _forward(self, source: socket.socket, target: socket.socket, to_client: bool) -> None:
        sent = 0
        try:
            while data := source.recv(65536):
                self._hold(source)
                left = None if self._limit is None or not to_client else max(0, self._limit - sent)
                target.sendall(data[:left])
                sent += len(data)
                if left is not None and len(data) >= left:
                    self.broken_off += 1
                    break
        except OSError:
            pass
        finally:
            _break(source)
            _break(target)
            source.close()
            with self._lock:
                self._open.discard(source)

    def _hold(self, source: socket.socket) -> None:
        """Wait as long as what came has to wait; raises OSError where the connection was cut meanwhile."""
        with self._lock:
            self._lock.wait_for(lambda: not self._is_frozen or source not in self._open)
            if self._delay_s:
                self._lock.wait_for(lambda: source not in self._open, self._delay_s)


def _break(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
