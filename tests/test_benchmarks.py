"""Every benchmark runs at smoke size, so that none rots; figures are lines that programs can read."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from benchmarks import harness
from benchmarks.__main__ import main, run
from benchmarks.harness import SMOKE, WORKLOADS, Figure
from benchmarks.limit import CallingLimit, Limit, Row, changes_of, make_rows

PROMISED = {
    "workload",
    "size",
    "rows",
    "repeats",
    "figures",
    "digest",
    "date",
    "python",
    "build",
    "machine",
    "processor",
    "system",
    "cpus",
    "commit",
}


OF_THEIR_OWN = {"go", "go-million", "peers"}
"""Workloads that run in `test_gopeer` and `test_peers`."""


@pytest.mark.parametrize("name", sorted(WORKLOADS.keys() - OF_THEIR_OWN))
def test_it_runs_and_checks_its_result(name: str):
    report = run(WORKLOADS[name], SMOKE)
    assert report.figures
    assert len({figure.name for figure in report.figures}) == len(report.figures)


def test_each_workload_is_one_json_line(tmp_path: Path):
    path = tmp_path / "figures.jsonl"
    done = CliRunner().invoke(main, ["get", "insert", "--size", "smoke", "--repeat", "1", "--json", str(path)])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["workload"] for line in lines] == ["get", "insert"]
    assert all(line.keys() >= PROMISED for line in lines)
    assert all(
        figure.keys() == {"name", "value", "unit", "at_most", "at_least"}
        for line in lines
        for figure in line["figures"]
    )
    assert "dict.get" in done.stdout


def test_without_a_file_standard_output_is_json_and_nothing_else():
    done = CliRunner().invoke(main, ["get", "--size", "smoke"])
    assert done.exit_code == 0, done.output
    assert [json.loads(line)["workload"] for line in done.stdout.splitlines()] == ["get"]
    assert "dict.get" in done.stderr


def test_the_rows_may_be_another_number():
    done = CliRunner().invoke(main, ["iterate", "--size", "smoke", "--rows", "100"])
    assert json.loads(done.stdout)["rows"] == 100


def test_the_same_work_has_the_same_digest():
    assert run(WORKLOADS["insert"], SMOKE).digest == run(WORKLOADS["insert"], SMOKE).digest
    assert run(WORKLOADS["insert"], SMOKE).digest != run(WORKLOADS["replace"], SMOKE).digest


def test_another_answer_than_the_expected_one_is_an_error():
    with pytest.raises(AssertionError, match="the order"):
        harness.same([1, 2], [2, 1], "the order")


def test_both_limits_do_the_same():
    rows = make_rows(400)
    moved = [Row(row.id, "elsewhere", row.identity, 1) for row in rows]
    limits = Limit(), CallingLimit()
    for limit in limits:
        limit.insert(rows)
        limit.replace(moved)
    assert vars(limits[0]) == vars(limits[1])
    assert limits[0].by_node["elsewhere"] == {row.id for row in rows}


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    assert harness.surroundings()["commit"] == "unknown"


def test_check_fails_where_a_target_is_missed(monkeypatch: pytest.MonkeyPatch):
    slow = msgspec.structs.replace(WORKLOADS["get"], run=lambda _: iter([Figure("it", 5.0, "x", 4.0)]))
    monkeypatch.setitem(WORKLOADS, "get", slow)
    done = CliRunner().invoke(main, ["get", "--size", "full", "--check"])
    assert done.exit_code == 1
    assert "missed: get: it 5.00 x, at most 4" in done.stderr


def test_a_target_of_a_large_workload_is_missed_at_the_large_size(monkeypatch: pytest.MonkeyPatch):
    slow = msgspec.structs.replace(WORKLOADS["go-million"], run=lambda _: iter([Figure("it", 0.5, "x", None, 1.0)]))
    monkeypatch.setitem(WORKLOADS, "go-million", slow)
    large, smoke = (CliRunner().invoke(main, ["go-million", "--size", size, "--check"]) for size in ("large", "smoke"))
    assert (large.exit_code, smoke.exit_code) == (1, 0)
    assert "missed: go-million: it 0.50 x, at least 1" in large.stderr


def test_what_takes_minutes_runs_only_when_it_is_named(monkeypatch: pytest.MonkeyPatch):
    for name, each in WORKLOADS.items():
        monkeypatch.setitem(WORKLOADS, name, msgspec.structs.replace(each, run=lambda _: iter([])))
    everything = CliRunner().invoke(main, ["--size", "large"])
    named = CliRunner().invoke(main, ["go-million"])
    ran = [[json.loads(line)["workload"] for line in done.stdout.splitlines()] for done in (everything, named)]
    assert "insert" in ran[0]
    assert "go-million" not in ran[0]
    assert ran[1] == ["go-million"]


def test_changed_rows_differ_each_time():
    lists = list(changes_of(40, 100))
    assert [len(rows) for rows in lists] == [40, 40, 20]
    rows = {row.id: row for row in make_rows(40)}
    for row in [row for rows in lists for row in rows]:
        assert rows[row.id] != row
        rows[row.id] = row


def test_the_list_and_a_name_that_is_none():
    listed = CliRunner().invoke(main, ["--list"])
    assert {line.split()[0] for line in listed.output.splitlines()} == set(WORKLOADS)
    unknown = CliRunner().invoke(main, ["no-such"])
    assert unknown.exit_code == 2
    assert "there is no workload 'no-such'" in unknown.output
