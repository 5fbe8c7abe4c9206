"""Commands and options of the command line beyond asking for rows."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from statedb.agent.cli.columns import align_rows, select_columns
from statedb.agent.cli.output import painted
from statedb.agent.cli.selection import Selection
from statedb.agent.errors import BadRequest, ConfigError
from statedb.agent.keys import canonical
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.agent.wording import escaped

from ...waiting import eventually
from .conftest import WAIT_S, config_text, identity, node, put
from .test_cli import COMMAND, running, statedb, told


def on_terminal(*arguments: str, columns: int = 200, **environment: str) -> str:
    """What a command prints on a terminal of this width."""
    leader, follower = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment = {**kept, "COLUMNS": str(columns), "TERM": "xterm", **environment}
    process = subprocess.Popen([*COMMAND, *arguments], stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    found = b""
    try:
        while data := os.read(leader, 65536):
            found += data
    except OSError:  # Linux: the last writer has gone
        pass
    finally:
        os.close(leader)
    assert process.wait(WAIT_S) == 0
    return found.decode()


def test_rows_are_chosen_sorted_and_named(manifests: Path, start: Callable[..., Agent], capsys: pytest.CaptureFixture):
    agent = start(manifests)
    on = ("-s", agent.address)
    assert told(capsys, "show", "nodes", "-o", "name", *on) == (0, "c1/a\nc1/b\n", [])
    assert told(capsys, "show", "nodes", "-o", "name", "--where", "name=b", *on)[1] == "c1/b\n"
    assert told(capsys, "show", "nodes", "-o", "name", "--where", "pod_cidrs!=10.244.1.0/24", *on)[1] == "c1/b\n"
    lines = told(capsys, "show", "identities", "-o", "jsonl", "--sort=-id", *on)[1].splitlines()
    assert [json.loads(line)["key"]["id"] for line in lines] == [1001, 1000]
    assert told(capsys, "tables", "-o", "name", *on)[1].splitlines()[0] == "nodes"
    for wrong, error in (
        ("nam=b", "table 'nodes' has no field 'nam'; did you mean 'name'?"),
        ("name", "is not a condition"),
    ):
        status, out, errors = told(capsys, "show", "nodes", "--where", wrong, *on)
        assert (status, out) == (2, "")
        assert error in errors[0]


def test_each_command_is_told_in_a_whole_line_of_the_help():
    done = subprocess.run(
        [*COMMAND, "--help"], capture_output=True, text=True, env=os.environ | {"COLUMNS": "80"}, check=True
    )
    assert [line for line in done.stdout.splitlines() if line.endswith("...") and "Usage" not in line] == []


def test_a_terminal_gets_its_width_and_colours(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    long = {f"label-{place}": "v" * 20 for place in range(4)}
    put(manifests, "long.yaml", identity(5).replace('{"k8s:app": web}', json.dumps(long)))
    assert agent.db.wait_initialized(timeout=WAIT_S)
    assert statedb("wait", "identities", "c1/5", "-s", agent.address).returncode == 0
    shown = on_terminal("show", "identities", "-s", agent.address, columns=300)
    assert "label-3=vvvvvvvvvvvvvvvvvvvv" in shown
    narrow = on_terminal("show", "identities", "-s", agent.address, columns=60, NO_COLOR="1")
    assert max(map(len, narrow.splitlines())) <= 60
    assert "..." in narrow
    assert "\x1b" not in narrow
    assert "\x1b[32msynced\x1b[0m" in on_terminal("sources", "-s", agent.address)
    assert "\x1b" not in statedb("sources", "-s", agent.address).stdout


@given(st.lists(st.fixed_dictionaries({"a": st.text(), "b": st.text(max_size=90)}), max_size=5), st.integers(30, 200))
def test_a_line_is_never_wider_than_the_terminal_and_shows_no_control_character(rows: list, width: int):
    lines = align_rows(select_columns("x", None, ["a", "b"]), rows, width=width)
    assert all(len(line) <= width for line in lines)
    assert all(line.isprintable() for line in lines)


@given(st.text())
def test_json_for_a_terminal_means_the_same_and_controls_nothing(text: str):
    shown = escaped(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(shown) == {"a": text}
    assert shown.isprintable()


def test_only_words_that_stand_alone_are_painted():
    assert painted(["STATE", "x  stale  y", "stalemate", "a-stale"])[1:] == [
        "x  \x1b[33mstale\x1b[0m  y",
        "stalemate",
        "a-stale",
    ]


@pytest.mark.parametrize(
    ("spelled", "found"),
    [
        ("FD00::A", "fd00::a"),
        ("fd00:0:0:0::a", "fd00::a"),
        ("FD00::/16", "fd00::/16"),
        ("10.0.0.1", "10.0.0.1"),
        ("k8s:app=web", "k8s:app=web"),
        ("A::B::C", "A::B::C"),
    ],
)
def test_keys_are_found_in_any_spelling(spelled: str, found: str):
    assert canonical(spelled) == found


def test_wait_ends_when_it_is_so(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    on = ("-s", agent.address)
    assert statedb("wait", "nodes", *on).returncode == 0
    assert statedb("wait", "nodes", "--for", "rows=3", "--timeout", "0.3", *on).returncode == 1
    with running("wait", "nodes", "c1/z", *on) as waiting:
        put(manifests, "z.yaml", node("z", 9))
        assert waiting.wait(WAIT_S) == 0
    with running("wait", "nodes", "c1/z", "--for", "gone", *on) as waiting:
        (manifests / "z.yaml").unlink()
        assert waiting.wait(WAIT_S) == 0
    for arguments, error in (
        (("--for", "rows=x"), "is not a condition"),
        (("--for", "gone"), "needs the key of a row"),
    ):
        done = statedb("wait", "nodes", *arguments, *on)
        assert (done.returncode, error in done.stderr) == (2, True)
    assert statedb("wait", "nodes", "--timeout", "0", "-s", "http://127.0.0.1:1").returncode == 2


def test_sources_and_consumers_tell_by_their_status_that_something_is_wrong(
    manifests: Path, start: Callable[..., Agent], tmp_path: Path, capsys: pytest.CaptureFixture
):
    agent = start(manifests)
    assert told(capsys, "sources", "-s", agent.address)[0] == 0
    assert told(capsys, "consumers", "-s", agent.address)[0] == 0
    manifests.rename(tmp_path / "away")
    end = agent.db.changes(agent.db.tables[-2])
    status = 0
    for _ in end:
        status = told(capsys, "sources", "-s", agent.address)[0]
        if status:
            break
    end.close()
    assert status == 1


def test_ctrl_c_ends_unfinished_work_with_130_and_endless_work_with_0(
    manifests: Path, start: Callable[..., Agent], tmp_path: Path
):
    agent = start(manifests)
    other = tmp_path / "other.yaml"
    empty = tmp_path / "empty"
    empty.mkdir()
    other.write_text(config_text(empty))
    with running("compare", str(other), "--settle", "60", "-s", agent.address) as process:
        assert process.stderr
        statedb("wait", "nodes", "-s", agent.address)
        end_with_interrupt(process, lambda: len(os.listdir(f"/proc/{process.pid}/task")) > 1)
        assert process.wait(WAIT_S) == 130
    with running("changes", "nodes", "-s", agent.address) as process:
        assert process.stdout
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0


def end_with_interrupt(process: subprocess.Popen, ready: Callable[[], bool]) -> None:
    eventually(lambda: process.poll() is not None or ready(), "what it is to be interrupted in")
    assert process.poll() is None
    process.send_signal(signal.SIGINT)


def test_top_shows_tables_and_rates(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    done = statedb("top", "--once", "-s", agent.address)
    assert done.returncode == 0
    assert done.stdout.startswith("ready\n")
    assert "nodes" in done.stdout
    assert "CHANGES/S" in done.stdout


def test_completion_knows_what_the_agent_has(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)

    def completed(line: str) -> set[str]:
        words = line.split(" ")
        done = statedb(
            COMP_WORDS=line,
            COMP_CWORD=str(len(words) - 1),
            _STATEDB_COMPLETE="bash_complete",
            STATEDB_SERVER=agent.address,
        )
        return {each.partition(",")[2] for each in done.stdout.splitlines() if each}

    def comes(line: str, *names: str) -> None:
        """Completion gives nothing if the agent takes longer than a second, as it may on a taken machine."""
        found: set[str] = set()
        eventually(lambda: found.update(completed(line)) or found, line)
        assert found == set(names)

    assert {"show", "sources"} <= completed("statedb s")
    comes("statedb show no", "nodes")
    comes("statedb get nodes c1/", "c1/a", "c1/b")
    comes("statedb get nodes c1 ", "a", "b")
    assert completed("statedb get nodes c1 a ") == set()
    comes("statedb list nodes -i by_pod_cidr ", "10.244.1.0/24", "10.244.2.0/24")
    comes("statedb list nodes -i by_pod_cidr 10.244.1", "10.244.1.0/24")
    assert completed("statedb list nodes -i none ") == set()
    comes("statedb list nodes -i by_p", "by_pod_cidr")
    for shell in ("bash", "zsh", "fish"):
        assert "_STATEDB_COMPLETE" in statedb("completion", shell).stdout


def test_programs_get_labels_as_objects_and_times_as_texts(manifests: Path, start: Callable[..., Agent]):
    put(manifests, "team.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: team, labels: {tier: web}}\n")
    agent = start(manifests)
    on = ("-s", agent.address, "-o", "jsonl")
    (namespace,) = map(json.loads, statedb("show", "namespaces", *on).stdout.splitlines())
    assert (namespace["labels"], namespace["annotations"]) == ({"tier": "web"}, {})
    assert json.loads(statedb("get", "namespaces", "c1", "team", *on).stdout) == namespace
    one = json.loads(statedb("show", "identities", *on).stdout.splitlines()[0])
    assert one["labels"] == ["k8s:app=web"]
    source = json.loads(statedb("show", "sources", *on).stdout.splitlines()[0])
    assert datetime.fromisoformat(source["since"]).tzinfo is not None


def test_check_connect_says_what_can_be_read(manifests: Path, tmp_path: Path):
    path = tmp_path / "agent.yaml"
    path.write_text(config_text(manifests))
    done = statedb("check", "-c", str(path), "--connect")
    assert done.returncode == 0
    assert "synced" in done.stdout
    path.write_text(config_text(tmp_path / "none"))
    done = statedb("check", "-c", str(path), "--connect", "--timeout", "0.5")
    assert done.returncode == 1
    assert "none" in done.stdout


def test_a_configuration_comes_from_standard_input_and_takes_variables(
    manifests: Path, monkeypatch: pytest.MonkeyPatch
):
    text = config_text(manifests).replace("name: c1, id: 1", "name: '${NAME:-c9}', id: '${ID}'")
    done = subprocess.run(
        [sys.executable, "-m", "statedb", "check", "-c", "-"],
        input=text,
        capture_output=True,
        text=True,
        env={**os.environ, "ID": "7"},
        check=False,
    )
    assert done.returncode == 0
    assert "c9 (id 7)" in done.stdout
    monkeypatch.delenv("ID", raising=False)
    with pytest.raises(ConfigError, match=r"cluster.id: the environment variable ID is not set"):
        parse_config(text)
    monkeypatch.setenv("ID", "1\nname: other")
    with pytest.raises(ConfigError, match="whole number"):
        parse_config(text)


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "1e300", "x"])
def test_a_number_of_seconds_is_one_that_can_be_waited_for(capsys: pytest.CaptureFixture, seconds: str):
    for arguments in (
        ("compare", "x.yaml", "--settle"),
        ("compare", "x.yaml", "--timeout"),
        ("wait", "nodes", "--timeout"),
    ):
        status, out, errors = told(capsys, *arguments, seconds)
        assert (status, out, len(errors)) == (2, "", 1)
        assert "Invalid value" in errors[0]


def test_sorting_puts_numbers_in_their_order_and_empty_values_last():
    rows = [{"a": 10}, {"a": None}, {"a": 9}, {"a": ""}]
    assert Selection(sort="a").of(rows) == [{"a": 9}, {"a": 10}, {"a": None}, {"a": ""}]
    with pytest.raises(BadRequest, match="not a condition"):
        Selection(where=["=x"])


def test_what_shows_nothing_says_so(manifests: Path, start: Callable[..., Agent], capsys: pytest.CaptureFixture):
    on = ("-s", start(manifests).address)
    for command in (("show", "rejected"), ("prefix", "nodes", "c2"), ("consumers",)):
        status, out, err = told(capsys, *command, *on)
        assert (status, len(out.splitlines()), err) == (0, 1, ["statedb: nothing to show"])
    assert told(capsys, "show", "rejected", "-o", "json", *on) == (0, "[]\n", [])
    late = told(capsys, "wait", "nodes", "--for", "rows=9", "--timeout", "0", *on)
    assert late == (1, "", ["statedb: nodes: not rows=9 within 0 s; it has 2"])
    late = told(capsys, "wait", "nodes", "c1/z", "--timeout", "0", *on)
    assert late == (1, "", ["statedb: nodes c1/z: not present within 0 s"])
