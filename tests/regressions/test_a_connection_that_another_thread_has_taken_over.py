"""A pool gives a connection away as soon as its answer is read, before we have said that we are done with it.

What was done with the old answer then hit the new one: a socket stayed open until the collector came, and an answer
that was still coming could not be cut off. Found by the histories of tests/ingest/kubernetes.
"""

import socket
import threading
from collections.abc import Iterator

import pytest
import urllib3

from ingest.kubernetes.sockets import Sockets, release

KEPT = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
CLOSING = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1000\r\n\r\n{"
"""An answer on a connection that is closed afterwards; the rest of its body never comes."""


class Server:
    """Answers the first connection with a whole answer and closes it, and the second with the head of one."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.closed = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        first, _ = self._listening.accept()
        first.recv(4096)
        first.sendall(KEPT)
        first.close()
        self.closed.set()
        second, _ = self._listening.accept()
        second.recv(4096)
        second.sendall(CLOSING)
        self._over.wait(30)
        second.close()

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        self._listening.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.end()


def test_what_comes_late_of_the_last_answer_does_not_touch_the_next(server: Server):
    sockets, pools = Sockets(), urllib3.PoolManager()
    sockets.attach(pools)
    first = pools.request("GET", server.address, preload_content=False, retries=False)
    connection = first.connection
    assert first.read() == b"{}"  # the pool has the connection again
    assert server.closed.wait(30)
    second = pools.request("GET", server.address, preload_content=False, retries=False, timeout=20)
    assert second.connection is connection
    assert len(sockets._handles) == 1  # that of the closed socket went with it
    release(connection, first)  # only now
    assert len(sockets._handles) == 1
    sockets.abort()
    with pytest.raises(urllib3.exceptions.ProtocolError, match="IncompleteRead"):
        second.read()
    second.close()
    release(connection, second)
    assert not sockets._handles
    pools.clear()
