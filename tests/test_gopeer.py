"""The Go original as a peer: both sides do the same work, and what is missing is said."""

import shutil
import stat
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from benchmarks import golang, gopeer
from benchmarks.__main__ import Report, run
from benchmarks.harness import SMOKE, WORKLOADS

pytestmark = pytest.mark.timeout(900)  # the Go program is compiled first, for minutes where the Go cache is empty
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go toolchain")


def compare() -> Report:
    return run(WORKLOADS["go"], SMOKE)


def compared(report: Report) -> set[str]:
    return {name for each in report.figures for name, found, _ in [each.name.partition(", times as fast as")] if found}


def test_every_target_belongs_to_a_task():
    names = {task.name for task in gopeer.TASKS}
    assert {name.removesuffix(", p50") for name in gopeer.AT_LEAST} <= names
    assert len(names) == len(gopeer.TASKS)
    million = {task.name for task in gopeer.MILLION}
    assert million <= names
    assert {name for name in million if name.startswith(("insert", "replace"))} == gopeer.AT_LEAST_MILLION.keys()
    assert len(gopeer.AT_LEAST_MILLION) == 12


@needs_go
def test_each_task_is_compared_with_the_original():
    try:
        golang.go_program("peers_go")
    except golang.Missing as error:
        pytest.skip(str(error))
    report = compare()
    assert len({figure.name for figure in report.figures}) == len(report.figures)
    assert compared(report) == {task.name for task in gopeer.TASKS} - {"wake"} | {"wake, p50", "wake, p99"}
    assert sum(figure.at_least is not None for figure in report.figures) == len(gopeer.AT_LEAST)


@needs_go
def test_a_million_rows_are_compared_with_the_original(monkeypatch: pytest.MonkeyPatch):
    try:
        golang.go_program("peers_go")
    except golang.Missing as error:
        pytest.skip(str(error))
    report = run(WORKLOADS["go-million"], SMOKE)
    assert len({figure.name for figure in report.figures}) == len(report.figures)
    assert compared(report) == {task.name for task in gopeer.MILLION}
    bound = {figure.name.partition(",")[0] for figure in report.figures if figure.at_least is not None}
    assert bound == gopeer.AT_LEAST_MILLION.keys()


def test_who_is_first_changes_from_task_to_task_and_from_round_to_round(monkeypatch: pytest.MonkeyPatch):
    order = list[str]()

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def do(self, task: gopeer.Task) -> gopeer.Done:
            order.append(self.name)
            return gopeer.Done(task.name, [1.0], "the same")

    @contextmanager
    def other(work: object):
        yield Named("theirs")

    monkeypatch.setattr(gopeer, "original", other)
    monkeypatch.setattr(gopeer, "Ours", lambda work: Named("ours"))
    monkeypatch.setattr(gopeer, "TASKS", gopeer.TASKS[:4])
    run(WORKLOADS["go"], msgspec.structs.replace(SMOKE, repeats=2))
    first = order[::2]
    assert all(first[at] != first[at + 1] for at in range(3))
    assert all(first[at] != first[at + 4] for at in range(4))


def test_without_a_toolchain_there_are_our_own_times_and_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(gopeer, "TASKS", gopeer.TASKS[:4])
    report = compare()
    assert {figure.name for figure in report.figures} == {task.name for task in gopeer.TASKS}
    assert not compared(report)
    assert "no figures of the Go statedb: there is no Go toolchain" in capsys.readouterr().err


@needs_go
def test_without_the_module_the_line_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("GOPROXY", "off")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path))
    with pytest.raises(golang.Missing, match=r"cannot be had; .*GOPROXY=off"):
        golang.go_program("peers_go")


@needs_go
def test_a_proxy_that_does_not_answer_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(golang, "_DOWNLOAD_S", 0.0)
    with pytest.raises(golang.Missing, match="cannot be had; look at GOPROXY: not done after 0 s"):
        golang.go_program("peers_go")


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ('{"name": "", "samples": [1], "answer": "another"}', "both have the same answer to 'insert in order"),
        (None, "the Go program ended at 'insert in order"),
    ],
)
def test_another_answer_and_none_are_errors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reply: str | None, complaint: str
):
    program = tmp_path / "peer"
    answering = f"read input; while read task; do echo '{reply}'; done"
    program.write_text(f"#!/bin/sh\n{answering if reply else 'read input; read task'}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(gopeer, "go_program", lambda folder: program)
    with pytest.raises(AssertionError, match=complaint):
        compare()
