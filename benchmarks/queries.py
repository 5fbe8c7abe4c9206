"""Questions to snapshots: fresh ones, and ones that are 1 to 10 000 commits old."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from statedb import Database, Snapshot

from .harness import Figure, Outcome, Size, median, rounds, same, timed, workload
from .limit import Row, Rows, changes_of, filled, make_rows, write_in

_QUESTIONS = 200
_AGES = (0, 1, 100, 1000, 10_000)

Question: TypeAlias = tuple[Callable[[Any], Iterable[Row]], list[Any], list[list[Row]]]
"""How to ask, what to ask for (Any: a key, a prefix), and the right answers."""


@workload("queries")
def queries(size: Size) -> Iterator[Outcome]:
    """Keys, lists, prefixes, ranges, since(), of snapshots that are fresh, and up to 10 000 commits old."""
    rows = make_rows(size.rows)
    for age in _AGES:
        db = filled(rows)
        snapshot = db.snapshot()
        for changed in changes_of(size.rows, age):
            write_in(db, changed, 1)
        yield from _ask(f"{age} commit{'s' * (age > 1)} old" if age else "fresh", snapshot, rows, size)
    taken = [timed(_each, _snapshot, [db] * size.rows) for _ in rounds(size.repeats, "snapshot()")]
    yield Figure("snapshot()", median(taken) / size.rows * 1e9, "ns")


def _snapshot(db: Database) -> None:
    db.snapshot()


def _each(ask: Callable[[Any], object], asked: list[Any]) -> None:
    for question in asked:
        ask(question)


def _ask(when: str, snapshot: Snapshot, rows: list[Row], size: Size) -> Iterator[Outcome]:
    """All rows are asked for first: what a stale snapshot builds when it is first asked is in that figure."""
    view, in_order = snapshot[Rows], sorted(rows, key=lambda row: row.id)
    seconds = timed(_each, lambda _: tuple(view.values()), [None])
    yield same(view.values(), in_order, f"all rows, {when}")
    yield Figure(f"all rows in order, the first time, {when}", seconds * 1e6, "us")
    for name, (ask, asked, right) in _questions(snapshot, rows, in_order).items():
        every = [timed(_each, ask, asked) for _ in rounds(size.repeats, f"{name}, {when}")]
        yield same([list(ask(question)) for question in asked], right, f"{name}, {when}")
        yield Figure(f"{name}, {when}", median(every) / len(asked) * 1e6, "us")


def _questions(snapshot: Snapshot, rows: list[Row], in_order: list[Row]) -> dict[str, Question]:
    view, by_key = snapshot[Rows], snapshot[Rows.primary]
    some = range(0, len(rows), max(1, len(rows) // _QUESTIONS))
    keys, last = [in_order[n].id for n in some], rows[-100:]
    nodes, of_node = _grouped(in_order, lambda row: row.node)
    identities, of_identity = _grouped(in_order, lambda row: row.identity)
    prefixes, of_prefix = _grouped(in_order, lambda row: row.id[:-2])
    return {
        "unique get": (lambda key: (by_key[key],), keys, [[in_order[n]] for n in some]),
        "list of a node": (snapshot[Rows.by_node].get, nodes, of_node),
        "list of an identity": (snapshot[Rows.by_identity].get, identities, of_identity),
        "prefix of 100 rows": (view.prefix, prefixes, of_prefix),
        "range of 100 rows": (lambda k: view.range(k, limit=100), keys, [in_order[n : n + 100] for n in some]),
        "all rows in order, again": (lambda _: tuple(view.values()), [None], [in_order]),
        "since() of 100 rows": (lambda at: [e.row for e in view.since(at)], [view.revision - len(last)], [last]),
    }


def _grouped(in_order: list[Row], key_of: Callable[[Row], str]) -> tuple[list[str], list[list[Row]]]:
    """Some keys, and the rows of each in order."""
    groups: dict[str, list[Row]] = {}
    for row in in_order:
        groups.setdefault(key_of(row), []).append(row)
    some = list(groups.items())[:_QUESTIONS]
    return [key for key, _ in some], [group for _, group in some]
