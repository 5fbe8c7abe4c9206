"""What is measured beside ours answers as ours does; who is not asked, or may be faster, stands in the benchmark."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from benchmarks import memory, peers
from benchmarks.__main__ import Report, run
from benchmarks.harness import SMOKE, WORKLOADS
from benchmarks.limit import Row, make_rows, moved
from benchmarks.stores import Engine, PersistentMaps, Sqlite, make_names, others
from benchmarks.together import at_once, fill, halves, operations

OTHERS = dict(others())
CHANGING = [name for name in OTHERS if "replace in 100s" not in peers.CANNOT.get(name, {})]
HOLDING = {"ours": Engine, **{name: OTHERS[name] for name in OTHERS if isinstance(OTHERS[name](), PersistentMaps)}}
needs_maps = pytest.mark.skipif("immutables" not in OTHERS, reason="pip install 'statedb[bench]'")
ROWS = make_rows(60)
KEYS = [row.id for row in ROWS]
some = st.lists(st.integers(0, len(ROWS) - 1), unique=True)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), some, st.integers(0, 3), st.integers(0, 59)),
        st.tuples(st.just("delete"), some),
    )
)


@pytest.fixture(scope="module")
def report() -> Report:
    """Beside all peers, in the smallest size."""
    return run(WORKLOADS["peers"], SMOKE)


def asked(report: Report) -> set[tuple[str, str]]:
    return {(what, peer) for each in report.figures for what, _, peer in [each.name.partition(", times as fast as ")]}


def listed(rows: dict[str, Row]) -> list[Row]:
    nodes = sorted({row.node for row in rows.values()})
    return [row for node in nodes for row in sorted(rows.values(), key=lambda row: row.id) if row.node == node]


@pytest.mark.parametrize("name", ["ours", *CHANGING])
@settings(max_examples=30, deadline=None)
@given(steps=steps, batch=st.integers(1, 5))
def test_a_store_holds_what_a_dict_would(name: str, steps: list[tuple[Any, ...]], batch: int):
    store, model = {"ours": Engine, **OTHERS}[name](), dict[str, Row]()
    for step in steps:
        if step[0] == "write":
            _, places, revision, by = step
            rows = [moved(make_rows(len(ROWS), revision), by)[place] for place in places]
            store.write(rows, batch)
            model.update((row.id, row) for row in rows)
        else:
            keys = [KEYS[place] for place in step[1] if KEYS[place] in model]
            store.delete(keys, batch)
            for key in keys:
                del model[key]
    assert store.iterate() == [model[key] for key in sorted(model)]
    assert store.get(KEYS) == [model[key] for key in KEYS if key in model]
    assert store.of_nodes(sorted({row.node for row in model.values()})) == listed(model)


@pytest.mark.parametrize("name", OTHERS)
def test_it_answers_as_ours_does(name: str):
    stores = [Engine(), OTHERS[name]()]
    for store in stores:
        store.write(ROWS, 7)
        store.write_names(make_names(ROWS))
    ours, other = stores
    nodes = sorted({row.node for row in ROWS})
    assert other.iterate() == ours.iterate() == sorted(ROWS, key=lambda row: row.id)
    assert other.of_nodes(nodes) == ours.of_nodes(nodes)
    assert other.get(["pod-none", KEYS[0]]) == ours.get(["pod-none", KEYS[0]]) == ROWS[:1]
    assert other.by_name(["none", f"name-of-{KEYS[1]}"]) == ours.by_name(["none", f"name-of-{KEYS[1]}"])
    if "prefix" not in peers.CANNOT.get(name, {}):
        assert other.prefix(["pod-000003", "x"]) == ours.prefix(["pod-000003", "x"])
        assert len(ours.prefix(["pod-000003", "x"])) == 10


@pytest.mark.parametrize("name", HOLDING)
def test_a_held_state_stays_as_it_is(name: str):
    store = HOLDING[name]()
    store.write(ROWS, 100)
    held = store.hold()
    store.write(moved(make_rows(len(ROWS), 1), 3), 1)
    store.delete(KEYS[:10], 2)
    assert held.iterate() == sorted(ROWS, key=lambda row: row.id)
    assert held.get(KEYS) == ROWS
    assert len(store.get(KEYS)) == len(KEYS) - 10


def test_every_question_is_asked_or_the_benchmark_says_why_not(report: Report):
    assert len({figure.name for figure in report.figures}) == len(report.figures)
    questions = {what for what, _ in asked(report)}
    unasked = {(what, peer) for peer, reasons in peers.CANNOT.items() for what in reasons if peer in OTHERS}
    assert asked(report) == {(what, peer) for what in questions for peer in OTHERS} - unasked


@needs_maps
def test_who_may_be_faster_is_asked_and_all_others_have_a_target(report: Report):
    assert asked(report) >= peers.LESS.keys()
    free = {each.name for each in report.figures if each.at_least is None}
    expected = {pair for pair in asked(report) if pair in peers.LESS or pair[1] == "littletable"}
    assert free == {f"{what}, times as fast as {peer}" for what, peer in expected}
    assert ("get, 100 commits old", "immutables") in asked(report) - expected


class Forgetful(Sqlite):
    """It saves time by losing rows."""

    def get(self, keys: list[str]) -> list[Row]:
        """All but the last of many."""
        return super().get(keys[:-1] if len(keys) > 100 else keys)


class Confused(Sqlite):
    """It saves time by indexing nothing."""

    def of_nodes(self, nodes: list[str]) -> list[Row]:
        """The right number of rows."""
        return self.iterate()


@pytest.mark.parametrize(("liar", "question"), [(Forgetful, "get"), (Confused, "list by node")])
def test_a_peer_with_another_answer_cannot_win(monkeypatch: pytest.MonkeyPatch, liar: Callable[[], Any], question: str):
    monkeypatch.setattr(peers, "others", lambda: [("sqlite3", liar)])
    monkeypatch.setattr(peers, "_AGES", ())  # old snapshots take the longest, and are asked of others
    with pytest.raises(AssertionError, match=f"sqlite3 has our answer to '{question}'"):
        run(WORKLOADS["peers"], SMOKE)


def test_all_at_once_do_all_of_the_work():
    first = Engine()
    fill([first], ROWS)
    at_once([first], make_rows(len(ROWS), 1))
    assert {row.revision for row in first.iterate()} == {1}
    assert sorted(row.id for half in halves(ROWS) for row in half) == sorted(KEYS)
    assert operations(60) == 60 + 4 * 30


def test_what_one_of_several_threads_raises_is_raised():
    class Blind(Engine):
        def get(self, keys: list[str]) -> list[Row]:
            return []

    with pytest.raises(AssertionError, match="no key is missing"):
        at_once([Blind()], ROWS)


@pytest.mark.parametrize("name", ["ours", "plain dicts", *OTHERS])
def test_memory_is_of_the_same_rows(name: str):
    grown = memory.fresh(name, 400)
    assert grown.size > 0
    assert grown.answer == memory.fresh("ours", 400).answer


def test_more_rows_take_more_memory():
    assert memory.fresh("ours", 20_000).size > 2 * memory.fresh("ours", 5_000).size


@pytest.mark.parametrize("name", ["plain dicts", "sqlite3"])
def test_memory_of_other_rows_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str):
    fresh = memory.fresh
    monkeypatch.setattr(memory, "fresh", lambda each, rows: fresh(each, rows - (each == name)))
    with pytest.raises(AssertionError, match=f"{name} holds? the same rows"):
        run(WORKLOADS["memory"], SMOKE)


@needs_maps
def test_who_would_take_minutes_at_a_million_rows_is_left_out_there(monkeypatch: pytest.MonkeyPatch):
    everybody = {each.name for each in run(WORKLOADS["memory"], SMOKE).figures}
    monkeypatch.setattr(memory, "_MANY", 100)
    some = {each.name for each in run(WORKLOADS["memory"], SMOKE).figures}
    left_out = {"immutables", "pyrsistent"} & OTHERS.keys()
    assert everybody - some == left_out | {f"memory of a row, times as small as {name}" for name in left_out}
    assert some < everybody


def test_a_process_that_fails_is_named():
    with pytest.raises(AssertionError, match=r"the process of nobody fills its store: (.|\n)*KeyError: 'nobody'"):
        memory.fresh("nobody", 10)


def test_without_the_system_file_there_is_a_line_and_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(memory, "_STATM", Path("/nowhere"))
    assert run(WORKLOADS["memory"], SMOKE).figures == []
    assert "no figures of memory: the system has no /nowhere" in capsys.readouterr().err


def test_without_the_packages_there_is_sqlite3():
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('immutables', 'pyrsistent', 'littletable')));"
        "from benchmarks.stores import others; print([name for name, _ in others()])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['sqlite3']\n"
