"""Whatever is in a configuration or a request: an answer, or an error that was thought of."""

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from hypothesis import given, settings, strategies as st

from statedb import Database
from statedb.agent.errors import BadRequest, ConfigError, NotFound
from statedb.agent.http.parameters import Parameters
from statedb.agent.http.resources import Resources
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import Config, parse_config
from statedb.agent.readiness import Readiness
from statedb.catalog import TABLES, Endpoint, EndpointKey, Endpoints

from .conftest import WAIT_S

LEAVES = st.none() | st.booleans() | st.integers(-5, 1000) | st.floats(allow_nan=False) | st.text(max_size=12)
WORDS = st.sampled_from(
    ["cluster", "name", "id", "ingest", "manifests", "kvstore", "directory", "tables", "endpoints", "tls", "ca-file",
     "http", "listen", "log-level", "nodes", "http://e:1", "user:secret@e", "unix:", "unix:s", "127.0.0.1:0", "[::1]:1",
     "password-file", "lease-time-s"]
)  # fmt: skip
VALUES = st.recursive(
    LEAVES | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5),
    max_leaves=12,
)
SECTIONS = st.fixed_dictionaries({}, optional=dict.fromkeys(("cluster", "ingest", "http", "log-level"), VALUES))


def problems(text: str | bytes) -> tuple[str, ...]:
    try:
        assert isinstance(parse_config(text, "/base"), Config)
    except ConfigError as error:
        return error.problems
    return ()


@settings(max_examples=200)
@given(SECTIONS | VALUES)
def test_any_yaml_is_a_configuration_or_lines_about_it(values: object):
    for problem in problems(yaml.safe_dump(values)):
        assert problem.isprintable()
        assert "secret" not in problem


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_configuration_or_lines_about_it(data: bytes):
    assert all(problem.isprintable() for problem in problems(data))


NAMES = st.sampled_from([table.name for table in TABLES]) | st.text(max_size=5)
PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(["index", "key", "prefix", "from", "limit", "match"]) | st.text(max_size=3),
        st.sampled_from([index for table in TABLES for index in table.indexes])
        | st.sampled_from(["longest", "covering", "within", "c1", "10.0.0.1", "10.0.0.0/8", "c1/10.0.0.1", "5", "::1"])
        | st.text(max_size=8),
    ),
    max_size=4,
)


@settings(max_examples=500)
@given(NAMES, PARAMETERS)
def test_any_question_about_a_table_has_an_answer(name: str, parameters: list[tuple[str, str]]):
    with contextlib.suppress(BadRequest, NotFound):
        for piece in RESOURCES.rows(name, Parameters(parameters)).body:
            assert isinstance(piece, bytes)


@given(PARAMETERS)
def test_any_acceptance_has_an_answer(parameters: list[tuple[str, str]]):
    with contextlib.suppress(BadRequest, NotFound):
        RESOURCES.accept(Parameters(parameters))


def _resources() -> Resources:
    db = Database(*TABLES)
    with db.write(Endpoints) as txn:
        for n in range(3):
            txn[Endpoints].insert(Endpoint(EndpointKey("c1", f"10.0.0.{n}"), identity=n, namespace="ns", pod=f"p{n}"))
        txn.commit()
    return Resources(db, Readiness(db))


RESOURCES = _resources()


def test_what_is_no_http_is_answered_and_the_next_request_too(manifests: Path, start: Callable[..., Agent]):
    parts = urlsplit(start(manifests).address)
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"GET /tables HTTP/1.1\r\n\r\n",
        b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /sources/accept HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /sources/accept HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n",
        b"POST /sources/accept HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ):
        with socket.create_connection((parts.hostname, parts.port), WAIT_S) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError), client.makefile("rb") as answer:
                assert b'{"error":' in answer.read()
    with socket.create_connection((parts.hostname, parts.port), WAIT_S) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        with client.makefile("rb") as answer:
            client.shutdown(socket.SHUT_WR)
            assert answer.read().count(b'{"status":"ok"}') == 2
