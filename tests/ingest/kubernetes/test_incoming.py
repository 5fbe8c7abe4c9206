"""Answers that are read as they come: over TLS too, without waiting, and with one connection for the next request."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ingest import KubernetesOptions
from ingest.kubernetes.api import Api, Stream
from ingest.kubernetes.errors import Unavailable
from ingest.kubernetes.request import Request
from ingest.kubernetes.watch import Watch

from ...statedb.agent.certificates import Authority

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
WATCH = Request("watch", "pods", "/pods")


class Server:
    """Answers one request after the other with these bytes, on each connection that comes."""

    def __init__(self, answers: list[bytes], context: ssl.SSLContext | None) -> None:
        self.connections = 0
        self._answers = iter(answers)
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            raw, _ = self._listening.accept()
            if not raw.recv(1, socket.MSG_PEEK):  # that of `close`
                raw.close()
                return
            self.connections += 1
            connection = raw if self._context is None else self._context.wrap_socket(raw, server_side=True)
            with connection:
                try:
                    while connection.recv(1 << 16):
                        connection.sendall(next(self._answers))
                except OSError:
                    pass

    def close(self) -> None:
        socket.create_connection(self._listening.getsockname()).close()
        self._thread.join()
        self._listening.close()


@pytest.fixture(params=["http", "https"])
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Authority | None:
    return Authority(tmp_path) if request.param == "https" else None


@contextmanager
def served(authority: Authority | None, *answers: bytes) -> Iterator[tuple[Server, Api]]:
    context = None
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("server"))
    with closing(Server([*answers], context)) as server:
        ca_file = None if authority is None else str(authority.file)
        api = Api(KubernetesOptions(server=server.url, ca_file=ca_file))
        try:
            yield server, api
        finally:
            api.close()
            api.clear()


def arrived(stream: Stream) -> bytes:
    """All that can be read now."""
    return b"".join(piece for pieces in stream.pieces() for piece in pieces)


def whole(stream: Stream) -> bytes:
    body = arrived(stream)
    while not stream.is_complete:
        select.select([stream], [], [])
        body += arrived(stream)
    return body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_nothing_that_tls_has_decrypted_is_left(authority: Authority | None):
    """Python reads 8 KiB with the head. TLS decrypts 16 KiB at a time, and its socket does not tell of the rest."""
    data = b"x" * 15_000
    with served(authority, CHUNKED + chunk(data)) as (_, api), closing(api.stream(WATCH)) as stream:
        body = arrived(stream)
        while len(body) < len(data) and select.select([stream], [], [], 60)[0]:
            body += arrived(stream)
        assert body == data
        assert arrived(stream) == b""
        assert not stream.is_complete


def test_a_part_of_a_chunk_is_returned_and_not_waited_for(authority: Authority | None):
    with served(authority, CHUNKED + b"a\r\nhalf ", b"") as (_, api), closing(api.stream(WATCH)) as stream:
        body = arrived(stream)
        while len(body) < 5:
            select.select([stream], [], [])
            body += arrived(stream)
        assert body == b"half "
        assert not stream.is_complete


def test_a_connection_whose_answer_ended_in_good_order_is_used_again(authority: Authority | None):
    answer = CHUNKED + chunk(b"one ") + chunk(b"two") + END
    with served(authority, answer, answer, answer) as (server, api):
        for _ in range(3):
            with closing(api.stream(WATCH)) as stream:
                assert whole(stream) == b"one two"
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + chunk(b"x") + END + b"surplus",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x") + END,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
    ],
    ids=["surplus", "closing", "length"],
)
def test_any_other_connection_is_closed(authority: Authority | None, answer: bytes):
    with served(authority, answer, answer) as (server, api):
        for _ in range(2):
            with closing(api.stream(WATCH)) as stream:
                assert whole(stream) == b"x"
        assert server.connections == 2


class Resets:
    """A socket that is reset after some bytes. As in Linux, it says so once."""

    def __init__(self, *records: bytes) -> None:
        self._answers: list[bytes | OSError] = [*records, ConnectionResetError("reset"), b""]

    def recv(self, _: int) -> bytes:
        answer = self._answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    def settimeout(self, _: object) -> None:
        pass


def test_bytes_before_a_reset_come_before_its_error_and_the_answer_is_not_complete(
    authority: Authority | None, monkeypatch: pytest.MonkeyPatch
):
    """Whatever comes before the connection ends is the body here, so a reset may not count as an end."""
    with served(authority, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n") as (_, api):
        with closing(api.stream(WATCH)) as stream:
            monkeypatch.setattr(stream._incoming, "_stream", Resets(b"some", b"more"))
            pieces = stream.pieces()
            assert next(pieces) == [b"somemore"]
            with pytest.raises(Unavailable, match="ConnectionResetError"):
                next(pieces)
            assert not stream.is_complete


def test_closing_the_api_cuts_an_open_answer(authority: Authority | None):
    with served(authority, CHUNKED + chunk(b"x")) as (_, api), closing(api.stream(WATCH)) as stream:
        api.close()
        with pytest.raises(Unavailable):
            whole(stream)


def test_closing_an_answer_again_leaves_its_connection_to_the_next_one(authority: Authority | None):
    """The next answer, which may be read by another thread, would have waited for what has not come."""
    with served(authority, CHUNKED + END, CHUNKED + chunk(b"{}")) as (server, api):
        first = api.stream(WATCH)
        assert whole(first) == b""
        first.close()
        with closing(api.stream(WATCH)) as second:
            assert server.connections == 1
            first.close()
            body = arrived(second)
            while len(body) < 2:
                select.select([second], [], [])
                body += arrived(second)
            assert body == b"{}"


class Endless:
    """A server that sends headers after the last chunk, again and again."""

    request = WATCH
    server = None

    def pieces(self) -> Iterator[list[bytes]]:
        for _ in range(100_000):
            yield []
        pytest.fail("one read does not end")


def test_a_server_that_sends_endless_headers_after_the_last_chunk_stops_no_other_resource():
    watch = Watch(Endless(), silence_s=150.0)  # type: ignore[arg-type]
    assert watch.read() == []
    assert watch.is_ready
