"""Our engine at the tasks that the Go original does too. Knows nothing of the Go program."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from statedb import ChangeStream, Database, Snapshot, TableView

from .gotasks import Done, Task, Work, digest_of, done, lines_of
from .harness import require, timed
from .limit import OtherRows, Row, Rows, changes_of, delete_in, filled, make_rows, moved, write_at_once, write_in
from .read import Addresses
from .stores import Engine, Names, make_names
from .together import at_once, fill, operations
from .watch import wake_threads


class Ours:
    """Our engine at the tasks."""

    def __init__(self, work: Work) -> None:
        """Empty tables."""
        self._work = work
        self._rows, self._networks = Database(Rows), Database(Addresses)

    def do(self, task: Task) -> Done:
        """Do a task, and say what it took and gave."""
        work = self._work
        match task.kind:
            case "insert" | "insert in order":
                self._rows = Database(Rows)
                return self._write(task)
            case "replace" | "move":
                return self._write(task)
            case "delete":
                return self._delete(task)
            case "get":
                return self._get(task, work.keys)
            case "miss":
                return self._get(task, [f"{key}-not" for key in work.keys])
            case "get by name":
                return self._get_by_name(task)
            case "get old":
                snapshot = self._old(task)
                return self._get(task, work.keys, snapshot)
            case "list old":
                snapshot = self._old(task)
                return self._list(task, snapshot[Rows.by_node].get, {row.node for row in work.rows})
            case "prefix":
                find = self._rows.snapshot()[Rows].prefix
                return self._list(task, find, {key[:-2] for key in work.keys})
            case "snapshot":
                return done(task, timed(_take_snapshots, self._rows, len(work.rows)), len(work.rows), self._all())
            case "empty commit":
                return done(task, timed(_commit_nothing, self._rows, len(work.rows)), len(work.rows), self._all())
            case "follow":
                return self._follow(task)
            case "together":
                return self._together(task)
            case "list by node":
                by_node = self._rows.snapshot()[Rows.by_node]
                return self._list(task, by_node.get, {row.node for row in work.rows})
            case "list by identity":
                by_identity = self._rows.snapshot()[Rows.by_identity]
                return self._list(task, by_identity.get, {row.identity for row in work.rows})
            case "iterate":
                view = self._rows.snapshot()[Rows]
                seconds = timed(_iterate, view)
                return done(task, seconds, len(work.rows), lines_of(view.values()))
            case "changes":
                return self._changes(task)
            case "insert prefixes":
                return self._insert_prefixes(task)
            case "longest":
                return self._longest(task, [socket.inet_aton(each) for each in work.addresses])
            case "longest of text":
                return self._longest(task, work.addresses)
            case "wake":
                db = filled(make_rows(400))
                samples = [seconds * 1e9 for seconds in wake_threads(db, work.wakes)]
                return Done(task.name, samples, digest_of(lines_of([db.snapshot()[Rows]["pod-0000001"]])))
        raise AssertionError(f"there is no task {task.kind!r}")

    def _write(self, task: Task) -> Done:
        in_order = task.kind == "insert in order"
        rows = make_rows(len(self._work.rows), task.revision, scattered=in_order)
        if in_order:
            rows.sort(key=lambda row: row.id)
        if task.kind == "move":
            rows = moved(rows, task.revision)
        seconds = timed(write_at_once if task.bulk else write_in, self._rows, rows, task.batch)
        return done(task, seconds, len(rows), self._all())

    def _all(self) -> Iterator[str]:
        """The rows by key, looked up one by one: nothing is sorted by it before the first ordered reader comes."""
        view = self._rows.snapshot()[Rows]
        require(len(view) == len(self._work.rows), "no row is there twice")
        return lines_of(map(view.__getitem__, self._work.sorted_keys))

    def _delete(self, task: Task) -> Done:
        """Nine of ten rows of a new table."""
        db = filled(make_rows(len(self._work.rows), task.revision))
        keys = [key for number, key in enumerate(self._work.keys) if number % 10]
        seconds = timed(delete_in, db, keys, task.batch)
        return done(task, seconds, len(keys), lines_of(db.snapshot()[Rows].values()))

    def _get(self, task: Task, keys: list[str], snapshot: Snapshot | None = None) -> Done:
        view = (snapshot or self._rows.snapshot())[Rows]
        seconds = timed(_get_each, view.get, keys)
        return done(task, seconds, len(keys), lines_of(row for key in keys if (row := view.get(key)) is not None))

    def _get_by_name(self, task: Task) -> Done:
        """Rows of two unique keys, in a table of their own."""
        store, rows = Engine(), make_names(self._work.rows)
        store.write_names(rows)
        find, names = store.db.snapshot()[Names.by_name].get, [row.name for row in rows]
        seconds = timed(_get_each, find, names)
        return done(task, seconds, len(names), [row.id for name in names if (row := find(name)) is not None])

    def _old(self, task: Task) -> Snapshot:
        """A snapshot of a new table that transactions of one row come after."""
        count = len(self._work.rows)
        db = filled(make_rows(count))
        snapshot = db.snapshot()
        for changed in changes_of(count, task.age):
            write_in(db, changed, 1)
        return snapshot

    def _list(self, task: Task, find: Callable[[str], Iterable[Row]], among: set[str]) -> Done:
        keys = sorted(among)
        seconds = timed(_iterate_each, find, keys)
        return done(task, seconds, len(self._work.rows), lines_of(row for key in keys for row in find(key)))

    def _changes(self, task: Task) -> Done:
        """Drain a stream that was opened before all rows were inserted."""
        db, taken = Database(Rows), list[Row]()
        with db.changes(Rows) as stream:
            write_in(db, make_rows(len(self._work.rows), task.revision), task.batch)
            seconds = timed(lambda: taken.extend([change.row for change in stream.next(0) or ()]))
        return done(task, seconds, len(self._work.rows), lines_of(sorted(taken, key=lambda row: row.id)))

    def _follow(self, task: Task) -> Done:
        """One thread writes and another folds the changes into a dict, until it has all rows."""
        db, folded = Database(Rows), dict[str, Row]()
        rows = make_rows(len(self._work.rows), task.revision)

        def fold(stream: ChangeStream[str, Row]) -> None:
            for batch in stream:
                for change in batch:
                    folded[change.row.id] = change.row
                if len(folded) == len(rows):
                    return

        def write_and_fold(stream: ChangeStream[str, Row]) -> None:
            follower = threading.Thread(target=fold, args=(stream,))
            follower.start()
            write_in(db, rows, task.batch)
            follower.join()

        with db.changes(Rows) as stream:
            seconds = timed(write_and_fold, stream)
        return done(task, seconds, len(rows), lines_of(folded[key] for key in sorted(folded)))

    def _together(self, task: Task) -> Done:
        first = Engine()
        tables = [first, Engine(first.db, OtherRows)][: task.batch]
        rows = make_rows(len(self._work.rows), task.revision)
        fill(tables, self._work.rows)
        seconds = timed(at_once, tables, rows)
        left = sorted((row for table in tables for row in table.iterate()), key=lambda row: row.id)
        return done(task, seconds, operations(len(rows)), lines_of(left))

    def _insert_prefixes(self, task: Task) -> Done:
        self._networks = Database(Addresses)
        networks = ["".join(each) for each in self._work.networks]
        seconds = timed(_insert_texts, self._networks, networks, task.batch)
        return done(task, seconds, len(networks), self._networks.snapshot()[Addresses].values())

    def _longest(self, task: Task, addresses: Sequence[str] | Sequence[bytes]) -> Done:
        find: Callable[[Any], tuple[str, ...]] = self._networks.snapshot()[Addresses.by_network].longest
        seconds = timed(_iterate_each, find, addresses)
        return done(task, seconds, len(addresses), [row for address in addresses for row in find(address)])


def _get_each(find: Callable[[str], Any], keys: list[str]) -> None:
    for key in keys:
        find(key)


def _take_snapshots(db: Database, count: int) -> None:
    for _ in range(count):
        db.snapshot()


def _commit_nothing(db: Database, count: int) -> None:
    for _ in range(count):
        with db.write(Rows):
            pass


def _iterate_each(find: Callable[[Any], Iterable[Any]], keys: Iterable[Any]) -> None:
    for key in keys:
        for _ in find(key):
            pass


def _iterate(view: TableView[str, Row]) -> None:
    for _ in view.values():
        pass


def _insert_texts(db: Database, rows: list[str], batch: int) -> None:
    for start in range(0, len(rows), batch):
        with db.write(Addresses) as txn:
            writer = txn[Addresses]
            for row in rows[start : start + batch]:
                writer.insert(row)
