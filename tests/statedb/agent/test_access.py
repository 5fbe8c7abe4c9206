"""Access beyond loopback: TLS, tokens, client certificates, roles, and the listener for probes."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import random
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from statedb.agent.errors import ConfigError, StartError
from statedb.agent.http.access import Access, AccessOptions
from statedb.agent.http.limits import Limits
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config

from .certificates import LONG_AGO, Authority
from .conftest import OPERATE, READ, WAIT_S

PROBES = {"/livez", "/healthz", "/readyz", "/metrics"}


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def ask(
    agent: Agent, context: ssl.SSLContext, target: str = "/tables/nodes", token: str = "", method: str = "GET"
) -> tuple[int, dict]:
    connection = http.client.HTTPSConnection("127.0.0.1", port(agent.address), timeout=WAIT_S, context=context)
    try:
        connection.request(method, target, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- roles ------------------------------------------------------------------------------------------------------------


def test_a_token_may_do_what_its_file_says(serve: Callable[..., Agent], authority: Authority):
    agent, anybody = serve(), authority.client()
    assert agent.address.startswith("https://")
    assert ask(agent, anybody, token=READ)[0] == 200
    assert ask(agent, anybody, "/sources/accept", OPERATE, "POST")[0] == 200
    assert ask(agent, anybody, token=OPERATE)[0] == 200
    status, answer = ask(agent, anybody, "/sources/accept", READ, "POST")
    assert (status, answer) == (403, {"error": "these credentials may only read; this needs the role 'operate'"})
    assert ask(agent, anybody, "/nowhere", READ, "POST") == (status, answer)


@pytest.mark.parametrize("target", ["/tables/nodes", "/tables/none", "/livez", "/metrics", "/openapi.json", "/nowhere"])
def test_without_credentials_all_paths_look_alike(target: str, serve: Callable[..., Agent], authority: Authority):
    agent, anybody = serve(), authority.client()
    needed = "credentials are needed: a header 'Authorization: Bearer TOKEN', or a client certificate"
    assert ask(agent, anybody, target) == (401, {"error": needed})
    assert ask(agent, anybody, target, "wrong") == (401, {"error": "the token is not valid"})


def test_a_client_certificate_may_read_and_those_of_operators_may_operate(
    serve: Callable[..., Agent], authority: Authority
):
    agent = serve("operators: [admin]", tokens=False)
    assert ask(agent, authority.client("prometheus"))[0] == 200
    assert ask(agent, authority.client("prometheus"), "/sources/accept", method="POST")[0] == 403
    assert ask(agent, authority.client("admin"), "/sources/accept", method="POST")[0] == 200


def test_certificates_of_others_and_expired_ones_are_refused(
    serve: Callable[..., Agent], authority: Authority, tmp_path: Path
):
    agent = serve(tokens=False)
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").client("admin")
    stranger.load_verify_locations(str(authority.file))
    for context in (authority.client(), stranger, authority.client("late", until=LONG_AGO)):
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.BadStatusLine)):
            ask(agent, context)


def test_a_token_is_withdrawn_when_its_file_changes_or_goes(
    serve: Callable[..., Agent], authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    agent, anybody = serve(), authority.client()
    (tmp_path / "read").write_text("another-0123456789abcdef\n")
    until(lambda: ask(agent, anybody, token=READ)[0] == 401)
    assert ask(agent, anybody, token="another-0123456789abcdef")[0] == 200
    (tmp_path / "operate").unlink()
    until(lambda: ask(agent, anybody, token=OPERATE)[0] == 401)
    lines = [record.getMessage() for record in caplog.records if "no token is valid" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("http.operate-token-file: no token is valid: ")


# --- certificates -----------------------------------------------------------------------------------------------------


def certificate_of(agent: Agent, context: ssl.SSLContext) -> bytes:
    with socket.create_connection(("127.0.0.1", port(agent.address)), WAIT_S) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted:
            found = encrypted.getpeercert(binary_form=True)
            assert found
            return found


def test_a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on(
    serve: Callable[..., Agent], authority: Authority
):
    agent, anybody = serve(), authority.client()
    stream = http.client.HTTPSConnection("127.0.0.1", port(agent.address), timeout=WAIT_S, context=anybody)
    stream.request("GET", "/changes/nodes", headers={"Authorization": f"Bearer {READ}"})
    lines = stream.getresponse()
    while b'"commit"' not in lines.readline():
        pass
    before = certificate_of(agent, anybody)
    authority.issue("server")
    until(lambda: certificate_of(agent, anybody) != before)
    assert ask(agent, anybody, token=READ)[0] == 200
    agent.sources[0].accept()
    with agent.db.write(*agent.sources[0].tables[:1]) as txn:
        nodes = txn[agent.sources[0].tables[0]]
        nodes.delete(next(iter(nodes)))
    assert b'"delete"' in lines.readline()
    stream.close()


def test_the_former_certificate_stays_while_the_files_do_not_match(
    serve: Callable[..., Agent], authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    agent, anybody = serve(), authority.client()
    before = certificate_of(agent, anybody)
    cert, _ = authority.issue("next")
    os.replace(cert, tmp_path / "server.pem")
    until(lambda: "the key does not match the certificate" in caplog.text)
    assert certificate_of(agent, anybody) == before
    os.replace(tmp_path / "next-key.pem", tmp_path / "server-key.pem")
    until(lambda: certificate_of(agent, anybody) != before)
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1


def test_an_expired_certificate_of_the_server_is_refused_by_clients_until_it_is_renewed(
    serve: Callable[..., Agent], authority: Authority
):
    agent, anybody = serve(), authority.client()
    authority.issue("server", until=LONG_AGO)

    def refused() -> bool:
        try:
            return ask(agent, anybody, token=READ)[0] != 200
        except ssl.SSLCertVerificationError as error:
            return "expired" in str(error)

    until(refused)
    authority.issue("server")
    until(lambda: not refused())


# --- probes -----------------------------------------------------------------------------------------------------------


def test_the_listener_for_probes_shows_health_and_metrics_and_nothing_else(
    serve: Callable[..., Agent], authority: Authority
):
    agent = serve("probes: '0.0.0.0:0'")
    shown = {}
    for path in (
        "/livez",
        "/healthz",
        "/readyz",
        "/metrics",
        "/tables",
        "/tables/nodes",
        "/dump",
        "/openapi.json",
        "/",
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port(agent.probes_address), timeout=WAIT_S)
        connection.request("GET", path, headers={"Host": "10.0.0.1:9975"})
        response = connection.getresponse()
        shown[path] = (response.status, response.read())
        connection.close()
    assert {path for path, (status, _) in shown.items() if status == 200} == {
        "/livez",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    assert json.loads(shown["/readyz"][1]) == {"status": "ready"}
    assert b'statedb_table_rows{table="nodes"} 2' in shown["/metrics"][1]


def test_probes_say_no_more_than_a_word_when_the_agent_is_not_ready(tmp_path: Path):
    text = f"ingest: {{manifests: {{directory: {tmp_path}/none}}}}\n"
    text += "http: {listen: '127.0.0.1:0', probes: '127.0.0.1:0'}\n"
    with Agent(parse_config(text)) as agent:
        connection = http.client.HTTPConnection("127.0.0.1", port(agent.probes_address), timeout=WAIT_S)
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())) == (503, {"status": "not ready"})
        connection.close()


# --- configurations ---------------------------------------------------------------------------------------------------

TLS = "tls: {cert-file: a, key-file: b}"


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (
            "listen: '0.0.0.0:1'",
            "http.listen: '0.0.0.0:1' can be reached from other machines, which needs http.tls",
        ),
        (f"listen: '0.0.0.0:1', {TLS}", "and nobody needs credentials; add read-token-file, operate-token-file or"),
        (f"listen: 'unix:/s', {TLS}", "http.tls: is for host:port; a Unix socket needs none"),
        ("operators: [admin]", "http.operators: are names in client certificates; add http.tls.client-ca-file"),
        ("probes: 'unix:/p'", "http.probes: must be host:port, like 0.0.0.0:9975"),
    ],
)
def test_an_address_that_is_not_secured_is_refused(section: str, problem: str):
    with pytest.raises(ConfigError) as caught:
        parse_config(f"ingest: {{manifests: {{directory: d}}}}\nhttp: {{{section}}}\n")
    assert problem in str(caught.value)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        ("# nothing\n", "has no token; write one a line, of random characters"),
        ("short\n", "has a token with less than 16 characters, or with non-ASCII characters"),
    ],
)
def test_a_file_without_tokens_is_told_at_the_start(content: str | None, problem: str, tmp_path: Path):
    if content is not None:
        (tmp_path / "tokens").write_text(content)
    with pytest.raises(StartError) as caught:
        Access(AccessOptions(read_token_file=str(tmp_path / "tokens")))
    assert str(caught.value) == f"http.read-token-file: {tmp_path}/tokens {problem}"


# --- the scan ---------------------------------------------------------------------------------------------------------

METHODS = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PATCH",
    "PRI",
    "get",
    "G ET",
    "\x00",
    "",
]
PATHS = [
    "/tables", "/tables/nodes", "/changes/nodes", "/dump", "/consumers", "/openapi.json", "/metrics", "/readyz", "/",
    "/sources/accept", "//tables/nodes", "/tables/../dump", "/tables/nodes?key=a", "/tables/nodes;x", "*",
    "/tables/nodes#", "/livez/../dump", "/live/../../dump", "\\dump", "/./dump", "/dump/.", "/DUMP",
    # percent-encodings, doubled, overlong and cut ones too
    "/%74ables/nodes", "/%64ump", "/dump%00", "/dump%2f", "/tables%2fnodes", "/%2e%2e/dump", "/%2564ump", "/dump%ff",
    "/tables/nodes%3fkey=a", "/%c0%ae%c0%ae/dump", "/dump%0d%0aX:%20y", "/dump%", "/dump%6", "/%u0064ump",
    "/livez%2f..%2fdump", "/references/nodes",
    # absolute forms, and the form of an authority
    "http://127.0.0.1/tables/nodes", "https://agent:9974/dump", "http://a@127.0.0.1/dump", "HTTP://LOCALHOST/dump",
    "//127.0.0.1/dump", "file:///dump", "unix:/dump", "/http://127.0.0.1/dump", "agent:9974", "http:/dump", "http:///dump",
    "/" + "a" * 9000, "/dump?" + "a=b&" * 2000, "/" + "../" * 3000 + "dump",
]  # fmt: skip
HEADERS = [
    "Authorization: Bearer", "Authorization: Bearer ", "Authorization: Bearer x", "Authorization: Basic YTpi",
    "Authorization: bearer undefined", "Authorization: Bearer null\r\nAuthorization: Bearer x", "Cookie: role=operate",
    "X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Original-URL: /dump", "X-HTTP-Method-Override: GET",
    "X-Client-Cert: admin", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==",
    "X: " + "a" * 10_000, "X: " + "a" * 70_000, "X: y\r\n" * 500, "Authorization: Bearer " + "a" * 60_000,
    "Cookie: " + ";" * 9000,
    "Upgrade: TLS/1.2\r\nConnection: Upgrade", "X-Rewrite-URL: /dump", "X-Real-IP: 127.0.0.1",
    "Authorization: Digest username=a",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk", "Expect: 100-continue",
    "Content-Length: 0", "Content-Length: 5", "Content-Length: -1", "Content-Length: 1, 1",
    "Transfer-Encoding: chunked", "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding: gzip, chunked",
    "Content-Length: 0\r\n folded",
    "Transfer-Encoding: identity", "Range: bytes=0-10", "Accept: text/event-stream", "Connection: keep-alive",
    "Host: localhost", "Host: 127.0.0.1:1", "Origin: null", "Sec-Fetch-Site: same-origin", "Statedb.Peer: admin",
]  # fmt: skip


BODIES = [
    "hello", "0\r\n\r\n", "GET /dump HTTP/1.1\r\nHost: a\r\n\r\n", "5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "-1\r\n\r\n",
    "0\r\n\r\nGET /dump HTTP/1.1\r\nHost: a\r\n\r\n", "ffffffffffffffff1\r\nhello", "5\nhello\n0\n\n",
    "\x81\x85\x01\x02\x03\x04hello",
]  # fmt: skip
OPENINGS = [
    # HTTP/2 with prior knowledge: settings, then GET /dump on stream 1
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x0c\1\5\0\0\0\1\x82\x87\x04\5/dump\x41\1a",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1 9974\r\n",
    b"\r\n\r\n",
    b"\x16\x03\x01\0\5hello",
    b"GET /dump\r\n",
]
"""What comes first on some connections."""


def fuzzed(chance: random.Random) -> bytes:
    """A request that is odd in one respect or two, so that the connection often outlives it."""
    odd = chance.random
    version = chance.choice(["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "http/1.1", ""]) if odd() < 0.06 else "HTTP/1.1"
    method = chance.choice(METHODS if odd() < 0.1 else ["GET", "GET", "HEAD", "POST"])
    headers = [f"{chance.choice(HEADERS)}\r\n" for _ in range(2) if odd() < 0.3]
    body = chance.choice(BODIES) if odd() < 0.06 else ""
    lines = f"{method} {chance.choice(PATHS)} {version}\r\nHost: agent:9974\r\n{''.join(headers)}\r\n{body}"
    return lines.encode("latin-1")


def scanned(address: tuple[str, int], context: ssl.SSLContext | None, seed: int, requests: int) -> list[bytes]:
    """What pipelined requests without credentials are answered, on as many connections as they need.

    A few connections do not begin with a request, and some are not encrypted, whatever the server expects.
    """
    chance, answers = random.Random(seed), []
    while requests > 0:
        many = min(requests, chance.choice([1, 5, 25]))
        requests -= many
        sent = b"".join(fuzzed(chance) for _ in range(many))
        if chance.random() < 0.05:
            sent = chance.choice(OPENINGS) + sent
        received = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError), contextlib.ExitStack() as stack:
            # the server may cut a connection at any moment, in the handshake too
            client = stack.enter_context(socket.create_connection(address, WAIT_S))
            if context is not None and chance.random() > 0.02:
                client = stack.enter_context(context.wrap_socket(client))
            client.sendall(sent + b"GET /dump HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while piece := client.recv(1 << 16):
                received += piece
        answers.append(received)
    return answers


SECRETS = (b"172.18.0", b"10.244.", b"k8s:app", b'"rows"', b'"a"', b"identities", b"HTTP/1.1 200", b"statedb_")
SEARCH = bool(os.environ.get("CI") or os.environ.get("STATEDB_SEARCH"))


def scan(address: tuple[str, int], context: ssl.SSLContext | None, requests: int) -> list[bytes]:
    """The answers to four clients. The seed is a new one in CI and with STATEDB_SEARCH; pytest prints it."""
    seed = random.SystemRandom().randrange(1 << 32) if SEARCH else 0
    print(f"seed {seed}")
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(scanned, address, context, seed + client, requests // 4) for client in range(4)]
        return [answer for one in found for answer in one.result()]


@pytest.mark.parametrize("requests", [1000, pytest.param(10_000, marks=pytest.mark.stress)])
def test_no_request_without_credentials_gets_a_byte_of_a_table(
    requests: int, serve: Callable[..., Agent], authority: Authority, caplog: pytest.LogCaptureFixture
):
    agent = serve(limits=Limits(request_s=0.2))
    context = authority.client()
    context.check_hostname = False
    found = scan(("127.0.0.1", port(agent.address)), context, requests)
    for answer in found:
        assert not [secret for secret in SECRETS if secret in answer], answer
        assert b" 401 " in answer or b" 4" in answer[:16] or not answer.startswith(b"HTTP/1.")
    assert sum(answer.count(b" 401 ") for answer in found) > requests // 6
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    until(lambda: answers(agent, authority))


def answers(agent: Agent, authority: Authority) -> bool:
    """Whether it answers those who have credentials. A handshake that takes 0.2 s is cut."""
    try:
        return ask(agent, authority.client(), token=READ)[0] == 200
    except (ConnectionError, ssl.SSLError):
        return False


@pytest.mark.parametrize("requests", [400, pytest.param(10_000, marks=pytest.mark.stress)])
def test_no_request_gets_a_byte_of_a_table_at_the_listener_for_probes(requests: int, serve: Callable[..., Agent]):
    """It needs no credentials, and has figures only."""
    agent = serve("probes: '0.0.0.0:0'")
    answers = scan(("127.0.0.1", port(agent.probes_address)), None, requests)
    for answer in answers:
        assert not [secret for secret in SECRETS[:5] if secret in answer], answer
    assert sum(answer.count(b"HTTP/1.1 ") for answer in answers) > requests // 6
