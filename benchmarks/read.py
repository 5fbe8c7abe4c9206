"""Reading, beside the plain dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from statedb import Database, PrefixIndex, Table, TableView, UniqueIndex

from .harness import FULL, LARGE, Figure, Outcome, Size, median, require, timed, workload
from .limit import Limit, Row, Rows, filled, make_rows, write_in


def _each(call: Callable[[Any], Any], keys: Iterable[Any]) -> None:
    for key in keys:
        call(key)


def _loop_values(view: TableView[str, Row]) -> None:
    for _ in view.values():
        pass


def _loop_plain(rows: dict[str, Row]) -> None:
    for _ in list(rows.values()):
        pass


@workload("get", FULL, LARGE)
def get(size: Size) -> Iterator[Outcome]:
    """``view.get`` with the view bound once, on a fresh snapshot and on a stale one, beside ``dict.get``."""
    rows = make_rows(size.rows)
    db, limit = filled(rows), Limit()
    limit.insert(rows)
    keys = [row.id for row in rows]
    stale = db.snapshot()[Rows]
    write_in(db, make_rows(size.rows, 1)[: size.rows // 10], 10)
    fresh = db.snapshot()[Rows]
    require(stale.get(keys[0]) == limit.rows[keys[0]], "the stale snapshot has the old row")
    ratios, stale_ratios, plain = [], [], []
    for _ in range(size.repeats):
        plain_s = timed(_each, limit.rows.get, keys)
        plain.append(plain_s)
        ratios.append(timed(_each, fresh.get, keys) / plain_s)
        stale_ratios.append(timed(_each, stale.get, keys) / plain_s)
    yield Figure("dict.get", median(plain) / size.rows * 1e9, "ns")
    yield Figure("view.get, ratio", median(ratios), "x", 4.0)
    yield Figure("view.get on a stale snapshot, ratio", median(stale_ratios), "x")


@workload("iterate", FULL, LARGE)
def iterate(size: Size) -> Iterator[Outcome]:
    """``values()`` of an unchanged table beside ``list(dict.values())``; and the first time after a change."""
    rows = make_rows(size.rows)
    db, limit = filled(rows), Limit()
    limit.insert(rows)
    ratios, firsts, plain = [], [], []
    for number in range(size.repeats):
        write_in(db, [Row(rows[0].id, rows[0].node, rows[0].identity, number + 1)], 1)
        view = db.snapshot()[Rows]
        firsts.append(timed(_loop_values, view))
        plain_s = timed(_loop_plain, limit.rows)
        plain.append(plain_s)
        ratios.append(timed(_loop_values, view) / plain_s)
        require([row.id for row in view.values()] == sorted(limit.rows), "rows come in key order")
    yield Figure("list(dict.values())", median(plain) / size.rows * 1e9, "ns/row")
    yield Figure("values() unchanged, ratio", median(ratios), "x", 3.0)
    yield Figure("values() after a change", median(firsts) / size.rows * 1e9, "ns/row")


@workload("queries", FULL)
def queries(size: Size) -> Iterator[Outcome]:
    """Lists by index, prefixes, ranges, and a snapshot, fresh and a thousand commits old."""
    rows = make_rows(size.rows)
    db = filled(rows)
    stale = db.snapshot()
    write_in(db, make_rows(size.rows, 1)[: min(size.rows, 1000)], 1)
    nodes = sorted({row.node for row in rows})
    listed = size.rows
    for name, snapshot in (("fresh", db.snapshot()), ("1000 commits old", stale)):
        by_node, view = snapshot[Rows.by_node], snapshot[Rows]
        seconds = median([timed(_each, by_node.get, nodes) for _ in range(size.repeats)])
        yield Figure(f"list by index, {name}", seconds / listed * 1e9, "ns/row")
        prefixes = [row.id[:-2] for row in rows[:200]]
        seconds = median([timed(_each, view.prefix, prefixes) for _ in range(size.repeats)])
        yield Figure(f"prefix of up to 100 rows, {name}", seconds / len(prefixes) * 1e6, "us")
    taken = median([timed(_snapshots, db, size.rows) for _ in range(size.repeats)])
    yield Figure("snapshot", taken / size.rows * 1e9, "ns")


def _snapshots(db: Database, count: int) -> None:
    for _ in range(count):
        db.snapshot()


class Addresses(Table[str, str], name="addresses"):
    """Networks by their text."""

    primary = UniqueIndex[str, str](lambda row: row)
    by_network = PrefixIndex[str, str](lambda row: (row,))


@workload("longest", FULL)
def longest(size: Size) -> Iterator[Outcome]:
    """Longest prefix match among addresses and the /24, /16 and /8 networks that hold them."""
    addresses = [f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(size.rows)]
    networks = {f"{a.rsplit('.', 1)[0]}.0/24" for a in addresses} | {"10.0.0.0/8", "10.0.0.0/16"}
    db = Database(Addresses)
    with db.write(Addresses) as txn:
        for row in [*addresses[::2], *networks]:
            txn[Addresses].insert(row)
    index = db.snapshot()[Addresses.by_network]
    require(index.longest("10.0.0.2") == ("10.0.0.2",), "an address that is there")
    require(index.longest("10.0.0.1") == ("10.0.0.0/24",), "the network of one that is not")
    seconds = median([timed(_each, index.longest, addresses) for _ in range(size.repeats)])
    yield Figure("longest", seconds / size.rows * 1e6, "us")
