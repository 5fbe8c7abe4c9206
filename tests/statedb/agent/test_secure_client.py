"""The command line and programs ask an agent over TLS, with tokens and client certificates."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from statedb.agent.cli.main import _status
from statedb.agent.client.credentials import Credentials
from statedb.agent.client.remote import Remote
from statedb.agent.client.replica import Links, Replica, ReplicaOptions
from statedb.agent.errors import BadRequest, Denied, Unreachable
from statedb.agent.process.agent import Agent
from statedb.catalog import Nodes

from .certificates import LONG_AGO, Authority
from .conftest import OPERATE, READ, WAIT_S

Serve = Callable[..., Agent]


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No credentials of who runs the tests."""
    for name in [name for name in os.environ if name.startswith("STATEDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def at(agent: Agent) -> str:
    """An address that stands in the certificate; the agent listens on all."""
    return agent.address.replace("0.0.0.0", "127.0.0.1")


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = _status(list(arguments))
    out, err = capsys.readouterr()
    assert err.count("\n") <= 1
    return status, out, err


# --- the command line -------------------------------------------------------------------------------------------------


def test_options_name_the_authority_and_a_token(
    serve: Serve, authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    agent = serve()
    common = ("-s", at(agent), "--ca-file", str(authority.file))
    reading, operating = (("--token-file", str(tmp_path / name)) for name in ("read", "operate"))
    status, out, err = asked(capsys, "get", "nodes", "c1/a", *common, *reading, "-o", "json")
    assert (status, json.loads(out)["key"]["name"], err) == (0, "a", "")
    assert asked(capsys, *common, *reading, "health") == (0, "ok\n", "")
    assert asked(capsys, "sources", "accept", *common, *operating)[0] == 0
    assert asked(capsys, "sources", "accept", *common, *reading) == (
        2,
        "",
        f"statedb: {at(agent)} answers 403: these credentials may only read; this needs the role 'operate'\n",
    )
    status, out, err = asked(capsys, "tables", *common)
    assert (status, out) == (2, "")
    assert err == (
        f"statedb: {at(agent)} answers 401: credentials are needed: a header 'Authorization: Bearer TOKEN', or a "
        "client certificate; give --token-file (STATEDB_TOKEN_FILE), or --cert-file and --key-file (STATEDB_CERT_FILE, "
        "STATEDB_KEY_FILE)\n"
    )
    (tmp_path / "wrong").write_text("wrong-0123456789abcdef\n")
    status, out, err = asked(capsys, "tables", *common, "--token-file", str(tmp_path / "wrong"))
    assert (status, out) == (2, "")
    assert err.startswith(f"statedb: {at(agent)} answers 401: the token is not valid; give --token-file")


def test_the_environment_names_a_client_certificate(
    serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    agent = serve("operators: [admin]", tokens=False)
    cert, key = authority.issue("admin")
    for name, value in {
        "SERVER": at(agent),
        "CA_FILE": authority.file,
        "CERT_FILE": cert,
        "KEY_FILE": key,
    }.items():
        monkeypatch.setenv(f"STATEDB_{name}", str(value))
    assert asked(capsys, "show", "nodes", "-o", "name") == (0, "c1/a\nc1/b\n", "")
    assert asked(capsys, "sources", "accept")[0] == 0
    assert asked(capsys, "watch", "nodes", "c1/none", "--cert-file", str(key))[0] == 2


def test_a_file_of_the_user_has_it_all_and_is_for_its_own_agent_only(
    serve: Serve, authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    agent = serve()
    file = tmp_path / "config/statedb/client.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"server: {at(agent)}\nca-file: {authority.file}\ntoken-file: token\n")
    (file.parent / "token").write_text(f"# of this machine\n\n{READ}\n")
    assert asked(capsys, "show", "nodes", "-o", "name") == (0, "c1/a\nc1/b\n", "")
    status, _, err = asked(capsys, "show", "nodes", "-s", at(agent), "--ca-file", str(authority.file))
    assert (status, "answers 401: credentials are needed" in err) == (2, True)
    file.write_text("servr: x\n")
    assert asked(capsys, "tables") == (
        2,
        "",
        f"statedb: {file}: servr: unknown field; did you mean 'server'? known are ca-file, cert-file, key-file, "
        "token-file, server\n",
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--ca-file", "none"), "ca-file: none cannot be read: No such file or directory"),
        (("--cert-file", "none"), "cert-file, key-file: none cannot be read: No such file or directory"),
        (
            ("--key-file", "none"),
            "there is a key file but no certificate; give --cert-file (STATEDB_CERT_FILE) as well",
        ),
        (("--token-file", "none"), "token-file: none cannot be read: No such file or directory"),
        (("--ca-file", __file__), "ca-file: no certificate or key in PEM format"),
        (("--token-file", os.devnull), "token-file: /dev/null has no token; write it on a line of its own"),
        (
            ("-s", "http://10.0.0.1:9974", "--token-file", "t"),
            "a token is not sent to http://10.0.0.1:9974, where others may read it; write https://",
        ),
    ],
)
def test_a_file_that_is_not_in_order_is_named(
    arguments: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
):
    assert asked(capsys, "-s", "https://127.0.0.1:1", *arguments, "tables") == (2, "", f"statedb: {problem}\n")


# --- whom we trust ----------------------------------------------------------------------------------------------------


def remote(agent: Agent, authority: Authority | None, host: str = "127.0.0.1", **files: Path) -> Remote:
    ca = {} if authority is None else {"ca_file": str(authority.file)}
    credentials = Credentials(**ca, **{name: str(path) for name, path in files.items()})
    return Remote(at(agent).replace("127.0.0.1", host), credentials=credentials, timeout_s=WAIT_S)


def test_an_agent_with_a_certificate_that_is_not_to_be_trusted_gets_no_token(
    serve: Serve, authority: Authority, tmp_path: Path
):
    agent = serve()
    token = {"token_file": tmp_path / "read"}
    (tmp_path / "other").mkdir()
    with pytest.raises(Denied, match=r"is not valid: its authority is unknown; give .* with --ca-file"):
        remote(agent, None, **token).json("/tables")
    with pytest.raises(Denied, match="its authority is unknown"):
        remote(agent, Authority(tmp_path / "other"), **token).json("/tables")
    with pytest.raises(Denied, match=r"is not valid: it is not for 'localhost'; use a name that it contains"):
        remote(agent, authority, "localhost", **token).json("/tables")
    with pytest.raises(Denied, match=r"it is not for '127.0.0.2'"):
        remote(agent, authority, "127.0.0.2", **token).json("/tables")
    assert agent.http_counts.opened == 0  # no handshake was finished, so that no token has left


def test_an_expired_certificate_of_the_agent_is_named_until_it_is_renewed(
    serve: Serve, authority: Authority, tmp_path: Path
):
    agent = serve()
    trusting = remote(agent, authority, token_file=tmp_path / "read")
    authority.issue("server", until=LONG_AGO)
    assert until_told(trusting) == f"the certificate of {at(agent)} is not valid: it has expired; renew it at the agent"
    authority.issue("server")
    until_answered(trusting)


def test_a_client_certificate_that_is_missing_or_not_accepted_is_named(
    serve: Serve, authority: Authority, tmp_path: Path
):
    agent = serve(tokens=False)
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").issue("stranger")
    late = authority.issue("late", until=LONG_AGO)
    for pair in ({}, dict(zip(("cert_file", "key_file"), stranger)), dict(zip(("cert_file", "key_file"), late))):
        with pytest.raises(Denied, match="client certificate") as caught:
            remote(agent, authority, **pair).json("/tables")
        assert str(caught.value).startswith(at(agent))
    good = dict(zip(("cert_file", "key_file"), authority.issue("good")))
    assert remote(agent, authority, **good).json("/tables")["tables"]


def test_http_and_https_that_were_mixed_up_are_told(serve: Serve, manifests: Path, start: Callable[..., Agent]):
    secure, plain = serve(), start(manifests)
    with pytest.raises(Unreachable, match=r"if it has http\.tls, write https://"):
        Remote(at(secure).replace("https", "http")).json("/tables")
    with pytest.raises(Unreachable, match="does not speak TLS; write http://"):
        Remote(plain.address.replace("http", "https")).json("/tables")


# --- tokens and certificates that change; streams ---------------------------------------------------------------------


def test_a_renewed_token_is_taken_without_a_new_start(serve: Serve, authority: Authority, tmp_path: Path):
    agent = serve()
    (tmp_path / "mine").write_text(READ)
    ours = remote(agent, authority, token_file=tmp_path / "mine")
    assert ours.json("/tables")["tables"]
    (tmp_path / "read").write_text("another-0123456789abcdef\n")
    assert "401: the token is not valid" in until_told(ours)
    (tmp_path / "mine").write_text("another-0123456789abcdef\n")
    assert ours.json("/tables")["tables"]


def test_a_replica_follows_an_agent_over_tls_and_is_closed_at_once(serve: Serve, authority: Authority, tmp_path: Path):
    agent = serve()
    options = ReplicaOptions(retry_min_s=0.01, retry_max_s=0.02)
    with Replica(remote(agent, authority, token_file=tmp_path / "operate"), Nodes, options=options) as replica:
        assert replica.db.wait_initialized(Nodes, timeout=WAIT_S)
        assert [key.name for key in replica.db.snapshot()[Nodes]] == ["a", "b"]
        (tmp_path / "operate").write_text("nobody-0123456789abcdef\n")
        agent.stop()
    assert replica.close(WAIT_S)
    assert OPERATE not in replica.db.snapshot()[Links]["nodes"].last_error


@contextmanager
def silent(context: ssl.SSLContext | None) -> Iterator[str]:
    """Who takes connections and says nothing; with a context, only after the TLS handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def accept() -> None:
            connection, _ = listener.accept()
            accepted.append(connection if context is None else context.wrap_socket(connection, server_side=True))

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(WAIT_S)
        for connection in accepted:
            connection.close()


@pytest.mark.parametrize("in_handshake", [True, False])
def test_who_says_nothing_within_tls_is_given_up(in_handshake: bool, authority: Authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("server"))
    with silent(None if in_handshake else context) as address:
        impatient = Remote(address, credentials=Credentials(ca_file=str(authority.file)), timeout_s=0.3)
        with pytest.raises(Unreachable, match=r"has sent nothing for 0\.3 s"):
            impatient.json("/tables")


def test_a_token_file_with_other_characters_is_refused(tmp_path: Path):
    (tmp_path / "token").write_bytes(b"caf\xc3\xa9")
    with pytest.raises(BadRequest, match="is not a token: it has characters other than ASCII"):
        Remote("https://127.0.0.1:1", credentials=Credentials(token_file=str(tmp_path / "token"))).json("/tables")


def until_told(asking: Remote) -> str:
    """The first refusal."""
    for _ in range(2_000):
        try:
            asking.json("/tables")
        except Denied as error:
            return str(error)
        threading.Event().wait(0.02)
    raise AssertionError("it was never refused")


def until_answered(asking: Remote) -> None:
    for _ in range(2_000):
        try:
            asking.json("/tables")
        except Denied:
            threading.Event().wait(0.02)
        else:
            return
    raise AssertionError("it was always refused")
