"""Change streams: what they cost who writes, and who reads."""

from __future__ import annotations

import time
from collections.abc import Iterator

from statedb import Change, ChangeBatch, ChangeStream, Database

from .harness import Digest, Figure, Outcome, Size, median, require, rounds, same, timed, workload
from .limit import Row, Rows, filled, make_rows, write_in

_IDLE = (0, 1, 10)
_COMMITS = 2000


@workload("changes")
def changes(size: Size) -> Iterator[Outcome]:
    """Rows that a stream delivers in batches of 1, of 100 and all at once; and what folding them into a dict costs."""
    rows = make_rows(size.rows)
    batches = {"batches of 1": 1, "batches of 100": 100, "one batch": len(rows)}
    delivered: dict[str, list[float]] = {name: [] for name in ("first batch", *batches)}
    folding: dict[str, list[float]] = {name: [] for name in delivered}
    for _ in rounds(size.repeats, "changes"):
        db = filled(rows)
        with db.changes(Rows) as stream:
            folded: dict[str, Row] = {}
            _take(stream, folded, "first batch", delivered, folding)
            for revision, (name, batch) in enumerate(batches.items(), 1):
                _follow(db, stream, folded, make_rows(size.rows, revision), batch, name, delivered, folding)
                require(folded == dict(db.snapshot()[Rows].items()), "the folded changes are the table")
    in_order = sorted(make_rows(size.rows, len(batches)), key=lambda row: row.id)
    yield same([folded[key] for key in sorted(folded)], in_order, "the folded rows are the last ones")
    for name, seconds in delivered.items():
        yield Figure(f"delivered, {name}", size.rows / median(seconds), "rows/s")
        yield Figure(f"folded into a dict, {name}", median(folding[name]) / size.rows * 1e9, "ns/row")


Times = dict[str, list[float]]
"""Seconds by what took them, one for each repeat."""


def _follow(
    db: Database,
    stream: ChangeStream[str, Row],
    folded: dict[str, Row],
    rows: list[Row],
    batch: int,
    name: str,
    delivered: Times,
    folding: Times,
) -> None:
    """Write and read by turns; only the reading is timed."""
    taking: Times = {name: []}
    fold: Times = {name: []}
    for start in range(0, len(rows), batch):
        write_in(db, rows[start : start + batch], batch)
        _take(stream, folded, name, taking, fold)
    delivered[name].append(sum(taking[name]))
    folding[name].append(sum(fold[name]))


def _take(stream: ChangeStream[str, Row], folded: dict[str, Row], name: str, delivered: Times, folding: Times) -> None:
    """One batch, until every change has been looked at; then its folding. Raises AssertionError where there is none."""
    started = time.perf_counter()
    batch = stream.next(0)
    taken: list[Change[Row]] = [] if batch is None else list(batch)
    between = time.perf_counter()
    _fold(taken, folded)
    folding[name].append(time.perf_counter() - between)
    delivered[name].append(between - started)
    require(bool(taken), "the stream had something to deliver")


def _fold(batch: ChangeBatch[Row] | list[Change[Row]], folded: dict[str, Row]) -> None:
    for change in batch:
        if change.deleted:
            del folded[change.row.id]
        else:
            folded[change.row.id] = change.row


@workload("streams")
def streams(size: Size) -> Iterator[Outcome]:
    """What 1 and 10 idle streams cost who writes transactions of one row: 2 000 of them, and as many as rows."""
    for what, commits in (("the first 2000 commits", min(_COMMITS, size.rows)), ("as many commits as rows", size.rows)):
        seconds: dict[int, list[float]] = {count: [] for count in _IDLE}
        for number in rounds(size.repeats, f"streams, {what}"):
            changed = make_rows(size.rows, number + 1)[:commits]
            for count in _IDLE if number % 2 else reversed(_IDLE):
                found = _with_idle(count, size, changed, seconds[count])
        yield Figure(f"no streams, {what}", median(seconds[0]) / commits * 1e6, "us/commit")
        for count in _IDLE[1:]:
            slower = [with_them / without for with_them, without in zip(seconds[count], seconds[0])]
            yield Figure(f"{count} idle, {what}", (median(slower) - 1) * 100, "%")
        yield found


def _with_idle(count: int, size: Size, changed: list[Row], seconds: list[float]) -> Digest:
    """Time commits beside so many streams that have read everything before, and read all of them afterwards."""
    db = filled(make_rows(size.rows))
    held = [db.changes(Rows) for _ in range(count)]
    for stream in held:
        require(stream.next(0) is not None, "the stream begins with the table")
    seconds.append(timed(write_in, db, changed, 1))
    in_order = sorted(changed, key=lambda row: row.id)
    for stream in held:
        batch = stream.next(0) or ()
        same(
            sorted([change.row for change in batch], key=lambda row: row.id), in_order, "each row once for each stream"
        )
        stream.close()
    return same([db.snapshot()[Rows][row.id] for row in in_order], in_order, "the rows are the new ones")
