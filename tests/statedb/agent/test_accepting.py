"""How connections are accepted: the newest of a burst first, probes before other requests, none left open."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import given, strategies as st

import statedb.agent.http.server as server_of_agent
from statedb.agent.address import Address
from statedb.agent.http.accepting import Acceptor
from statedb.agent.http.connections import Connection, Connections
from statedb.agent.http.limits import Limits
from statedb.agent.http.server import Server
from statedb.agent.http.turns import PER_ITERATION, Turns

from .certificates import Authority
from .conftest import WAIT_S

MANY = 300


def test_work_is_done_in_order_and_a_little_in_each_iteration():
    done: list[int] = []
    seen: list[int] = []

    async def run() -> None:
        turns = Turns()
        for number in range(MANY):
            turns.add(lambda number=number: done.append(number))
        while len(done) < MANY:
            seen.append(len(done))
            await asyncio.sleep(0)
        turns.add(lambda: done.append(MANY))  # after a pause
        while len(done) <= MANY:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(run(), WAIT_S))
    assert done == list(range(MANY + 1))
    assert all(later - earlier <= PER_ITERATION for earlier, later in pairwise(seen))


def test_work_that_fails_does_not_stop_the_next():
    problems: list[Any] = []
    done = threading.Event()

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context["exception"]))
        turns = Turns()
        turns.add(lambda: [][1])
        turns.add(done.set)
        while not done.is_set():
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(run(), WAIT_S))
    assert [type(problem) for problem in problems] == [IndexError]


def test_a_probe_is_answered_before_a_burst_that_came_before_it():
    """While the event loop is busy, many clients come, and at last a probe."""
    with serving() as (server, asked, open_connection), contextlib.ExitStack() as stack:
        with busy(server):
            crowd = [stack.enter_context(open_connection(f"/tables/{number}")) for number in range(MANY)]
            probe = stack.enter_context(open_connection("/livez"))
        for client in (probe, *crowd):
            answer(client)
    assert list(asked).index("/livez") < MANY / 4  # asyncio's own server answers it last
    assert asked["/livez"] < MANY / 2
    assert asked.keys() == {"/livez", *[f"/tables/{number}" for number in range(MANY)]}


def test_a_probe_on_an_open_connection_is_answered_before_the_requests_of_others():
    with serving() as (server, asked, open_connection), contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(open_connection("/open")) for _ in range(MANY)]
        for client in crowd:
            answer(client)
        asked.clear()
        with busy(server):
            for number, client in enumerate(crowd[:-1]):
                client.sendall(f"GET /tables/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            crowd[-1].sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for client in crowd:
            answer(client)
    assert list(asked).index("/metrics") <= 2 * PER_ITERATION
    assert len(asked) == MANY


def answer(client: socket.socket) -> None:
    found = b""
    while not found.endswith(b"\r\n\r\nok"):
        more = client.recv(100)
        assert more, found
        found += more


@contextlib.contextmanager
def serving() -> Iterator[tuple[Server, dict[str, int], Callable[[str], socket.socket]]]:
    """A server, the paths in the order of the requests, each with the number of open connections, and a way to ask."""
    asked: dict[str, int] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked[scope["path"]] = server.connection_count
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            server_of_agent, "_KEEPALIVE_S", WAIT_S
        )  # a busy machine may need longer than 5 s for all of them
        server = Server(Address("127.0.0.1", 0), app)
    server.begin()

    def open_connection(path: str) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", server.address.port), WAIT_S)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return client

    try:
        yield server, asked, open_connection
    finally:
        server.end()


@contextlib.contextmanager
def busy(server: Server) -> Iterator[None]:
    """The event loop of the server does nothing else meanwhile."""
    begun, over = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        over.wait(WAIT_S)

    assert server._loop is not None
    server._loop.call_soon_threadsafe(block)
    assert begun.wait(WAIT_S)
    try:
        yield
    finally:
        over.set()


class Transport(asyncio.Transport):
    """Notes what a connection does with it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading: list[bool] = []
        self.closed = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is kept back."""

    def pause_reading(self) -> None:
        self.reading.append(False)

    def resume_reading(self) -> None:
        self.reading.append(True)

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


@given(st.lists(st.integers(0, 110), max_size=4).map(sorted), st.booleans())
def test_parts_that_come_before_the_first_is_read_are_read_in_order(cuts: list[int], ends_writing: bool):
    """Two requests in parts that all come in one iteration of the loop, or faster than it reads."""
    data = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    parts = [data[begin:end] for begin, end in pairwise([0, *cuts, len(data)]) if data[begin:end]]
    asked: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def run() -> None:
        config = uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_config=None)
        connection, transport = Connection(config, Connections(Limits())), Transport()
        connection.connection_made(transport)
        for part in parts:
            connection.data_received(part)
        if ends_writing:
            assert connection.eof_received()
        while transport.written.count(b"\r\n\r\nok") < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert transport.closed == ends_writing
        connection.connection_lost(None)

    asyncio.run(asyncio.wait_for(run(), WAIT_S))
    assert asked == ["/a", "/livez"]


def test_reading_goes_on_when_the_parts_of_an_unfinished_request_are_read():
    async def run() -> list[bool]:
        config = uvicorn.Config(lambda: None, http=Connection, ws="none", lifespan="off", log_config=None)
        connection, transport = Connection(config, Connections(Limits())), Transport()
        connection.connection_made(transport)
        connection.data_received(b"GET /tables HTTP/1.1\r\n")
        connection.data_received(b"Host: local")
        for _ in range(3):
            await asyncio.sleep(0)
        connection.connection_lost(None)
        return transport.reading

    assert asyncio.run(run()) == [False, True]


class Protocol(asyncio.Protocol):
    """Notes that it was made."""

    def __init__(self, made: list[Protocol]) -> None:
        self.made = made

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.made.append(self)


def listening() -> socket.socket:
    found = socket.create_server(("127.0.0.1", 0), backlog=1024)
    found.setblocking(False)
    return found


def ends(client: socket.socket) -> bool:
    client.settimeout(WAIT_S)
    with contextlib.suppress(ConnectionResetError):
        return client.recv(1) == b""
    return True


def test_connections_that_were_accepted_and_not_served_are_closed_with_it():
    made: list[Protocol] = []

    async def run() -> list[socket.socket]:
        with listening() as server:
            clients = [socket.create_connection(server.getsockname()) for _ in range(MANY)]
            acceptor = Acceptor(server, lambda: Protocol(made), Turns(), Limits())
            while not made:
                await asyncio.sleep(0)
            await acceptor.close()
            assert len(made) < MANY
            for each in made:
                each.transport.close()
            await asyncio.sleep(0)
            return clients

    clients = asyncio.run(run())
    for client in clients:
        assert ends(client)
        client.close()


class Scarce:
    """A listening socket while no file can be opened."""

    def __init__(self, inner: socket.socket) -> None:
        self.inner = inner
        self.failures = 0

    def fileno(self) -> int:
        return self.inner.fileno()

    def accept(self) -> Any:
        if self.failures < 3:
            self.failures += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.inner.accept()


def test_where_no_file_can_be_opened_it_is_told_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("statedb.agent.http.accepting._RETRY_S", 0.01)
    caplog.set_level(logging.INFO, "statedb.agent")
    made: list[Protocol] = []

    async def run() -> None:
        with listening() as server, socket.create_connection(server.getsockname()):
            acceptor = Acceptor(Scarce(server), lambda: Protocol(made), Turns(), Limits())
            while not made:
                await asyncio.sleep(0.01)
            made[0].transport.close()
            await acceptor.close()

    asyncio.run(asyncio.wait_for(run(), WAIT_S))
    assert [record.getMessage() for record in caplog.records if record.name == "statedb.agent"] == [
        "connections cannot be accepted: Too many open files; raise the limit of open files (ulimit -n)",
        "connections are accepted again",
    ]


def test_a_handshake_that_does_not_end_gives_way_when_there_are_too_many(authority: Authority):
    """``limits.connections`` holds for connections in their handshake too: the oldest is closed for the newest."""
    made: list[Protocol] = []

    async def run() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("server"))
        with listening() as server, contextlib.ExitStack() as stack:
            acceptor = Acceptor(server, lambda: Protocol(made), Turns(), Limits(connections=2), context)
            silent: list[socket.socket] = []
            for number in range(3):
                silent.append(stack.enter_context(socket.create_connection(server.getsockname())))
                while len(acceptor._opening) <= min(number, 1):
                    await asyncio.sleep(0.01)
            assert await asyncio.to_thread(ends, silent[0])
            for each in silent[1:]:
                each.setblocking(False)
                with pytest.raises(BlockingIOError):
                    each.recv(1)
            await acceptor.close()
            for each in silent[1:]:
                assert await asyncio.to_thread(ends, each)

    asyncio.run(asyncio.wait_for(run(), WAIT_S))
    assert made == []
