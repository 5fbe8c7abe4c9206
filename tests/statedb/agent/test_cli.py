"""The command line as its users have it: processes, exit statuses, lines."""

# ruff: noqa: E501 - the lines are quoted as they are printed

import _thread
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from statedb.agent.cli.main import _status
from statedb.agent.process.agent import Agent

from ...waiting import AT_ONCE_S, eventually
from .conftest import WAIT_S, config_text, node, put

COMMAND = [sys.executable, "-m", "statedb"]


def statedb(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        env={**os.environ, **environment},
    )


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, list[str]]:
    """Exit status, output, lines of error: in this process, for the many cases that need no other."""
    capsys.readouterr()
    status = _status(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err.splitlines()


def assert_calm(log: str) -> None:
    """The log tells how the sources changed their states, and nothing that went wrong."""
    assert [line for line in log.splitlines() if not re.search(r"Z INFO ingest: .* -> ", line)] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_serves_until_a_signal_and_stops_at_once(manifests: Path, tmp_path: Path, number: signal.Signals):
    path = tmp_path / "agent.yaml"
    path.write_text(config_text(manifests))
    with running("run", "-c", str(path)) as process:
        line = process.stdout.readline()
        assert line.startswith("serving on http://127.0.0.1:"), process.stderr.read()
        assert process.stdout.readline().startswith("synced after ")
        shown = statedb("show", "nodes", STATEDB_SERVER=line.split()[-1])
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout.splitlines() == [
            "NAME  CLUSTER  ADDRESSES              POD CIDRS      SOURCE",
            "a     c1       InternalIP:172.18.0.1  10.244.1.0/24  custom-resource",
            "b     c1       InternalIP:172.18.0.2  10.244.2.0/24  custom-resource",
        ]
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(WAIT_S) == 0
        assert time.monotonic() - began < AT_ONCE_S
        assert process.stdout.read() == "stopped\n"
        assert_calm(process.stderr.read())


def test_run_stops_also_while_nothing_could_be_synced(tmp_path: Path):
    path = tmp_path / "agent.yaml"
    path.write_text(config_text(tmp_path / "none", f"unix:{tmp_path / 's.sock'}"))
    with running("run", "-c", str(path)) as process:
        assert process.stdout.readline() == f"serving on unix:{tmp_path / 's.sock'}\n"
        assert statedb("--server", f"unix:{tmp_path / 's.sock'}", "tables").returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(AT_ONCE_S) == 0
    assert not (tmp_path / "s.sock").exists()


def test_run_with_a_wrong_configuration_is_a_line_for_each_mistake(tmp_path: Path):
    path = tmp_path / "agent.yaml"
    path.write_text("cluster: {nam: a}\ningest: {kvstore: {endpoints: 1}}\n")
    done = statedb("run", "-c", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"statedb: {path}: cluster.nam: unknown field; did you mean 'name'? known are name, id",
        f"statedb: {path}: ingest.kvstore.endpoints: must be a list, not a whole number; write it as [value]",
    ]


def test_run_on_a_taken_address_is_one_line(
    manifests: Path, tmp_path: Path, start: Callable[..., Agent], capsys: pytest.CaptureFixture[str]
):
    address = start(manifests).address
    path = tmp_path / "agent.yaml"
    path.write_text(config_text(manifests, address.removeprefix("http://")))
    done = statedb("run", "-c", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"statedb: http.listen: {address} is in use; stop the other program, or choose")
    assert done.stderr.count("\n") == 1


def test_check_explains(manifests: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "agent.yaml"
    path.write_text(
        "ingest: {kvstore: {endpoints: ['http://e:1'], tables: [nodes]}, manifests: {directory: none, tables: [policies]}}"
    )
    status, out, err = told(capsys, "check", "-c", str(path))
    assert (status, err) == (0, [])
    lines = out.splitlines()
    assert lines[0] == f"{path}: good"
    assert "nodes       kvstore" in lines
    assert "policies    manifests" in lines
    assert "endpoints   nobody: stays empty" in lines
    assert lines[-1] == f"note: {tmp_path / 'none'} is no directory yet; the tables of manifests wait until it is"


def test_check_finds_what_a_backend_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "agent.yaml"
    path.write_text("ingest: {kvstore: {endpoints: ['e:1']}}")
    status, _, err = told(capsys, "check", "-c", str(path))
    assert (status, len(err)) == (2, 1)
    assert err[0].startswith("statedb: ingest.kvstore.endpoints[0]: 'e:1' is not an address like http://")
    path.write_text("ingest: {kvstore: {endpoints: ['https://e:1'], tls: {ca-file: none.pem}}}")
    assert told(capsys, "check", "-c", str(path))[2] == [
        f"statedb: ingest.kvstore.tls.ca-file: {tmp_path}/none.pem: No such file or directory"
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["shwo", "nodes"], "no command 'shwo'; did you mean 'show'? known are init, run, check, tables, "),
        (["show"], "Missing argument 'TABLE'; see 'statedb show --help'"),
        (["show", "nodes", "--colums", "a"], "No such option"),
        (["show", "nodes", "-o", "xml"], "Invalid value for '-o' / '--output': 'xml' is not one of 'table', 'wide', 'name', 'json', 'jsonl', 'yaml'"),
        (["show", "nodes", "--limit", "0"], "Invalid value for '--limit': 0 is not in the range"),
        (["list", "nodes", "a"], "Missing option '-i' / '--index'; 'statedb tables' shows the indexes of each table; see 'statedb list --help'"),
        (["get", "nodes"], "Missing argument 'KEY...'; see 'statedb get --help'"),
        (["run"], "Missing option '-c' / '--config'; name a configuration, as in -c agent.yaml; 'statedb init' writes one; see 'statedb run --help'"),
        (["show", "nodes", "node-1"], "Got unexpected extra argument (node-1); 'statedb get TABLE KEY' shows one row"),
        (["run", "-c", "/none/agent.yaml"], "/none/agent.yaml: cannot be read: No such file or directory"),
        (["sources", "acept"], "No such command 'acept'"),
        (["tables", "--server", "ftp://x"], "'ftp://x' is not a server; write http://127.0.0.1:9974, https://host:port or unix:/path"),
        (["tables", "--server", "unix:/none/s.sock"], "no agent answers at unix:/none/s.sock: there is no such socket; start one with 'statedb run -c agent.yaml'"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_and_status_two(capsys: pytest.CaptureFixture[str], arguments: list[str], line: str):
    status, out, err = told(capsys, *arguments)
    assert (status, out, len(err)) == (2, "", 1)
    assert err[0].startswith(f"statedb: {line}")


def test_mistakes_that_the_agent_finds_are_one_line_too(
    manifests: Path, start: Callable[..., Agent], capsys: pytest.CaptureFixture[str]
):
    server = start(manifests).address
    for arguments, line in (
        (["show", "node"], "no table 'node'; did you mean 'nodes'? known are nodes, "),
        (["show", "node", "--columns", "a"], "no table 'node'; did you mean 'nodes'? known are nodes, "),
        (["watch", "node"], "no table 'node'; did you mean 'nodes'? known are nodes, "),
        (["get", "nodes", "c1"], "a key of nodes has 2 fields (cluster, name); 1 given: write it like CLUSTER NAME"),
        (["get", "identities", "c1/x"], "id of identities is a whole number; 'x' is none"),
        (["list", "nodes", "-i", "by_addres", "x"], "table 'nodes' has no index 'by_addres'; did you mean 'by_address'?"),
        (["show", "nodes", "--columns", "name,addr"], "table 'nodes' has no column 'addr'; did you mean 'addresses'?"),
        (["sources", "accept", "--table", "sources"], "no source fills table 'sources'; filled are nodes, "),
    ):  # fmt: skip
        status, out, err = told(capsys, "--server", server, *arguments)
        assert (status, out, len(err), err[0][: len(line) + 9]) == (2, "", 1, f"statedb: {line}")
    assert told(capsys, "get", "nodes", "c1/zz", "-s", server) == (1, "", ["statedb: table 'nodes' has no row 'c1 zz'"])


def test_rows_for_people_and_for_programs(
    manifests: Path, start: Callable[..., Agent], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STATEDB_SERVER", start(manifests).address)
    monkeypatch.setenv("COLUMNS", "40")  # some shells export it, and a pipe is no terminal
    assert "by_address,by_pod_cidr" in told(capsys, "tables")[1].splitlines()[1]
    with monkeypatch.context() as narrow:
        narrow.setenv("STATEDB_WIDTH", "60")
        assert "by_address,by_pod_cidr" not in told(capsys, "tables")[1]
    assert json.loads(told(capsys, "tables", "-o", "json")[1])[0]["rows"] == 2
    row = json.loads(told(capsys, "get", "nodes", "c1", "a", "-o", "json")[1])
    assert (row["key"], row["pod_cidrs"]) == ({"cluster": "c1", "name": "a"}, ["10.244.1.0/24"])
    assert yaml.safe_load(told(capsys, "get", "nodes", "c1/a", "-o", "yaml")[1]) == row
    assert json.loads(told(capsys, "show", "nodes", "--limit", "1", "-o", "json")[1]) == [row]
    listed = told(capsys, "list", "nodes", "-i", "by_pod_cidr", "10.244.2.1", "--columns", "name,pod-cidrs")[1]
    assert listed.splitlines() == ["NAME  POD CIDRS", "b     10.244.2.0/24"]
    assert told(capsys, "list", "nodes", "-i", "by_pod_cidr", "10.244.2.1", "--match", "exact")[1].count("\n") == 1
    found = told(capsys, "prefix", "identities", "c1", "-o", "json", "--columns", "id,labels")[1]
    assert json.loads(found)[1] == {"id": 1001, "labels": ["k8s:app=db"]}
    assert told(capsys, "prefix", "nodes", "-i", "by_pod_cidr", "10.0.0.0/8")[1].count("\n") == 3
    assert told(capsys, "sources")[1].splitlines()[1].split()[:5] == ["c1", "backends", "manifests", "synced", "0"]
    accepted = told(capsys, "sources", "accept", "--table", "nodes")
    assert accepted[1].startswith("accepted manifests of cluster c1: nodes, ")
    assert json.loads(told(capsys, "sources", "accept", "-o", "json")[1])[0]["cluster"] == "c1"


def test_watch_prints_what_changes_from_now_on(manifests: Path, start: Callable[..., Agent]):
    server = start(manifests).address
    with running("watch", "nodes", "--server", server) as process:
        assert process.stderr.readline().startswith("statedb: watching nodes from revision ")
        put(manifests, "more.yaml", node("c", 3))
        assert process.stdout.readline().split()[:3] == ["EVENT", "REVISION", "NAME"]
        assert process.stdout.readline().split()[::2][:2] == ["put", "c"]
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0
        assert_calm(process.stderr.read())


def test_ctrl_c_that_comes_just_before_a_command_waits_is_not_missed(manifests: Path, start: Callable[..., Agent]):
    """`interrupt_main` notes the signal and interrupts no system call, as if it had come a moment before that."""
    agent = start(manifests)
    ended, missed = threading.Event(), []

    def waits() -> bool:
        """Whether the stream is open, and the command reads from its socket."""
        reading = sys._current_frames()[threading.main_thread().ident or 0].f_code.co_name == "readinto"
        return reading and any(stats.streams for stats in agent.db.stats())

    def interrupt() -> None:
        eventually(waits, "a command that waits")
        _thread.interrupt_main()
        if not ended.wait(WAIT_S / 4):
            missed.append("it still waits")
            agent.stop()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests of `run` leave its own
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        status = _status(["watch", "nodes", "--server", str(agent.address)])
    finally:
        ended.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert (status, missed) == (0, [])
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_watch_once_of_a_row_ends_with_its_first_change(manifests: Path, start: Callable[..., Agent]):
    server = start(manifests).address
    with running("watch", "nodes", "c1", "b", "--once", "-o", "json", "-s", server) as process:
        assert process.stderr.readline().startswith("statedb: watching nodes c1 b from revision ")
        put(manifests, "more.yaml", node("c", 3))
        put(manifests, "all.yaml", node("a", 1))
        change = json.loads(process.stdout.readline())
        assert (change["event"], change["row"]["key"]["name"]) == ("delete", "b")
        assert process.wait(WAIT_S) == 0


def test_changes_prints_the_rows_and_ends_when_the_agent_does(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    with running("changes", "nodes", "-o", "json", "--columns", "name", "-s", agent.address) as process:
        assert [json.loads(process.stdout.readline())["row"] for _ in "ab"] == [{"name": "a"}, {"name": "b"}]
        agent.stop()
        assert process.wait(WAIT_S) == 2
        assert process.stderr.read() == (
            f"statedb: {agent.address} ended the stream; request it again to start over from the current rows\n"
        )


def test_a_reader_that_has_seen_enough_is_no_error(manifests: Path, start: Callable[..., Agent]):
    server = start(manifests).address
    with running("changes", "nodes", "-o", "json", "-s", server) as process:
        assert process.stdout.readline()
        process.stdout.close()
        put(manifests, "more.yaml", node("c", 3))
        assert process.wait(WAIT_S) == 0
        assert_calm(process.stderr.read())


def test_what_a_terminal_would_obey_is_not_printed(
    manifests: Path, start: Callable[..., Agent], capsys: pytest.CaptureFixture[str]
):
    put(manifests, "all.yaml", 'apiVersion: cilium.io/v2\nkind: CiliumIdentity\nmetadata: {name: "7"}\n'
        'security-labels: {"k8s:app": "\\e[31mred\\nline"}\n')  # fmt: skip
    agent = start(manifests)
    out = told(capsys, "show", "identities", "-s", agent.address)[1]
    assert out.splitlines()[1].split()[-1] == "k8s:app=?[31mred?line"


def test_an_error_nobody_thought_of_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("statedb.agent.cli.local_commands.check", broken)
    assert told(capsys, "check", "-c", "x") == (
        70,
        "",
        ["statedb: internal error: ZeroDivisionError: two lines; set STATEDB_DEBUG=1 to see where"],
    )
    monkeypatch.setenv("STATEDB_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        told(capsys, "check", "-c", "x")


def test_help_is_quick_because_nothing_else_is_imported():
    code = "import sys, statedb.agent.cli.main as cli; cli._status(['--help']); print([m for m in sys.modules if m in ('grpc', 'yaml', 'msgspec', 'ingest', 'consumers', 'statedb.catalog')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=WAIT_S)
    assert done.stdout.splitlines()[-1] == "[]"


def test_run_with_an_etcd_that_takes_connections_and_says_nothing_stops_at_once_too(tmp_path: Path):
    pytest.importorskip("grpc")
    path = tmp_path / "agent.yaml"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        path.write_text(
            f"ingest: {{kvstore: {{endpoints: ['http://127.0.0.1:{silent.getsockname()[1]}']}}}}\n"
            "http: {listen: '127.0.0.1:0'}\n"
        )
        with running("run", "-c", str(path)) as process:
            assert process.stdout.readline().startswith("serving on ")
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGTERM)
                assert process.wait(AT_ONCE_S) == 0
            assert_calm(process.stderr.read())


def test_health_is_an_exit_status_and_one_line(
    manifests: Path, start: Callable[..., Agent], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    agent = start(manifests)
    assert told(capsys, "-s", agent.address, "health") == (0, "ok\n", [])
    assert told(capsys, "health", "--ready", "-s", agent.address) == (0, "ready\n", [])
    assert told(capsys, "health", "--fresh", "-s", agent.address) == (0, "fresh\n", [])
    readiness = agent._monitor._readiness
    away = {"cluster": "c1", "backend": "kvstore", "state": "stale", "error": "refused"}
    stale = [{**away, "table": "nodes"}, {**away, "table": "services"}, {**away, "table": "policies", "error": "cut"}]
    monkeypatch.setattr(readiness, "stale", lambda: stale)
    why = "nodes, services from kvstore of c1: stale: refused; policies from kvstore of c1: stale: cut"
    assert told(capsys, "health", "--ready", "-s", agent.address) == (0, f"ready: {why}\n", [])
    assert told(capsys, "health", "--fresh", "-s", agent.address) == (1, f"stale: {why}\n", [])
    monkeypatch.setattr(readiness, "failures", lambda: ["kvstore/c1: KeyError: 'x'"])
    monkeypatch.setattr(readiness, "missing", lambda: [{"table": "nodes", "state": "connecting"}])
    assert told(capsys, "health", "-s", agent.address) == (1, "failed: kvstore/c1: KeyError: 'x'\n", [])
    for option in ("--ready", "--fresh"):
        assert told(capsys, "health", option, "-s", agent.address) == (1, "not ready: nodes: connecting\n", [])
    assert agent.stop()
    assert told(capsys, "health", "-s", agent.address)[0] == 2
