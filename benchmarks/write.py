"""Writing, beside the plain dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from statedb import Database

from .harness import FULL, LARGE, Figure, Outcome, Size, median, require, rounds, same, timed, workload
from .limit import CallingLimit, Limit, Row, Rows, delete_in, filled, make_rows, with_revision, write_in

Renewed: TypeAlias = Callable[[list[Row], int], list[Row]]
"""What makes the rows that are written next, of a revision; it is not timed."""


@workload("insert", FULL, LARGE)
def insert(size: Size) -> Iterator[Outcome]:
    """New rows in transactions of 1, of 100 and all in one, as ratios to plain dicts."""
    yield from _insert(size, "insert", _with_own_strings)


@workload("insert-scattered")
def insert_scattered(size: Size) -> Iterator[Outcome]:
    """As insert, but rows lie in memory in another order than they come, which slows the dicts most. No targets."""
    yield from _insert(size, "insert-scattered", _scattered, strict=False)


@workload("insert-again")
def insert_again(size: Size) -> Iterator[Outcome]:
    """As insert, but of rows that were in a table before: their strings' hashes are known, which helps dicts most."""
    yield from _insert(size, "insert-again", lambda rows, _: rows)


def _insert(size: Size, what: str, renewed: Renewed, *, strict: bool = True) -> Iterator[Outcome]:
    rows = make_rows(size.rows)
    Limit().insert(rows)
    in_order = sorted(rows, key=lambda row: row.id)
    targets = {1: 9.0 if strict else None, 100: 3.5 if strict else None, len(rows): None}
    seconds: dict[int, list[float]] = {batch: [] for batch in targets}
    limits, callings = [], []
    for _ in rounds(size.repeats, what):
        limit = Limit()
        limits.append(timed(limit.insert, renewed(rows, 0)))
        callings.append(timed(CallingLimit().insert, renewed(rows, 0)))
        for batch in targets:
            db = Database(Rows)
            seconds[batch].append(timed(write_in, db, renewed(rows, 0), batch))
            require(dict(db.snapshot()[Rows].items()) == limit.rows, "the rows are those of the plain dict")
            require(_lists(db) == limit.by_node, "so are the lists by node")
            found = same(db.snapshot()[Rows].values(), in_order, "rows come in key order")
            del db
    yield from _beside(size, targets, seconds, limits, callings)
    yield found


def _beside(
    size: Size,
    targets: Mapping[int, float | None],
    seconds: dict[int, list[float]],
    limits: list[float],
    callings: list[float],
) -> Iterator[Figure]:
    """Medians of the ratios of each round. Targets are for the ratio to dicts by hand."""
    yield Figure("plain dicts", median(limits) / size.rows * 1e6, "us/row")
    yield Figure("plain dicts that call key functions, ratio", _ratio(callings, limits), "x")
    for batch, target in targets.items():
        name = "one transaction" if batch == size.rows else f"transactions of {batch}"
        yield Figure(f"{name}, ratio", _ratio(seconds[batch], limits), "x", target)
        yield Figure(f"{name}, ratio to dicts that call key functions", _ratio(seconds[batch], callings), "x")


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return median([one / other for one, other in zip(ours, theirs)])


def _lists(db: Database) -> dict[str, set[str]]:
    by_node = db.snapshot()[Rows.by_node]
    return {node: {row.id for row in by_node[node]} for node in by_node.keys()}  # noqa: SIM118  # no mapping


@workload("replace", FULL, LARGE)
def replace(size: Size) -> Iterator[Outcome]:
    """Rows replaced, index keys unchanged, in transactions of 1 and of 100, as ratios to plain dicts."""
    yield from _replace(size, "replace", _with_own_strings)


@workload("replace-scattered")
def replace_scattered(size: Size) -> Iterator[Outcome]:
    """As replace, but rows lie in memory in another order than they come, which slows the dicts most. No targets."""
    yield from _replace(size, "replace-scattered", _scattered, strict=False)


@workload("rewrite")
def rewrite(size: Size) -> Iterator[Outcome]:
    """As replace, but new rows share the old rows' key strings, which the dicts find faster."""
    yield from _replace(size, "rewrite", with_revision)


def _with_own_strings(rows: list[Row], revision: int) -> list[Row]:
    """The same rows with another revision, with strings of their own, as they come out of a decoder."""
    return make_rows(len(rows), revision)


def _scattered(rows: list[Row], revision: int) -> list[Row]:
    return make_rows(len(rows), revision, scattered=True)


def _replace(size: Size, what: str, renewed: Renewed, *, strict: bool = True) -> Iterator[Outcome]:
    rows = make_rows(size.rows)
    db, limit, calling = filled(rows), Limit(), CallingLimit()
    targets = {1: 16.0 if strict else None, 100: 7.0 if strict else None}
    limit.insert(rows)
    calling.insert(rows)
    seconds: dict[int, list[float]] = {batch: [] for batch in targets}
    limits, callings = [], []
    for number in rounds(size.repeats, what):
        limits.append(timed(limit.replace, renewed(rows, 3 * number + 1)))
        callings.append(timed(calling.replace, renewed(rows, 3 * number + 1)))
        for at, batch in enumerate(targets, 2):
            changed = renewed(rows, 3 * number + at)
            seconds[batch].append(timed(write_in, db, changed, batch))
            in_order = sorted(changed, key=lambda row: row.id)
            found = same(db.snapshot()[Rows].values(), in_order, "the rows are the new ones")
    limit.replace(changed)
    require(dict(db.snapshot()[Rows].items()) == limit.rows, "the rows are those of the plain dict")
    require(_lists(db) == limit.by_node, "so are the lists by node")
    yield from _beside(size, targets, seconds, limits, callings)
    yield found


@workload("delete")
def delete(size: Size) -> Iterator[Outcome]:
    """Rows deleted in transactions of 100."""
    rows = make_rows(size.rows)
    keys = [row.id for row in rows]
    seconds = []
    for _ in rounds(size.repeats, "delete"):
        db = filled(rows)
        seconds.append(timed(delete_in, db, keys, 100))
        require(len(db.snapshot()[Rows]) == 0, "the table is empty")
        found = same(_lists(db), (), "and so are its indexes")
    yield Figure("transactions of 100", median(seconds) / size.rows * 1e6, "us/row")
    yield found
