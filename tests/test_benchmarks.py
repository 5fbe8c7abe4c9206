"""Every benchmark runs at smoke size, so that none rots; figures are lines that programs can read."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.harness import SMOKE, WORKLOADS, Figure

PROMISED = {
    "workload",
    "name",
    "value",
    "unit",
    "rows",
    "size",
    "repeats",
    "python",
    "machine",
    "cpus",
    "commit",
    "time",
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_it_runs_and_checks_its_result(name: str):
    figures = list(WORKLOADS[name].run(SMOKE))
    assert figures
    assert len({figure.name for figure in figures}) == len(figures)


def test_figures_are_json_lines(tmp_path: Path):
    path = tmp_path / "figures.jsonl"
    done = CliRunner().invoke(main, ["get", "insert", "--size", "smoke", "--json", str(path)])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["workload"] for line in lines} == {"get", "insert"}
    assert all(line.keys() >= PROMISED for line in lines)


def test_check_fails_where_a_target_is_missed(monkeypatch: pytest.MonkeyPatch):
    slow = msgspec.structs.replace(WORKLOADS["get"], run=lambda _: iter([Figure("it", 5.0, "x", 4.0)]))
    monkeypatch.setitem(WORKLOADS, "get", slow)
    done = CliRunner().invoke(main, ["get", "--size", "full", "--check"])
    assert done.exit_code == 1
    assert "missed: get: it 5.00 x, at most 4" in done.output


def test_the_list_and_a_name_that_is_none():
    listed = CliRunner().invoke(main, ["--list"])
    assert {line.split()[0] for line in listed.output.splitlines()} == set(WORKLOADS)
    unknown = CliRunner().invoke(main, ["no-such"])
    assert unknown.exit_code == 2
    assert "there is no workload 'no-such'" in unknown.output
