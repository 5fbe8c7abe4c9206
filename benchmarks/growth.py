"""How the time of one operation grows with rows, tables, snapshots, streams and watches.

A line bends where an operation that should cost the same, or a little more for a deeper search and colder memory,
starts to cost in proportion to what is there. Two targets for each line say that none does: the time at the largest
size by that at the smallest, and the steepest step between two neighbouring sizes.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec

from statedb import Database, Index, Table, UniqueIndex

from .harness import FULL, Figure, Outcome, Size, require, rounds, workload
from .limit import Row, Rows, make_rows

WHOLE = 6.0
"""At most so many times the time at the smallest size takes the one at the largest: colder memory alone makes a
lookup among millions several times as slow, while a cost in proportion would make it 100 to 100 000 times as slow."""
STEP = 0.6
"""No step between two sizes is steeper than the size to this power: 1 is in proportion, 0 is flat."""
_TURNS = 7
_OPERATIONS = 2000
_FEW_ROWS = 1000
NOISE_S = 100e-9
"""What is added to both sides of a ratio: an operation of some nanoseconds may double for nothing."""

Work: TypeAlias = Callable[[int], object]
"""An operation; it is given the number of its turn."""
Works: TypeAlias = dict[str, Work]


class Axis(msgspec.Struct, frozen=True):
    """What grows, through which sizes, and a function that makes so much of it and gives what to time."""

    name: str
    sizes: tuple[int, ...]
    made: Callable[[int], Works]


def changed(row: Row, revision: int) -> Row:
    """Another value under the same keys."""
    return Row(row.id, row.node, row.identity, revision)


def _filled(count: int) -> tuple[Database, list[Row]]:
    rows = make_rows(count)
    db = Database(Rows)
    with db.write(Rows) as txn:
        txn[Rows].insert_all(rows)
    return db, rows


def _rows(count: int) -> Works:
    """Every kind of question and change, among so many rows."""
    db, rows = _filled(count)
    step = max(1, count // 997)

    def row_at(number: int) -> Row:
        return rows[number * step % count]

    def churn(number: int) -> None:
        db.insert(Rows, Row(f"pod-new-{number}", "node-new", "identity-new"))
        db.delete(Rows, f"pod-new-{number}")

    db.snapshot()[Rows].range(limit=1)
    return {
        "get": lambda number: db.snapshot()[Rows].get(row_at(number).id),
        "list of an index key": lambda number: db.snapshot()[Rows.by_identity][row_at(number).identity],
        "ten rows of a range": lambda number: db.snapshot()[Rows].range(row_at(number).id, limit=10),
        "replace": lambda number: db.insert(Rows, changed(row_at(number), number + 1)),
        "insert and delete": churn,
        "snapshot": lambda _: db.snapshot(),
    }


def _table(number: int) -> Any:
    class Numbered(Table[str, Row], name=f"table_{number}"):
        primary = UniqueIndex[str, Row](lambda row: row.id)
        by_node = Index[str, Row](lambda row: (row.node,))

    return Numbered


def _tables(count: int) -> Works:
    """A database with so many tables of a few rows each."""
    tables = [_table(number) for number in range(count)]
    db, rows = Database(*tables), make_rows(10)
    for table in tables:
        with db.write(table) as txn:
            txn[table].insert_all(rows)
    snapshot = db.snapshot()
    return {
        "get": lambda number: snapshot[tables[number % count]].get(rows[number % 10].id),
        "replace": lambda number: db.insert(tables[number % count], changed(rows[number % 10], number + 1)),
        "snapshot": lambda _: db.snapshot(),
    }


def _snapshots(count: int) -> Works:
    """So many snapshots that are kept, each of another commit."""
    db, rows = _filled(_FEW_ROWS)
    kept = []
    for number in range(count):
        kept.append(db.snapshot())
        db.insert(Rows, changed(rows[number % _FEW_ROWS], number + 1))
    return {
        "replace": lambda number: db.insert(Rows, changed(rows[number % _FEW_ROWS], -number - 1)),
        "get of the newest": lambda number: db.snapshot()[Rows].get(rows[number % _FEW_ROWS].id),
        "get of the oldest": lambda number: kept[0][Rows].get(rows[number % _FEW_ROWS].id),
        "get of any, mostly the first": lambda number: kept[number * 7919 % count][Rows].get(
            rows[number % _FEW_ROWS].id
        ),
    }


def _streams(count: int) -> Works:
    """So many streams of one table, which are idle while rows are replaced; then each gets what it missed."""
    db, rows = _filled(_FEW_ROWS)
    idle = [db.changes(Rows, since=db.snapshot()) for _ in range(count)]
    followed, _ = _filled(_FEW_ROWS)
    streams = [followed.changes(Rows, since=followed.snapshot()) for _ in range(count)]

    def replace(number: int) -> None:
        db.insert(Rows, changed(rows[number % _FEW_ROWS], number + 1))
        require(not idle[number % count].closed, "an idle stream is open")

    def follow(number: int) -> None:
        if number % count == 0:
            followed.insert(Rows, changed(rows[number // count % _FEW_ROWS], number + 1))
        batch = streams[number % count].next(0)
        require(batch is not None and len(list(batch)) == 1, "each stream gets the one change")

    return {
        "replace": replace,
        "one change to one stream": follow,
        "open and close": lambda _: db.changes(Rows, since=db.snapshot()).close(),
    }


def _watches(count: int) -> Works:
    """So many watches of other rows, which stay idle."""
    db, rows = _filled(_FEW_ROWS)
    view = db.snapshot()[Rows]
    kept = [view.watch(f"other-{number}") for number in range(count)]

    def replace(number: int) -> None:
        db.insert(Rows, changed(rows[number % _FEW_ROWS], number + 1))
        require(not kept[number % count].tripped, "a watch of another row is idle")

    def trip(number: int) -> None:
        row = rows[number % _FEW_ROWS]
        watch = db.snapshot()[Rows].watch(row.id)
        db.insert(Rows, changed(row, -number - 1))
        require(watch.tripped, "the watch of a row that was replaced has tripped")

    return {
        "replace": replace,
        "watch and drop": lambda number: db.snapshot()[Rows].watch(f"more-{number}"),
        "watch, replace, trip": trip,
    }


AXES = (
    Axis("rows", (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000), _rows),
    Axis("tables", (1, 10, 100, 1000), _tables),
    Axis("snapshots", (1, 10, 100, 1000, 10_000), _snapshots),
    Axis("streams", (1, 10, 100, 1000), _streams),
    Axis("watches", (1, 10, 100, 1000, 10_000, 100_000), _watches),
)


@workload("growth", FULL, on_request=True)
def growth(size: Size) -> Iterator[Outcome]:
    """One operation among ever more rows, tables, snapshots, streams and watches: no line bends."""
    full = size.name == "full"
    for axis in AXES:
        sizes = axis.sizes if full else tuple([min(each, 40 * number) for number, each in enumerate(axis.sizes[:2], 1)])
        lines: dict[str, list[float]] = {}
        for number in rounds(len(sizes), f"growth of {axis.name}"):
            works = axis.made(sizes[number])
            for name, seconds in timed_by_turns(works, _TURNS if full else 1, _OPERATIONS if full else 20).items():
                lines.setdefault(name, []).append(seconds)
                yield Figure(f"{axis.name}: {name}, {sizes[number]}", seconds * 1e9, "ns")
            del works
        for name, line in lines.items():
            yield Figure(f"{axis.name}: {name}, largest by smallest", whole(line), "x", at_most=WHOLE)
            yield Figure(f"{axis.name}: {name}, steepest step", steepest(sizes, line), "power", at_most=STEP)


def timed_by_turns(works: Works, turns: int, count: int) -> dict[str, float]:
    """Seconds of the processor for each operation: the least of several turns, for what else runs only adds to it."""
    least = dict.fromkeys(works, float("inf"))
    for turn in range(turns):
        gc.collect()
        for name, work in works.items():
            began = time.process_time()
            for number in range(turn * count, (turn + 1) * count):
                work(number)
            least[name] = min(least[name], (time.process_time() - began) / count)
    return least


def whole(line: list[float]) -> float:
    """The time at the largest size by that at the smallest."""
    return (line[-1] + NOISE_S) / (line[0] + NOISE_S)


def steepest(sizes: tuple[int, ...], line: list[float]) -> float:
    """The greatest power of the size with which the time grows from one size to the next; 0 where it never does."""
    steps = zip(sizes, sizes[1:], line, line[1:])
    powers = [math.log((to_s + NOISE_S) / (from_s + NOISE_S), to / of) for of, to, from_s, to_s in steps if to > of]
    return max([0.0, *powers])
