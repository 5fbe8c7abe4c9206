"""Connections of the server: slow, silent and many clients, bad requests, stopping."""

import contextlib
import http.client
import json
import logging
import queue
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings, strategies as st

from statedb.agent import Agent, parse_config
from statedb.agent.http.guard import body_refusal, cross_site_refusal, rebinding_refusal
from statedb.agent.http.limits import Limits
from statedb.catalog import Identities, Identity, IdentityKey, Nodes

from ...waiting import AT_ONCE_S
from .conftest import WAIT_S
from .test_http import Lines, request

Start = Callable[..., Agent]


def connected(agent: Agent) -> socket.socket:
    parts = urlsplit(agent.address)
    return socket.create_connection((parts.hostname, parts.port), WAIT_S)


def answer(agent: Agent, data: bytes) -> bytes:
    """What comes back until the server closes."""
    with connected(agent) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as file, contextlib.suppress(ConnectionResetError):
            return file.read()
    return b""


def latency_s(agent: Agent, path: str) -> float:
    began = time.monotonic()
    assert request(agent, path)[0] == 200
    return time.monotonic() - began


@pytest.mark.parametrize("count", [64, 1000])
def test_silent_and_slow_clients_hold_nobody_up(manifests: Path, start: Start, count: int):
    agent = start(manifests)
    with contextlib.ExitStack() as stack:
        for number in range(count):
            client = stack.enter_context(connected(agent))
            if number % 2:
                client.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        latencies = sorted(latency_s(agent, "/livez") for _ in range(20))
        assert latencies[10] < 1.0
        assert request(agent, "/tables/nodes")[0] == 200


def test_a_request_must_arrive_within_its_time(manifests: Path, start: Start):
    agent = start(manifests, limits=Limits(request_s=0.2))
    for begin in (
        b"",
        b"GET /livez HTTP/1.1\r\nX: ",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /li",
        b"POST /sources/accept HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab",
    ):
        with connected(agent) as client, client.makefile("rb") as file:
            client.sendall(begin)
            with contextlib.suppress(ConnectionResetError):
                file.read()  # until the server closes
    assert agent.http_counts.slow_requests == 4


