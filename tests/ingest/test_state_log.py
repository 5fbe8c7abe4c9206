"""Lines of the log about states: one at the beginning of trouble and one at its end, whatever turns when."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import get_args

import pytest
from hypothesis import given, strategies as st

from ingest.belief.state import State
from ingest.state_log import PATIENCE_S, SETTLE_S, StateLog

TABLES = ("a", "b", "c")


class Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Source:
    """Turns with a clock of their own; time passes as for a source that does what is due."""

    def __init__(self, log: Log) -> None:
        self.now = 100.0
        self.state_log = StateLog("kvstore/c1", TABLES, lambda: self.now)
        self.log = log

    def all(self, state: State, error: str = "", *, each_s: float = 0.0) -> None:
        for table in TABLES:
            self.state_log.changed(table, state, error and f"{table}: {error}")
            self.now += each_s

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (due_in := self.state_log.due_in()) is not None and self.now + due_in <= end:
            self.now += max(0.0, due_in)
            self.state_log.write_if_due()
        self.now = end

    def told(self) -> list[str]:
        lines, self.log.lines = self.log.lines, []
        return lines


@pytest.fixture
def log() -> Iterator[Log]:
    handler, logger = Log(), logging.getLogger("ingest")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def source(log: Log) -> Source:
    """One that has been read."""
    source = Source(log)
    source.all("syncing")
    source.all("synced", each_s=0.5)
    source.wait(0)
    assert source.told() == ["kvstore/c1 a, b, c: connecting -> synced after 1.0 s"]
    return source


def test_tables_that_notice_one_after_the_other_share_both_lines(source: Source):
    source.all("stale", "no route", each_s=0.3)
    assert source.told() == []
    source.wait(SETTLE_S)
    assert source.told() == [
        "kvstore/c1 a, b, c: synced -> stale after 1.5 s: a: no route (and 2 more reasons; see 'statedb sources')"
    ]
    source.state_log.changed("b", "synced", "")
    source.wait(PATIENCE_S - 1)
    assert source.told() == []
    source.state_log.changed("a", "synced", "")
    source.state_log.changed("c", "synced", "")
    source.wait(0)
    (line,) = source.told()
    assert re.fullmatch(r"kvstore/c1 a, b, c: stale -> synced after \d\d\.\d s", line)


def test_an_outage_of_a_moment_has_both_lines(source: Source):
    source.all("stale", "cut")
    source.all("synced")
    source.wait(0)
    began, ended = source.told()
    assert began.startswith("kvstore/c1 a, b, c: synced -> stale after ")
    assert ended == "kvstore/c1 a, b, c: stale -> synced after 0.0 s"


def test_one_table_that_stays_in_trouble_holds_up_nobody_for_long(source: Source):
    source.state_log.changed("a", "failed", "forbidden")
    source.wait(SETTLE_S)
    assert source.told() == ["kvstore/c1 a: synced -> failed after 1.5 s: forbidden"]
    for table in "bc":
        source.state_log.changed(table, "stale", "cut")
    source.wait(SETTLE_S)
    source.told()
    for table in "bc":
        source.state_log.changed(table, "synced", "")
    source.wait(0)
    assert source.told() == ["kvstore/c1 b, c: stale -> synced after 1.0 s"]
    source.all("stale", "away")
    source.wait(SETTLE_S)
    assert len(source.told()) == 2, "one had failed, and the others were synced"
    source.state_log.changed("b", "synced", "")
    source.wait(PATIENCE_S)
    assert source.told() == [f"kvstore/c1 b: stale -> synced after {SETTLE_S:.1f} s"]


def test_a_server_that_never_answers_is_told_once(log: Log):
    source = Source(log)
    for _ in range(5):
        for table in TABLES:
            source.state_log.failed(table, "no answer in time")
        source.wait(2)
    assert source.told() == ["kvstore/c1 a, b, c: still connecting after 1.0 s: no answer in time"]
    source.all("syncing")
    source.all("synced")
    source.wait(0)
    assert source.told() == ["kvstore/c1 a, b, c: connecting -> synced after 10.0 s"]


def test_a_first_try_that_fails_and_a_second_one_that_does_not_are_no_line(log: Log):
    source = Source(log)
    source.state_log.failed("a", "refused")
    source.wait(SETTLE_S / 2)
    source.all("synced")
    source.wait(0)
    assert source.told() == ["kvstore/c1 a, b, c: connecting -> synced after 0.5 s"]


def test_the_end_of_a_source_is_told_at_once(source: Source):
    source.all("stale", "cut")
    for table in "ab":
        source.state_log.changed(table, "absent", "stopped")
    source.wait(0)
    assert [line.partition(" after ")[0] for line in source.told()] == [
        "kvstore/c1 a, b, c: synced -> stale",
        "kvstore/c1 a, b: stale -> absent",
    ]


HISTORIES = st.lists(
    st.tuples(st.sampled_from(TABLES), st.sampled_from(get_args(State)), st.sampled_from([0.0, 0.4, 2.0, 40.0])),
    max_size=40,
)


@given(HISTORIES)
def test_the_lines_of_a_table_are_its_states_in_their_order(history: list[tuple[str, State, float]]):
    """Each line begins where the one before has ended, and the last one is how it is; first lists are left out."""
    log, logger = Log(), logging.getLogger("ingest")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(log)
    try:
        source = Source(log)
        states: dict[str, list[str]] = {table: ["connecting"] for table in TABLES}
        for table, state, pause_s in history:
            source.state_log.changed(table, state, "")
            if state != states[table][-1] and (state, states[table][-1]) != ("syncing", "connecting"):
                states[table].append(state)
            source.wait(pause_s)
        source.wait(PATIENCE_S + SETTLE_S)
    finally:
        logger.removeHandler(log)
        logger.setLevel(level)
    for table in TABLES:
        turns = [re.search(r"(\w+) -> (\w+)", line) for line in log.lines if re.search(rf"[ ,]{table}[,:]", line)]
        assert [(turn[1], turn[2]) for turn in turns if turn] == list(zip(states[table], states[table][1:]))
