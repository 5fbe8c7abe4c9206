"""Answers that come byte by byte without an end: each is given up in time, whatever part of it is slow."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from ingest import KubernetesOptions
from ingest.kubernetes.api import Api
from ingest.kubernetes.request import Request

LIST = Request("list", "pods", "/pods")
LIMIT_S = 0.3
JOIN_S = 30.0


class Trickle:
    """Answers each request with these bytes, and then with one more byte every few milliseconds."""

    def __init__(self, beginning: bytes) -> None:
        self._beginning = beginning
        self._over = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0.05)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(None)
                try:
                    connection.recv(1 << 16)
                    connection.sendall(self._beginning)
                    while not self._over.wait(0.005):
                        connection.sendall(b"1")
                except OSError:
                    pass

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._listening.close()


@pytest.fixture
def trickles() -> Iterator[Callable[[bytes], Api]]:
    servers: list[Trickle] = []
    apis: list[Api] = []

    def serve(beginning: bytes) -> Api:
        servers.append(Trickle(beginning))
        apis.append(Api(KubernetesOptions(server=servers[-1].url, request_timeout_s=LIMIT_S)))
        return apis[-1]

    yield serve
    for api in apis:
        api.close()
        api.clear()
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n[",
        b"HTTP/1.1 200 OK\r\nContent-Length: 65535\r\n\r\n[",
        b"HTTP/1.1 200 OK\r\n\r\n[",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 65535\r\n\r\n[",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 2",
    ],
)
def test_a_document_that_comes_byte_by_byte_is_given_up(trickles: Callable[[bytes], Api], beginning: bytes):
    """The limit held for each read of the socket only, and one read may ask for 64 KiB."""
    api = trickles(beginning)
    raised: list[BaseException] = []

    def read() -> None:
        try:
            api.read(LIST, list[int], bytes_max=1 << 30)
        except BaseException as error:
            raised.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(JOIN_S)
    assert [type(each).__name__ for each in raised]