class Warnings(logging.Handler):
    """Waits for warnings of the agent."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: queue.Queue[str] = queue.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.found.put(record.getMessage())


@pytest.fixture
def warnings() -> Iterator[Warnings]:
    handler = Warnings()
    logging.getLogger("statedb.agent").addHandler(handler)
    yield handler
    logging.getLogger("statedb.agent").removeHandler(handler)


def test_a_reader_that_takes_nothing_is_cut(manifests: Path, start: Start, warnings: Warnings):
    agent = start(manifests, limits=Limits(write_s=0.2))
    with agent.db.write(Nodes) as txn:
        row = next(iter(txn[Nodes].values()))
        for n in range(2000):
            txn[Nodes].insert(type(row)(type(row.key)("c9", f"n{n}"), labels=(("k", "v" * 4000),)))
        txn.commit()
    for path in ("/changes/nodes", "/tables/nodes", "/dump"):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            parts = urlsplit(agent.address)
            client.connect((parts.hostname, parts.port))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert client.recv(1) == b"H"
            assert (
                warnings.found.get(timeout=WAIT_S) == f"a reader of {path} read nothing for 0.2 s and was disconnected"
            )
            taken = b""
            with contextlib.suppress(ConnectionResetError), client.makefile("rb") as rest:
                taken = rest.read()
            assert not taken.endswith(b"0\r\n\r\n")  # nobody can take it for the whole answer
    assert request(agent, "/tables/nodes?limit=1")[0] == 200


def test_where_connections_are_too_many_an_idle_one_makes_room(manifests: Path, start: Start):
    agent = start(manifests, limits=Limits(connections=2))
    with connected(agent) as first:
        second = Lines(agent, "/changes/nodes")
        assert request(agent, "/livez")[0] == 200
        assert first.recv(1) == b""
    third = Lines(agent, "/changes/nodes")
    assert request(agent, "/livez")[1] == {"error": "2 connections are open already; close one"}
    second.close()
    third.close()


def test_queries_have_a_limit_of_their_own_and_end_with_their_reader(manifests: Path, start: Start):
    agent = start(manifests, limits=Limits(queries=2))
    with agent.db.write(Nodes) as txn:
        row = next(iter(txn[Nodes].values()))
        for n in range(2000):
            txn[Nodes].insert(type(row)(type(row.key)("c9", f"n{n}"), labels=(("k", "v" * 4000),)))
    for _ in range(10):
        assert request(agent, "/tables/identities")[0] == 200
        assert request(agent, "/tables/nosuch")[0] == 404
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(connected(agent))
            client.sendall(b"GET /dump HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(1) == b"H"
        error = {"error": "2 queries are being answered already; ask again"}
        assert request(agent, "/tables/nodes?limit=1") == (503, error)
        assert request(agent, "/livez")[0] == 200
    end = time.monotonic() + WAIT_S  # until the server has seen that they are gone
    while request_status(agent, "/tables/nodes?limit=1") != 200:
        assert time.monotonic() < end


def test_streams_have_a_limit_of_their_own(manifests: Path, start: Start):
    agent = start(manifests, limits=Limits(streams=1))
    lines = Lines(agent, "/changes/nodes")
    status, body = request(agent, "/changes/nodes")
    assert (status, body) == (503, {"error": "1 change streams are open already; close one"})
    assert request(agent, "/tables/nodes")[0] == 200
    lines.close()
    end = time.monotonic() + WAIT_S  # until the server has seen it
    while request_status(agent, "/changes/nodes") != 200:
        assert time.monotonic() < end


class Raw:
    """A change stream on a bare socket: cheaper than Lines, so that thousands can be open."""

    def __init__(self, agent: Agent, path: str) -> None:
        self.socket = connected(agent)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self._taken = b""

    def until(self, text: bytes) -> None:
        while text not in self._taken:
            more = self.socket.recv(65536)
            assert more, f"ended before {text!r}"
            self._taken += more
        self._taken = self._taken.partition(text)[2]


@pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.stress)])
def test_many_streams_are_open_at_once(manifests: Path, start: Start, count: int):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * count + 200:
        pytest.skip(f"{count} streams need more open files: ulimit -n {2 * count + 200}")
    agent = start(manifests)
    with contextlib.ExitStack() as stack:
        streams = [Raw(agent, "/changes/nodes") for _ in range(count)]
        for each in streams:
            stack.enter_context(each.socket)
            each.until(b'"commit"')
        for n in range(3):
            with agent.db.write(Nodes) as txn:
                row = next(iter(txn[Nodes].values()))
                txn[Nodes].insert(type(row)(type(row.key)("c9", f"n{n}")))
                txn.commit()
            latency_s(agent, "/livez")  # answered at all, while every stream has the change to send
            for each in streams:
                each.until(f'"name":"n{n}"'.encode())
        assert sorted(latency_s(agent, "/livez") for _ in range(20))[10] < 1.0
        began = time.monotonic()
        assert agent.stop()
        assert time.monotonic() - began < AT_ONCE_S
        for each in streams:
            each.until(b"0\r\n\r\n")  # an end in good order


def request_status(agent: Agent, path: str, method: str = "GET") -> int:
    parts = urlsplit(agent.address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT_S)
    connection.request(method, path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_an_agent_with_open_streams_and_silent_clients_stops_at_once(manifests: Path, start: Start):
    agent = start(manifests)
    streams = [Lines(agent, "/changes/nodes") for _ in range(20)]
    for each in streams:
        each.until_commit()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connected(agent))
        began = time.monotonic()
        assert agent.stop()
        assert time.monotonic() - began < AT_ONCE_S
    for each in streams:
        assert each.response.read() == b""  # an end in good order
        each.close()


def test_answers_that_nobody_takes_are_given_up_without_an_error_when_the_agent_stops(
    manifests: Path, start: Start, caplog: pytest.LogCaptureFixture
):
    agent = start(manifests)
    with agent.db.write(Identities) as txn:
        for number in range(20_000):
            txn[Identities].insert(Identity(IdentityKey("c2", number), ("k8s:app=web",)))
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            reader = stack.enter_context(connected(agent))
            reader.sendall(b"GET /tables/identities HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert reader.recv(100).startswith(b"HTTP/1.1 200")
        assert agent.stop()
    assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_one_agent_does_not_remove_the_socket_of_another(manifests: Path, tmp_path: Path, start: Start):
    path = tmp_path / "s.sock"
    first = start(manifests, f"unix:{path}")
    path.unlink()
    second = start(manifests, f"unix:{path}")
    assert first.stop()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert second.stop()
    assert not path.exists()


BAD = [
    b"GET http://[/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET //[x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /tables HTTP/1.1\r\n\r\n",
    b"GET /tables HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"POST /sources/accept HTTP/1.1\r\nHost: localhost\r\nContent-Length: \xb2\r\n\r\n",
    b"POST /sources/accept HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /sources/accept HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"POST /sources/accept HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 50\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n",
    b"GET /\x1b[31mred HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"TRACE /tables HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PUT /tables HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_a_bad_request_gets_an_error_in_json(manifests: Path, start: Start, data: bytes):
    head, _, body = answer(start(manifests), data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 4")
    assert b"application/json" in head
    assert list(json.loads(body)) == ["error"]


def test_head_has_no_body_and_does_not_follow_a_stream(manifests: Path, start: Start):
    agent = start(manifests)
    for path in ("/healthz", "/tables", "/tables/nodes", "/changes/nodes", "/dump"):
        data = f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 2
        found = answer(agent, data)
        assert found.count(b"HTTP/1.1 200 OK\r\n") == 2, path
        assert b"{" not in found


def test_pipelined_requests_are_answered_in_order(manifests: Path, start: Start):
    paths = ["/healthz", "/tables/nodes?limit=1", "/nosuch", "/livez"]
    data = b"".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths)
    found = answer(start(manifests), data)
    assert (
        found.index(b'"ok"') < found.index(b'"table":"nodes"') < found.index(b"nothing is at") < found.rindex(b'"ok"')
    )


def test_one_bad_request_after_a_good_one_only_closes_the_connection(manifests: Path, start: Start):
    agent = start(manifests)
    assert answer(agent, b"GET /changes/nodes HTTP/1.1\r\nHost: localhost\r\n\r\nnonsense\r\n\r\n").startswith(
        b"HTTP/1.1 200"
    )
    assert request(agent, "/livez")[0] == 200


HOSTS = {
    "localhost": None,
    "127.0.0.1:9974": None,
    "127.9.9.9:1": None,
    "[::1]:99": None,
    "": 421,
    "evil.example": 421,
    "localhost.evil.example": 421,
    "127.0.0.1.evil.example": 421,
    "127.0.0.1:80@evil.example": 421,
    "127.0.0.1/evil.example": 421,
    "[::1": 421,
}


@pytest.mark.parametrize(("host", "status"), HOSTS.items())
def test_only_hosts_that_are_loopback_are_answered(host: str, status: int | None):
    found = rebinding_refusal({"host": host})
    assert (found and found[0]) == status


OTHER_SITES = [
    {"origin": "http://evil.example"},
    {"origin": "http://localhost:3000"},
    {"origin": "null"},
    {"origin": "https://localhost:9974"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "http://localhost:9974", "sec-fetch-site": "cross-site"},
]


@pytest.mark.parametrize("headers", OTHER_SITES)
def test_requests_from_pages_of_other_sites_are_refused(headers: dict[str, str]):
    found = cross_site_refusal({"host": "localhost:9974", **headers})
    assert found is not None
    assert found[0] == 403


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://localhost:9974", "sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}]
)
def test_requests_of_programs_and_of_its_own_pages_are_answered(headers: dict[str, str]):
    assert cross_site_refusal({"host": "localhost:9974", **headers}) is None


LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", "/", LINK, 200),
        ("GET", "/?x=1", LINK, 200),
        ("GET", "/tables", LINK, 403),
        ("GET", "/dump", LINK, 403),
        ("GET", "/page/app.js", LINK, 403),
        ("GET", "//", LINK, 403),
        ("POST", "/", LINK, 403),
        ("POST", "/sources/accept", LINK, 403),
        ("GET", "/", LINK | {"Sec-Fetch-Dest": "iframe"}, 403),
        ("GET", "/", LINK | {"Sec-Fetch-Mode": "no-cors"}, 403),
        ("GET", "/", LINK | {"Sec-Fetch-Mode": "cors"}, 403),
        ("GET", "/", LINK | {"Origin": "http://evil.example"}, 403),
    ],
)
def test_a_link_of_another_site_opens_the_page_and_nothing_else(
    method: str, target: str, headers: dict[str, str], status: int, running: Agent
):
    connection = http.client.HTTPConnection("127.0.0.1", int(running.address.rpartition(":")[2]), timeout=WAIT_S)
    connection.request(method, target, headers=headers)
    response = connection.getresponse()
    assert (response.status, response.headers["Cross-Origin-Opener-Policy"]) == (
        status,
        "same-origin" if status == 200 else None,
    )
    connection.close()


def test_bodies_are_small():
    assert body_refusal({}) is None
    assert body_refusal({"content-length": "65536"}) is None
    for headers in ({"content-length": "65537"}, {"transfer-encoding": "chunked"}, {"content-length": "\xb2"}):
        found = body_refusal(headers)
        assert found is not None
        assert found[0] == 413


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    directory = tmp_path_factory.mktemp("manifests")
    text = f"ingest: {{manifests: {{directory: '{directory}'}}}}\nhttp: {{listen: '127.0.0.1:0'}}\n"
    with Agent(parse_config(text), limits=Limits(request_s=0.5)) as agent:
        yield agent


HEADERS = [
    "A: b",
    "Content-Length: 3",
    "Expect: 100-continue",
    "Connection: upgrade\r\nUpgrade: x",
    "Transfer-Encoding: chunked",
]
REQUESTS = st.builds(
    lambda verb, path, more, body: f"{verb} {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n\r\n".encode() + body,
    st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "X"]),
    st.sampled_from(["/", "/tables", "/tables/%00", "/changes/x", "*", "http://[::1/", "/tables/nodes?key=%ff"]),
    st.sampled_from(HEADERS),
    st.binary(max_size=20),
)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80) | REQUESTS)
def test_whatever_is_sent_the_next_request_is_answered(running: Agent, data: bytes):
    found = answer(running, data)
    assert found == b"" or found.startswith(b"HTTP/1.1 ")
    assert b"HTTP/1.1 5" not in found
    assert request(running, "/livez") == (200, {"status": "ok"})


def test_the_interface_describes_itself(manifests: Path, start: Start):
    agent = start(manifests)
    status, document = request(agent, "/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
    for path, operations in document["paths"].items():
        ((method, operation),) = operations.items()
        assert operation["summary"]
        if "{table}" not in path:
            assert request_status(agent, path, method.upper()) in (200, 503)
        assert {"200", "default"} <= operation["responses"].keys()
    schemas = document["components"]["schemas"]
    assert {"Error", "table.nodes", "table.sources"} <= schemas.keys()
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)
