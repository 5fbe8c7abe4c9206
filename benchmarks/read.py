"""Reading, beside the plain dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from statedb import Database, PrefixIndex, Table, TableView, UniqueIndex

from .harness import FULL, LARGE, Figure, Outcome, Size, digest, median, require, rounds, same, timed, workload
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
    changed = make_rows(size.rows, 1)[: size.rows // 10]
    old = same(map(stale.get, keys), map(limit.rows.get, keys), "the stale snapshot has the old rows")
    write_in(db, changed, 10)
    limit.replace(changed)
    fresh = db.snapshot()[Rows]
    ratios, stale_ratios, plain = [], [], []
    for _ in rounds(size.repeats, "get"):
        plain.append(timed(_each, limit.rows.get, keys))
        ratios.append(timed(_each, fresh.get, keys) / plain[-1])
        stale_ratios.append(timed(_each, stale.get, keys) / plain[-1])
    yield same(map(fresh.get, keys), map(limit.rows.get, keys), "the fresh snapshot has the new rows")
    require(digest(map(stale.get, keys)) == old, "the stale snapshot still has the old rows")
    yield Figure("dict.get", median(plain) / size.rows * 1e9, "ns")
    yield Figure("view.get, ratio", median(ratios), "x", 4.0)
    yield Figure("view.get on a stale snapshot, ratio", median(stale_ratios), "x")


@workload("iterate", FULL, LARGE)
def iterate(size: Size) -> Iterator[Outcome]:
    """``values()`` of an unchanged table beside ``list(dict.values())``; and the first time after a change."""
    rows = make_rows(size.rows)
    db, limit = filled(rows), Limit()
    limit.insert(rows)
    begun = timed(_loop_values, db.snapshot()[Rows])
    after: dict[str, list[float]] = {"replaced": [], "inserted": []}
    ratios, plain = [], []
    for number in rounds(size.repeats, "iterate"):
        for what, row in (("replaced", rows[0]), ("inserted", Row(f"pod-x{number}", "node", "identity"))):
            write_in(db, [msgspec.structs.replace(row, revision=number + 1)], 1)
            limit.rows[row.id] = msgspec.structs.replace(row, revision=number + 1)
            view = db.snapshot()[Rows]
            after[what].append(timed(_loop_values, view))
        plain.append(timed(_loop_plain, limit.rows))
        ratios.append(timed(_loop_values, view) / plain[-1])
    yield same(view.values(), [limit.rows[key] for key in sorted(limit.rows)], "rows come in key order")
    yield Figure("list(dict.values())", median(plain) / size.rows * 1e9, "ns/row")
    yield Figure("values() unchanged, ratio", median(ratios), "x", 3.0)
    yield Figure("values() the first time", begun / size.rows * 1e9, "ns/row")
    for what, seconds in after.items():
        yield Figure(f"values() after a row is {what}", median(seconds) / size.rows * 1e9, "ns/row")


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
    expected = [each if n % 2 == 0 else f"{each.rsplit('.', 1)[0]}.0/24" for n, each in enumerate(addresses)]
    yield same(map(index.longest, addresses), [(each,) for each in expected], "the address, or else its /24")
    seconds = median([timed(_each, index.longest, addresses) for _ in range(size.repeats)])
    yield Figure("longest", seconds / size.rows * 1e6, "us")
