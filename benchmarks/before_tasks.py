"""What is timed of the store before and after it was rewritten, in a process for each.

Uses what both have; where the newer one has a shorter way, that is what is timed. Reads the name of a task from each
line of its input, and answers with seconds (or bytes) as JSON. Its own process, because both are the package `statedb`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from statedb import Database

from .limit import Row, Rows, make_rows

_MANY = 1_000_000
_STATM = Path("/proc/self/statm")


def changed(rows: list[Row]) -> list[Row]:
    """The same keys and index keys with other values: new objects, as from a decoder."""
    return [Row(row.id, row.node, row.identity, row.revision + 1) for row in rows]


def moved(rows: list[Row], turn: int) -> list[Row]:
    """The same keys under other index keys."""
    return [Row(row.id, f"node-{turn}-{number % 1000}", row.identity, turn) for number, row in enumerate(rows)]


def filled(rows: list[Row]) -> Database:
    """A database of these rows."""
    db = Database(Rows)
    write(db, rows, len(rows) or 1)
    return db


def write(db: Database, rows: list[Row], batch: int) -> None:
    """Insert or replace, in transactions of so many."""
    for start in range(0, len(rows), batch):
        with db.write(Rows) as txn:
            txn[Rows].insert_all(rows[start : start + batch])


def insert(db: Database, rows: list[Row], batch: int) -> None:
    """Row by row, in transactions of so many."""
    for start in range(0, len(rows), batch):
        with db.write(Rows) as txn:
            for row in rows[start : start + batch]:
                txn[Rows].insert(row)


def timed(work: Callable[[], Any], count: int) -> float:
    """Seconds of the processor for each of so many: what else runs on the machine counts for less than on the clock."""
    gc.collect()
    began = time.process_time()
    work()
    return (time.process_time() - began) / count


class Tasks:
    """Each public method is a task; it gives seconds for each row, call or question, or bytes."""

    def __init__(self, count: int, many: int) -> None:
        """``count`` rows, and ``many`` for what is about large tables."""
        self.rows = make_rows(count)
        self.count = count
        self.many = many
        self.some = [row.id for row in self.rows[: max(1, count // 8)]]
        self._large: Database | None = None
        self._kept: Database | None = None

    # -- one row by itself -----------------------------------------------------------------------------------

    def _alone(self, db: Database, rows: list[Row]) -> float:
        def work() -> None:
            alone: Any = getattr(db, "insert", None)
            for row in rows:
                if alone is not None:
                    alone(Rows, row)
                else:
                    with db.write(Rows) as txn:
                        txn[Rows].insert(row)

        return timed(work, len(rows))

    def replace_one(self) -> float:
        return self._alone(filled(self.rows), changed(self.rows[: self.count // 4]))

    def insert_one(self) -> float:
        part = self.count // 4
        return self._alone(filled(self.rows[part:]), make_rows(self.count)[:part])

    # -- reading ---------------------------------------------------------------------------------------------

    def snapshot(self) -> float:
        db = filled(self.rows)
        return timed(lambda: [None for _ in range(self.count) if db.snapshot() is None], self.count)

    def get(self) -> float:
        view = filled(self.rows).snapshot()[Rows]
        keys = [row.id for row in make_rows(self.count)]
        return timed(lambda: [view.get(key) for key in keys], self.count)

    def miss(self) -> float:
        view = filled(self.rows).snapshot()[Rows]
        keys = [f"{row.id}x" for row in self.rows]
        return timed(lambda: [view.get(key) for key in keys], self.count)

    def list_by_node(self) -> float:
        view, nodes = filled(self.rows).snapshot()[Rows.by_node], sorted({row.node for row in self.rows})
        for node in nodes:
            len(view[node])
        return timed(lambda: [list(view[node]) for _ in range(8) for node in nodes], 8 * len(nodes))

    def order_first(self) -> float:
        db = filled(self.rows)
        return timed(lambda: list(db.snapshot()[Rows].values()), self.count)

    def order_after_one(self) -> float:
        db = filled(self.rows)
        list(db.snapshot()[Rows].values())
        write(db, changed(self.rows[:1]), 1)
        return timed(lambda: list(db.snapshot()[Rows].values()), self.count)

    def order_old_again(self) -> float:
        db = filled(self.rows)
        old = db.snapshot()
        list(old[Rows].values())
        write(db, changed(self.rows[:1]), 1)
        list(old[Rows].values())
        return timed(lambda: list(old[Rows].values()), self.count)

    def prefix(self) -> float:
        view = filled(self.rows).snapshot()[Rows]
        list(view.values())
        prefixes = [f"pod-{number:05d}" for number in range(max(1, self.count // 100))]
        view.prefix(prefixes[0])
        return timed(lambda: [view.prefix(prefix) for prefix in prefixes], self.count)

    def staged_order(self) -> float:
        db = filled(self.rows)
        list(db.snapshot()[Rows].values())
        with db.write(Rows) as txn:
            txn[Rows].insert(changed(self.rows[:1])[0])
            list(txn[Rows].values())
            return timed(lambda: list(txn[Rows].values()), self.count)

    def changes_at_once(self) -> float:
        db = filled(self.rows)
        with db.changes(Rows) as stream:
            return timed(lambda: list(stream.next() or ()), self.count)

    def _old(self, age: int) -> Any:
        db = filled(self.rows)
        old = db.snapshot()
        again = changed(self.rows)
        for number in range(age):
            write(db, [again[number % self.count]], 1)
        self._kept = db
        return old

    def _get_old(self, age: int) -> float:
        view, keys = self._old(age)[Rows], self.some
        for key in keys:
            view.get(key)
        return timed(lambda: [view.get(key) for key in keys], len(keys))

    def get_1_old(self) -> float:
        return self._get_old(1)

    def get_100_old(self) -> float:
        return self._get_old(100)

    def get_10000_old(self) -> float:
        return self._get_old(10_000)

    def _list_old(self, age: int) -> float:
        view, nodes = self._old(age)[Rows.by_node], sorted({row.node for row in self.rows})
        for node in nodes:
            len(view[node])
        return timed(lambda: [view[node] for _ in range(4) for node in nodes], 4 * len(nodes))

    def list_1_old(self) -> float:
        return self._list_old(1)

    def list_100_old(self) -> float:
        return self._list_old(100)

    def list_10000_old(self) -> float:
        return self._list_old(10_000)

    def _snapshots(self) -> list[Any]:
        """Two thousand, with a commit of twenty rows after each."""
        db, kept = filled(self.rows), list[Any]()
        self._kept = db
        again = changed(self.rows)
        for number in range(2000):
            kept.append(db.snapshot())
            start = number * 20 % self.count
            write(db, again[start : start + 20], 20)
        return kept

    def read_2000_snapshots(self) -> float:
        kept, key = self._snapshots(), self.rows[5].id
        return timed(lambda: [each[Rows].get(key) for each in kept], len(kept))

    def _bytes_of_snapshots(self, times: int) -> float:
        kept, before = self._snapshots(), resident()
        for each in kept:
            view = each[Rows]
            for row in self.rows[:times]:
                view.get(row.id)
        return max(0, resident() - before)

    def bytes_of_2000_snapshots(self) -> float:
        return self._bytes_of_snapshots(1)

    def bytes_of_2000_snapshots_read_often(self) -> float:
        return self._bytes_of_snapshots(100)

    # -- writing ---------------------------------------------------------------------------------------------

    def moves_100(self) -> float:
        db, rows = filled(self.rows), moved(self.rows, 1)
        return timed(lambda: insert(db, rows, 100), self.count)

    def moves_1000(self) -> float:
        db, rows = filled(self.rows), moved(self.rows, 1)
        return timed(lambda: insert(db, rows, 1000), self.count)

    def insert_1000(self) -> float:
        db, rows = Database(Rows), make_rows(self.count)
        return timed(lambda: write(db, rows, 1000), self.count)

    def delete_1000(self) -> float:
        db, keys = filled(self.rows), [row.id for row in make_rows(self.count)]

        def work() -> None:
            for start in range(0, len(keys), 1000):
                with db.write(Rows) as txn:
                    for key in keys[start : start + 1000]:
                        txn[Rows].delete(key)

        return timed(work, self.count)

    def watch(self) -> float:
        view = filled(self.rows).snapshot()[Rows]
        kept: list[Any] = []
        return timed(lambda: kept.extend([view.watch(row.id) for row in self.rows]), self.count)

    def commit_alone(self) -> float:
        db, rows = filled(self.rows), changed(self.rows[: self.count // 4])
        return timed(lambda: insert(db, rows, 1), len(rows))

    def commit_beside_a_stream(self) -> float:
        db, rows = filled(self.rows), changed(self.rows[: self.count // 4])
        with db.changes(Rows) as stream:
            stream.next()
            return timed(lambda: insert(db, rows, 1), len(rows))

    def bytes_of_a_row(self) -> float:
        before = resident()
        db = Database(Rows)
        write(db, make_rows(self.count), 1000)
        grown = resident() - before
        assert len(db.snapshot()[Rows]) == self.count
        return max(1.0, grown / self.count)

    # -- a million rows --------------------------------------------------------------------------------------

    def _million(self) -> Database:
        if self._large is None:
            self._large = filled(make_rows(self.many))
        return self._large

    def million_replace(self) -> float:
        db, rows = self._million(), make_rows(self.many, 1)
        return timed(lambda: insert(db, rows, self.many), self.many)

    def million_range(self) -> float:
        view = self._million().snapshot()[Rows.by_identity]
        view.range("identity-000100", limit=10)
        return timed(lambda: [view.range("identity-000100", limit=10) for _ in range(20)], 20)

    def million_in(self) -> float:
        view = self._million().snapshot()[Rows.by_node]
        "node-00001" in view  # noqa: B015  # the first time
        return timed(lambda: ["node-00001" in view for _ in range(5)], 5)

    def million_clear(self) -> float:
        db, self._large = self._million(), None

        def work() -> None:
            with db.write(Rows) as txn:
                txn[Rows].clear()

        return timed(work, self.many)

    def million_insert(self) -> float:
        db, rows = Database(Rows), make_rows(self.many)
        return timed(lambda: insert(db, rows, self.many), self.many)

    def one_key(self) -> float:
        """Insert one row under an index key that has them all, and list the first ten."""
        db = Database(Rows)
        write(db, [Row(f"pod-{number:07d}", "node", f"identity-{number}") for number in range(self.many)], self.many)

        def work(number: int) -> list[Any]:
            write(db, [Row(f"pod-{number:07d}x", "node", "identity")], 1)
            return list(db.snapshot()[Rows.by_node].range("node", limit=10))

        work(0)
        return timed(lambda: [work(number) for number in range(1, 4)], 3)


def resident() -> int:
    """Bytes of this process after a collection."""
    gc.collect()
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def names() -> Iterator[str]:
    """All tasks."""
    return (name for name in vars(Tasks) if not name.startswith("_"))


def main() -> None:
    tasks = Tasks(int(sys.argv[1]), int(sys.argv[2]))
    for line in sys.stdin:
        print(json.dumps(getattr(tasks, line.strip())()), flush=True)


if __name__ == "__main__":
    main()
