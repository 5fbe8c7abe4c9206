"""Writing, beside the plain dicts."""

from __future__ import annotations

from collections.abc import Iterator

from statedb import Database

from .harness import FULL, LARGE, Figure, Size, median, require, timed, workload
from .limit import Limit, Row, Rows, filled, make_rows, write_in


@workload("insert", FULL, LARGE)
def insert(size: Size) -> Iterator[Figure]:
    """New rows in transactions of 1, of 100 and all in one, as ratios to plain dicts."""
    rows = make_rows(size.rows)
    targets = {1: 9.0, 100: 3.5, len(rows): None}
    ratios: dict[int, list[float]] = {batch: [] for batch in targets}
    limits: list[float] = []
    for _ in range(size.repeats):
        limit = Limit()
        limit_s = timed(limit.insert, rows)
        limits.append(limit_s)
        for batch in targets:
            db = Database(Rows)
            seconds = timed(write_in, db, rows, batch)
            ratios[batch].append(seconds / limit_s)
            require(dict(db.snapshot()[Rows].items()) == limit.rows, "the rows are those of the plain dict")
            del db
    yield Figure("plain dicts", median(limits) / size.rows * 1e6, "us/row")
    for batch, target in targets.items():
        name = "one transaction" if batch == len(rows) else f"transactions of {batch}"
        yield Figure(f"{name}, ratio", median(ratios[batch]), "x", target)


@workload("replace", FULL, LARGE)
def replace(size: Size) -> Iterator[Figure]:
    """Rows replaced, index keys unchanged, in transactions of 1 and of 100, as ratios to plain dicts."""
    rows = make_rows(size.rows)
    db = filled(rows)
    limit = Limit()
    limit.insert(rows)
    targets = {1: 16.0, 100: 7.0}
    ratios: dict[int, list[float]] = {batch: [] for batch in targets}
    limits: list[float] = []
    revision = 0
    for _ in range(size.repeats):
        revision += 1
        changed = make_rows(size.rows, revision)
        limit_s = timed(limit.replace, changed)
        limits.append(limit_s)
        for batch in targets:
            revision += 1
            changed = make_rows(size.rows, revision)
            seconds = timed(write_in, db, changed, batch)
            ratios[batch].append(seconds / limit_s)
            require(db.snapshot()[Rows][changed[0].id] == changed[0], "the row is the new one")
    yield Figure("plain dicts", median(limits) / size.rows * 1e6, "us/row")
    for batch, target in targets.items():
        yield Figure(f"transactions of {batch}, ratio", median(ratios[batch]), "x", target)


@workload("delete")
def delete(size: Size) -> Iterator[Figure]:
    """Rows deleted in transactions of 100."""
    rows = make_rows(size.rows)
    seconds = []
    for _ in range(size.repeats):
        db = filled(rows)
        seconds.append(timed(_delete_all, db, rows))
        require(len(db.snapshot()[Rows]) == 0, "the table is empty")
    yield Figure("transactions of 100", median(seconds) / size.rows * 1e6, "us/row")


def _delete_all(db: Database, rows: list[Row]) -> None:
    for start in range(0, len(rows), 100):
        with db.write(Rows) as txn:
            for row in rows[start : start + 100]:
                txn[Rows].delete(row.id)
