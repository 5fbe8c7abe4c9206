"""Change streams: what they cost who writes, and who reads."""

from __future__ import annotations

from collections.abc import Iterator

from statedb import Change, ChangeStream, Database

from .harness import Figure, Outcome, Size, median, require, timed, workload
from .limit import Row, Rows, filled, make_rows, write_in


@workload("changes")
def changes(size: Size) -> Iterator[Outcome]:
    """Reading a stream: all rows at once, then what transactions of 100 and of 1 left; and idle streams' cost."""
    rows = make_rows(size.rows)
    firsts, hundreds, ones = [], [], []
    for _ in range(size.repeats):
        db = filled(rows)
        with db.changes(Rows) as stream:
            folded: dict[str, Row] = {}
            firsts.append(timed(_fold, stream, folded))
            hundreds.append(timed(_write_and_fold, db, stream, folded, make_rows(size.rows, 1), 100))
            ones.append(timed(_write_and_fold, db, stream, folded, make_rows(size.rows, 2), 1))
            require(folded == dict(db.snapshot()[Rows].items()), "the folded changes are the table")
    yield Figure("first batch", median(firsts) / size.rows * 1e9, "ns/row")
    yield Figure("write and follow, transactions of 100", median(hundreds) / size.rows * 1e6, "us/row")
    yield Figure("write and follow, transactions of 1", median(ones) / size.rows * 1e6, "us/row")


@workload("streams")
def streams(size: Size) -> Iterator[Outcome]:
    """What ten idle streams cost who writes transactions of one row."""
    rows = make_rows(size.rows)
    bare, followed = filled(rows), filled(rows)
    held = [followed.changes(Rows) for _ in range(10)]
    for stream in held:
        _fold(stream, {})
    ratios = []
    for number in range(size.repeats):
        changed = make_rows(size.rows, number + 1)
        ratios.append(1 / timed(write_in, bare, changed, 1) * timed(write_in, followed, changed, 1))
    for stream in held:
        stream.close()
    yield Figure("10 idle streams", (median(ratios) - 1) * 100, "%")


def _fold(stream: ChangeStream[str, Row], folded: dict[str, Row]) -> None:
    while (batch := stream.next(0)) is not None:
        for change in batch:
            _apply(change, folded)


def _apply(change: Change[Row], folded: dict[str, Row]) -> None:
    if change.deleted:
        del folded[change.row.id]
    else:
        folded[change.row.id] = change.row


def _write_and_fold(
    db: Database, stream: ChangeStream[str, Row], folded: dict[str, Row], rows: list[Row], batch: int
) -> None:
    for start in range(0, len(rows), batch):
        write_in(db, rows[start : start + batch], batch)
        _fold(stream, folded)
