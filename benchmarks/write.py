"""Writing, beside the plain dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from statedb import Database

from .harness import FULL, LARGE, Figure, Outcome, Size, median, require, rounds, same, timed, workload
from .limit import CallingLimit, Limit, Row, Rows, filled, make_rows, with_revision, write_in

Renewed: TypeAlias = Callable[[list[Row], int], list[Row]]
"""What makes the rows that are written next, of a revision; it is not timed."""


@workload("insert", FULL, LARGE)
def insert(size: Size) -> Iterator[Outcome]:
    """New rows in transactions of 1, of 100 and all in one, as ratios to plain dicts."""
    yield from _insert(size, "insert", _with_own_strings)


@workload("insert-again")
def insert_again(size: Size) -> Iterator[Outcome]:
    """As insert, but of rows that were in a table before: their strings' hashes are known, which helps dicts most."""
    yield from _insert(size, "insert-again", lambda rows, _: rows)


def _insert(size: Size, what: str, renewed: Renewed) -> Iterator[Outcome]:
    rows = make_rows(size.rows)
    Limit().insert(rows)
    in_order = sorted(rows, key=lambda row: row.id)
    targets = {1: 9.0, 100: 3.5, len(rows): None}
    ratios: dict[int, list[float]] = {batch: [] for batch in targets}
    limits, calling = [], []
    for _ in rounds(size.repeats, what):
        limit = Limit()
        limits.append(timed(limit.insert, renewed(rows, 0)))
        calling.append(timed(CallingLimit().insert, renewed(rows, 0)) / limits[-1])
        for batch in targets:
            db = Database(Rows)
            ratios[batch].append(timed(write_in, db, renewed(rows, 0), batch) / limits[-1])
            require(dict(db.snapshot()[Rows].items()) == limit.rows, "the rows are those of the plain dict")
            require(_lists(db) == limit.by_node, "so are the lists by node")
            found = same(db.snapshot()[Rows].values(), in_order, "rows come in key order")
            del db
    yield Figure("plain dicts", median(limits) / size.rows * 1e6, "us/row")
    yield Figure("plain dicts that call key functions, ratio", median(calling), "x")
    for batch, target in targets.items():
        name = "one transaction" if batch == len(rows) else f"transactions of {batch}"
        yield Figure(f"{name}, ratio", median(ratios[batch]), "x", target)
    yield found


def _lists(db: Database) -> dict[str, set[str]]:
    by_node = db.snapshot()[Rows.by_node]
    return {node: {row.id for row in by_node[node]} for node in by_node.keys()}  # noqa: SIM118  # no mapping


@workload("replace", FULL, LARGE)
def replace(size: Size) -> Iterator[Outcome]:
    """Rows replaced, index keys unchanged, in transactions of 1 and of 100, as ratios to plain dicts."""
    yield from _replace(size, "replace", _with_own_strings)


@workload("rewrite")
def rewrite(size: Size) -> Iterator[Outcome]:
    """As replace, but new rows share the old rows' key strings, which the dicts find faster."""
    yield from _replace(size, "rewrite", with_revision)


def _with_own_strings(rows: list[Row], revision: int) -> list[Row]:
    """The same rows with another revision, with strings of their own, as they come out of a decoder."""
    return make_rows(len(rows), revision)


def _replace(size: Size, what: str, renewed: Renewed) -> Iterator[Outcome]:
    rows = make_rows(size.rows)
    db, limit, calling = filled(rows), Limit(), CallingLimit()
    targets = {1: 16.0, 100: 7.0}
    limit.insert(rows)
    calling.insert(rows)
    ratios: dict[int, list[float]] = {batch: [] for batch in targets}
    limits, slower = [], []
    for number in rounds(size.repeats, what):
        limits.append(timed(limit.replace, renewed(rows, 3 * number + 1)))
        slower.append(timed(calling.replace, renewed(rows, 3 * number + 1)) / limits[-1])
        for at, batch in enumerate(targets, 2):
            changed = renewed(rows, 3 * number + at)
            ratios[batch].append(timed(write_in, db, changed, batch) / limits[-1])
            in_order = sorted(changed, key=lambda row: row.id)
            found = same(db.snapshot()[Rows].values(), in_order, "the rows are the new ones")
    limit.replace(changed)
    require(dict(db.snapshot()[Rows].items()) == limit.rows, "the rows are those of the plain dict")
    require(_lists(db) == limit.by_node, "so are the lists by node")
    yield Figure("plain dicts", median(limits) / size.rows * 1e6, "us/row")
    yield Figure("plain dicts that call key functions, ratio", median(slower), "x")
    for batch, target in targets.items():
        yield Figure(f"transactions of {batch}, ratio", median(ratios[batch]), "x", target)
    yield found


@workload("delete")
def delete(size: Size) -> Iterator[Outcome]:
    """Rows deleted in transactions of 100."""
    rows = make_rows(size.rows)
    seconds = []
    for _ in rounds(size.repeats, "delete"):
        db = filled(rows)
        seconds.append(timed(_delete_all, db, rows))
        require(len(db.snapshot()[Rows]) == 0, "the table is empty")
        found = same(_lists(db), (), "and so are its indexes")
    yield Figure("transactions of 100", median(seconds) / size.rows * 1e6, "us/row")
    yield found


def _delete_all(db: Database, rows: list[Row]) -> None:
    for start in range(0, len(rows), 100):
        with db.write(Rows) as txn:
            for row in rows[start : start + 100]:
                txn[Rows].delete(row.id)
