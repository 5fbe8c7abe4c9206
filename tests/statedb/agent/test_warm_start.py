"""``dump`` and ``--warm-start``: an agent that begins with the rows of another one's last day."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.etcd.local import LocalEtcd
from statedb import Database
from statedb.agent.client.remote import Remote
from statedb.agent.errors import ConfigError, StartError
from statedb.agent.files import write_atomically
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import Endpoints, Nodes, SourceKey, Sources

from ...ingest.kvstore_rig import HEARTBEAT, ip_key, ip_of, put_endpoints
from .conftest import WAIT_S, config_text, identity, node, put


def statedb(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "statedb", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def warm(directory: Path, file: Path) -> Agent:
    return Agent(parse_config(f"{config_text(directory)}warm-start: '{file}'\n"))


@pytest.fixture
def dumped(start: Callable[..., Agent], manifests: Path, tmp_path: Path) -> Path:
    """What an agent wrote before it ended."""
    agent = start(manifests)
    file = tmp_path / "state.jsonl"
    done = statedb("dump", "-f", str(file), "-s", agent.address)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"statedb: {file.stat().st_size} bytes written to {file}\n"
    assert statedb("dump", "-s", agent.address).stdout == file.read_text()
    agent.stop()
    return file


def state(db: Database, table: str) -> str:
    return db.snapshot()[Sources][SourceKey("c1", table)].state


def test_rows_are_there_before_the_source_is_and_stale_until_it_has_spoken(manifests: Path, dumped: Path):
    moved = manifests.rename(manifests.with_name("away"))
    with warm(manifests, dumped) as agent:
        db = agent.db
        assert [row.key.name for row in db.snapshot()[Nodes].values()] == ["a", "b"]
        assert not db.snapshot()[Nodes].initialized
        while state(db, "nodes") != "stale":
            assert db.snapshot()[Sources].watch().wait(WAIT_S)
        assert Remote(agent.address).json("/tables")["tables"][0]["initialized"] is False
        revision = db.snapshot()[Nodes].entry(next(iter(db.snapshot()[Nodes])))
        put(moved, "all.yaml", node("a", 1), node("c", 3), identity(1000))
        moved.rename(manifests)
        assert agent.wait_synced(WAIT_S)
        while state(db, "nodes") != "synced":
            assert db.snapshot()[Sources].watch().wait(WAIT_S)
        assert [row.key.name for row in db.snapshot()[Nodes].values()] == ["a", "c"]
        assert db.snapshot()[Nodes].entry(next(iter(db.snapshot()[Nodes]))) == revision, "a row that stayed is quiet"


def test_a_warm_start_on_an_etcd(tmp_path: Path):
    file = tmp_path / "state.jsonl"
    with LocalEtcd() as etcd:
        etcd.start()
        with etcd.client() as client:
            put_endpoints(client, range(20))
        text = (
            "cluster: {name: cluster1, id: 1}\n"
            f"ingest: {{kvstore: {{endpoints: ['{etcd.endpoint}'], retry-min-s: 0.02, retry-max-s: 0.2}}}}\n"
            "http: {listen: '127.0.0.1:0'}\n"
        )
        with Agent(parse_config(text)) as agent:
            assert agent.wait_synced(WAIT_S)
            write_atomically(file, Remote(agent.address).dump())
        etcd.kill()
        with Agent(parse_config(f"{text}warm-start: '{file}'\n")) as agent:
            assert len(agent.db.snapshot()[Endpoints]) == 20
            assert not agent.wait_synced(0.2)
            etcd.start()
            with etcd.client() as client:
                put_endpoints(client, range(20, 25))
            assert agent.wait_synced(WAIT_S)
            while len(agent.db.snapshot()[Endpoints]) != 25:
                assert agent.db.snapshot()[Endpoints].watch().wait(WAIT_S)


@pytest.mark.parametrize("emptied", [False, True])
def test_what_went_meanwhile_goes_at_once_on_the_same_etcd_and_waits_on_another(tmp_path: Path, emptied: bool):
    """An etcd that lost its data holds few keys, like one from which they were deleted: the dump says which it was."""
    file = tmp_path / "state.jsonl"
    with LocalEtcd() as etcd:
        etcd.start()
        with etcd.client() as client:
            put_endpoints(client, range(20))
            client.put(HEARTBEAT, b"1")
        text = (
            "cluster: {name: cluster1, id: 1}\n"
            f"ingest: {{kvstore: {{endpoints: ['{etcd.endpoint}'], lease-time-s: 600}}}}\n"
            "http: {listen: '127.0.0.1:0'}\n"
        )
        with Agent(parse_config(text)) as agent:
            assert agent.wait_synced(WAIT_S)
            while not agent.db.snapshot()[Sources][SourceKey("cluster1", "endpoints")].origin:
                assert agent.db.snapshot()[Sources].watch().wait(WAIT_S)
            write_atomically(file, Remote(agent.address).dump())
        if emptied:
            etcd.kill()
            etcd.forget()
            etcd.start()
        with etcd.client() as client:
            client.delete(ip_key(ip_of(0)))
            put_endpoints(client, range(20, 25))
            client.put(HEARTBEAT, b"2")
        with Agent(parse_config(f"{text}warm-start: '{file}'\n")) as agent:
            db = agent.db
            if not emptied:
                assert agent.wait_synced(WAIT_S)
                assert {row.key.ip for row in db.snapshot()[Endpoints].values()} == set(map(ip_of, range(1, 25)))
                return
            told = "withholding 20 deletes: this is not the server that filled the table"
            while not (row := db.snapshot()[Sources][SourceKey("cluster1", "endpoints")]).last_error.startswith(told):
                assert db.snapshot()[Sources].watch().wait(WAIT_S)
            assert (row.state, row.withheld_deletes) == ("stale", 20)
            assert len(db.snapshot()[Endpoints]) == 25
            assert not db.snapshot()[Endpoints].initialized
            for source in agent.sources:
                source.accept()
            assert agent.wait_synced(WAIT_S)
            assert {row.key.ip for row in db.snapshot()[Endpoints].values()} == set(map(ip_of, range(20, 25)))


def test_tables_of_consumers_that_are_not_run_any_more_are_skipped(
    manifests: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "statedb.agent")
    file, config = tmp_path / "state.jsonl", f"{config_text(manifests)}consumers: [routes, loadbalancer]\n"
    with Agent(parse_config(config)) as agent:
        assert agent.wait_synced(WAIT_S)
        assert agent.db.wait_initialized(timeout=WAIT_S)
        rows = {table.name: len(agent.db.snapshot()[table]) for table in agent.db.tables}
        write_atomically(file, Remote(agent.address).dump())
    assert rows["routes"] == 2
    with warm(manifests, file) as agent:
        assert len(agent.db.snapshot()[Nodes]) == 2
    told = [record.getMessage() for record in caplog.records if "warm start" in record.getMessage()]
    assert told[0].startswith("warm start: tables loadbalancer, ")
    assert "routes are skipped: this agent does not have them" in told[0]
    assert told[1:] == [f"warm start: 4 rows from {file}, stale until their sources have been read"]
    file.write_bytes(file.read_bytes().rpartition(b"{")[0] + b'{"end":3}\n')  # skipped rows are counted all the same
    with pytest.raises(StartError, match="3 rows were written"):
        warm(manifests, file).start()


def test_a_file_that_is_not_there_is_a_cold_start(manifests: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with warm(manifests, tmp_path / "none.jsonl") as agent:
        assert agent.wait_synced(WAIT_S)
        assert len(agent.db.snapshot()[Nodes]) == 2
    assert "none.jsonl does not exist" in caplog.text


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text[: len(text) // 2], r"state\.jsonl: .*(incomplete|not JSON).*statedb dump -f"),
        (lambda text: text.replace('"cluster":"c1"', '"cluster":"c2"'), r"has rows of c2 and none of 'c1'"),
        (
            lambda text: text.replace('"name":"a"', '"name":1'),
            r"state\.jsonl: line \d+: table 'nodes': .*start without",
        ),
        (lambda text: "hello\n", r"state\.jsonl: line 1: not JSON"),
    ],
)
def test_a_damaged_file_is_told_and_nothing_runs(
    manifests: Path, dumped: Path, damage: Callable[[str], str], told: str
):
    dumped.write_text(damage(dumped.read_text()))
    agent = warm(manifests, dumped)
    with pytest.raises(StartError, match=told):
        agent.start()
    assert not agent.db.snapshot()[Nodes]


def test_the_command_line(manifests: Path, dumped: Path, tmp_path: Path):
    config = tmp_path / "agent.yaml"
    config.write_text(config_text(manifests))
    command = [sys.executable, "-m", "statedb", "run", "-c", str(config), "--warm-start", str(dumped)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("serving on ")
        assert running.stdout.readline().startswith("synced after ")
        running.send_signal(signal.SIGTERM)
        said = running.communicate(timeout=20)[1]
    assert "warm start: 4 rows from" in said
    dumped.write_text("")
    done = statedb("run", "-c", str(config), "--warm-start", str(dumped))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "warm start: " in done.stderr
    with pytest.raises(ConfigError, match="warm-start: must be the path of a file"):
        parse_config(f"{config_text(manifests)}warm-start: 7\n")


def test_a_dump_replaces_the_file_whole_or_not_at_all(tmp_path: Path):
    file = tmp_path / "state.jsonl"
    file.write_bytes(b"old")

    def lines() -> list[bytes]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_atomically(file, (line for _ in "x" for line in lines()))
    assert (file.read_bytes(), os.listdir(tmp_path)) == (b"old", ["state.jsonl"])
    write_atomically(file, [b"new"])
    assert (file.read_bytes(), os.listdir(tmp_path)) == (b"new", ["state.jsonl"])
    done = statedb("dump", "-f", str(tmp_path / "no" / "file"), "-s", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_an_agent_that_ends_in_the_middle_is_told(start: Callable[..., Agent], manifests: Path):
    agent = start(manifests)
    lines = Remote(agent.address).dump()
    assert next(lines).startswith(b'{"statedb":1')
    begun = time.monotonic()
    assert list(lines)[-1].startswith(b'{"end":')
    assert time.monotonic() - begun < WAIT_S
