"""Lines of the log about states: one at the beginning of trouble and one at its end, whatever turns when."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, strategies as st

from ingest import BACKENDS, ManifestsOptions, RemoteClustersOptions
from ingest.belief.state import State
from ingest.clustermesh.remotes import RemoteClusters
from ingest.state_log import HOLD_S, PATIENCE_S, SETTLE_S, StateLog
from statedb import Database
from statedb.catalog import TABLES as CATALOG

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
    source.wait(HOLD_S - 0.1)
    assert source.told() == []
    source.wait(0.1)
    (line,) = source.told()
    assert re.fullmatch(r"kvstore/c1 a, b, c: stale -> synced after \d\d\.\d s", line)


def test_an_outage_of_a_moment_has_both_lines(source: Source):
    source.all("stale", "cut")
    source.all("synced")
    source.wait(HOLD_S)
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
    source.wait(HOLD_S)
    assert source.told() == ["kvstore/c1 b, c: stale -> synced after 1.0 s"]
    source.all("stale", "away")
    source.wait(SETTLE_S)
    assert len(source.told()) == 2, "one had failed, and the others were synced"
    source.state_log.changed("b", "synced", "")
    source.wait(PATIENCE_S)
    assert source.told() == [f"kvstore/c1 b: stale -> synced after {SETTLE_S:.1f} s"]


def test_trouble_that_comes_back_at_once_is_the_same_trouble(source: Source):
    """As when the connections of a frozen server break once it has thawed."""
    source.all("stale", "no answer in time")
    source.wait(SETTLE_S)
    for _ in range(2):
        source.wait(10)
        source.all("synced")
        source.wait(HOLD_S - 0.1)
        source.all("stale", "cut")
    source.all("synced")
    source.wait(HOLD_S)
    began, ended = source.told()
    assert began.startswith("kvstore/c1 a, b, c: synced -> stale after ")
    assert ended == "kvstore/c1 a, b, c: stale -> synced after 30.8 s (earlier recoveries of less than 5 s: 2)"
    source.wait(1)
    source.all("stale", "cut")
    source.all("synced")
    source.wait(HOLD_S)
    assert len(source.told()) == 2, "it had lasted: this is another one"


def test_trouble_that_becomes_another_at_once_is_told_as_that(source: Source):
    """As when a connection is cut, and the server refuses the next one for its credentials."""
    source.all("stale", "cut")
    source.wait(SETTLE_S / 2)
    source.all("failed", "invalid token")
    source.wait(SETTLE_S / 2)
    (began,) = source.told()
    assert began.startswith("kvstore/c1 a, b, c: synced -> failed after ")
    source.all("synced")
    source.wait(HOLD_S)
    assert source.told() == ["kvstore/c1 a, b, c: failed -> synced after 1.0 s"]


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
    st.tuples(st.sampled_from(TABLES), st.sampled_from(get_args(State)), st.sampled_from([0.0, 0.4, 2.0, 7.0, 40.0])),
    max_size=40,
)
BAD = ("stale", "failed")


@given(HISTORIES)
def test_each_trouble_of_a_table_has_one_line_at_its_beginning_and_one_at_its_end(
    history: list[tuple[str, State, float]],
):
    """Each line begins where the one before has ended, and the last one is how it is.

    The naive reading: trouble lasts until there was none for `HOLD_S`. How often lines go from none to trouble is how
    often it began.
    """
    log, logger = Log(), logging.getLogger("ingest")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(log)
    try:
        source = Source(log)
        states: dict[str, list[tuple[float, str]]] = {table: [(0.0, "connecting")] for table in TABLES}
        for table, state, pause_s in history:
            source.state_log.changed(table, state, "")
            if state != states[table][-1][1]:
                states[table].append((source.now, state))
            source.wait(pause_s)
        source.wait(PATIENCE_S + HOLD_S)
        assert source.state_log.due_in() is None
    finally:
        logger.removeHandler(log)
        logger.setLevel(level)
    for table in TABLES:
        told = ["connecting"]
        for line in log.lines:
            if re.search(rf"[ ,]{table}[,:]", line):
                turn = re.search(r"(\w+) -> (\w+)", line)
                assert turn is not None
                assert turn[1] == told[-1] != turn[2]
                told.append(turn[2])
        last = states[table][-1][1]
        assert told[-1] == last or (last in ("connecting", "syncing") and told[-1] in ("connecting", *BAD))
        began = [after for before, after in pairwise(told) if after in BAD and before not in BAD]
        assert len(began) == beginnings(states[table])


def beginnings(states: list[tuple[float, str]]) -> int:
    """How often trouble began, for a reader to whom it has ended when it is absent or was gone for `HOLD_S`."""
    count, in_trouble, good_since = 0, False, None
    for at, state in states:
        if in_trouble and good_since is not None and at - good_since >= HOLD_S:
            in_trouble = False
        good_since = at if state == "synced" else None
        if state in BAD:
            count += not in_trouble
            in_trouble = True
        elif state == "absent":
            in_trouble = False
    return count


def test_a_source_that_ends_by_a_mistake_is_logged_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Its thread is gone: nobody would log the line one second later."""
    db = Database(*CATALOG)
    source = BACKENDS["manifests"].open(db, "c1", 1, ManifestsOptions(directory=str(tmp_path), tables=("nodes",)))

    def broken() -> None:
        raise RuntimeError("a mistake of ours")

    source._scan = broken  # type: ignore[attr-defined]
    with caplog.at_level("INFO", "ingest"):
        source.start()
        assert source.join(60)
    (line,) = caplog.messages
    assert line.startswith("manifests/c1 nodes: connecting -> failed after ")
    assert line.endswith(": RuntimeError: a mistake of ours")


def test_a_directory_of_clusters_that_cannot_be_read_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    directory = tmp_path / "clusters"
    directory.mkdir()
    db = Database(*CATALOG)
    with caplog.at_level("INFO", "ingest"):
        remotes = RemoteClusters(db, "c1", 1, RemoteClustersOptions(directory=str(directory)))
        remotes._scan()
        directory.rmdir()
        remotes._scan()
        remotes._scan()
        directory.mkdir()
        remotes._scan()
    assert caplog.messages == [
        "remote-clusters: connecting -> synced",
        f"remote-clusters: synced -> stale: {directory}: No such file or directory",
        "remote-clusters: stale -> synced",
    ]
