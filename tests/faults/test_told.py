"""What the run of `make faults-told` takes for rightly told."""

from __future__ import annotations

import pytest

from .telling import Episode, line_of
from .told import not_told

STALE = 'statedb_source_state{state="stale",table="endpoints"} 1.0\n'
PAIR = ("synced -> stale", "stale -> synced")
READER_ENDS = "synced -> absent"


BEFORE = 'statedb_source_state_changed_timestamp_seconds{table="endpoints"} 1.0\n'


def episode(*turns: str, during: str = STALE, before: str = "", ended: str = "") -> Episode:
    lines = [line_of(f"kvstore/c1 endpoints, nodes: {turn} after 1.0 s: why") for turn in turns]
    return Episode(backend="kvstore", fault="cut", lines=lines, before=before, during=during, ended=ended)


@pytest.mark.parametrize(
    "turns",
    [
        PAIR,
        ("synced -> stale", "stale -> failed", "failed -> synced"),
        (*PAIR, READER_ENDS, "connecting -> stale", "stale -> synced"),
        ("connecting -> synced", *PAIR),
    ],
)
def test_one_beginning_and_one_end_of_each_reader_are_right(turns: tuple[str, ...]):
    assert not_told(episode(*turns)) == []


@pytest.mark.parametrize("turns", [(), PAIR[:1], PAIR[1:], PAIR * 2, (*PAIR, *PAIR, READER_ENDS)])
def test_a_pair_too_much_or_too_little_is_wrong(turns: tuple[str, ...]):
    (problem,) = not_told(episode(*turns))
    assert problem.startswith("kvstore cut: ")


def test_what_no_metric_tells_is_wrong():
    assert not_told(episode(*PAIR, during="statedb_ready 1.0\n")) == ["kvstore cut: no metric tells of it"]


def test_what_was_over_before_a_scrape_is_told_by_when_the_state_began():
    assert not_told(episode(*PAIR, during="", before=BEFORE, ended=BEFORE.replace("1.0", "2.0"))) == []
    (problem,) = not_told(episode(*PAIR, during="", before=BEFORE, ended=BEFORE))
    assert problem == "kvstore cut: no metric tells afterwards that it was"


def test_the_note_about_earlier_recoveries_is_understood():
    line = line_of("kvstore/c1 nodes: stale -> synced after 4.8 s (earlier recoveries of less than 5 s: 1)")
    assert (line.tables, line.before, line.after) == ("nodes", "stale", "synced")
