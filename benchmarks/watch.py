"""Watches: what idle ones cost a commit, and how soon a waiter runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

from statedb import Database, Watch

from .harness import Digest, Figure, Outcome, Size, digest, median, require, rounds, same, timed, workload
from .limit import Row, Rows, filled, make_rows

_COMMITS = 2000
_PAIRS = 15


@workload("watches")
def watches(size: Size) -> Iterator[Outcome]:
    """How much slower a commit of one row is with idle watches on other keys."""
    rows = make_rows(size.rows)
    sorts: dict[str, Callable[[Database, int], Watch]] = {
        "key": lambda db, n: db.snapshot()[Rows].watch(f"other-{n}"),
        "index": lambda db, n: db.snapshot()[Rows.by_node].watch(f"other-{n}"),
    }
    for count in size.watches:
        target = 25.0 if count <= 10_000 else 35.0
        for name, ask in sorts.items():
            slower, found = _slower(rows, count, size, ask)
            yield Figure(f"{count} {name} watches", slower, "%", target)
            yield found
    yield Figure("none on either side: the noise", _slower(rows, 0, size, sorts["key"])[0], "%")


def _slower(rows: list[Row], count: int, size: Size, ask: Callable[[Database, int], Watch]) -> tuple[float, Digest]:
    """Median over interleaved pairs of commits without and with so many watches, in percent; what the commits left."""
    bare, watched = filled(rows), filled(rows)
    held = [ask(watched, number) for number in range(count)]
    commits = _COMMITS if size.repeats > 1 else 20
    pairs = []
    for number in rounds(_PAIRS if size.repeats > 1 else 1, f"{count} watches"):
        seconds = dict.fromkeys((bare, watched), 0.0)
        for db in (bare, watched) if number % 2 else (watched, bare):  # whoever is first has no advantage
            seconds[db] = timed(_commit_rows, db, rows, commits, number + 1)
        pairs.append(seconds[watched] / seconds[bare])
    require(not any(watch.tripped for watch in held), "no watch on another key trips")
    found = same(watched.snapshot()[Rows].values(), bare.snapshot()[Rows].values(), "watches change no row")
    return (median(pairs) - 1) * 100, found


def _commit_rows(db: Database, rows: list[Row], commits: int, revision: int) -> None:
    for number in range(commits):
        row = rows[number % len(rows)]
        with db.write(Rows) as txn:
            txn[Rows].insert(Row(row.id, row.node, row.identity, revision * commits + number))


@workload("wake")
def wake(size: Size) -> Iterator[Outcome]:
    """From the call of ``commit`` to the waiter's next line, for a thread and for a task; the commit is part of it."""
    db = filled(make_rows(400))
    yield Figure("thread", median(wake_threads(db, size.wakes)) * 1e6, "us", 60.0)
    yield Figure("task", median(_wake_tasks(db, size.wakes)) * 1e6, "us", 120.0)
    yield digest([db.snapshot()[Rows]["pod-0000001"]])


def _write_one(db: Database, number: int) -> float:
    """Commit one row; the time just before the call of ``commit``, so that the commit is part of the figure."""
    txn = db.write(Rows)
    txn[Rows].insert(Row("pod-0000001", "n", "i", number))
    started = time.perf_counter()
    txn.commit()
    return started


def wake_threads(db: Database, count: int) -> list[float]:
    """Seconds from the call of ``commit`` to the next line of a thread that waits for the row, so many times."""
    woken: list[float] = []
    waiting, done = threading.Semaphore(0), threading.Semaphore(0)

    def wait() -> None:
        for _ in range(count):
            watch = db.snapshot()[Rows].watch("pod-0000001")
            waiting.release()
            watch.wait()
            woken.append(time.perf_counter())
            done.release()

    thread = threading.Thread(target=wait)
    thread.start()
    started = []
    for number in range(count):
        waiting.acquire()
        time.sleep(0.001)  # until it waits indeed: this is a measurement, not a synchronisation
        started.append(_write_one(db, number))
        done.acquire()
    thread.join()
    return [after - before for before, after in zip(started, woken)]


def _wake_tasks(db: Database, count: int) -> list[float]:
    woken: list[float] = []
    waiting, done = threading.Semaphore(0), threading.Semaphore(0)

    async def wait() -> None:
        for _ in range(count):
            watch = db.snapshot()[Rows].watch("pod-0000001")
            waiting.release()
            await watch
            woken.append(time.perf_counter())
            done.release()

    thread = threading.Thread(target=lambda: asyncio.run(wait()))
    thread.start()
    started = []
    for number in range(count):
        waiting.acquire()
        time.sleep(0.001)
        started.append(_write_one(db, 1_000_000 + number))
        done.acquire()
    thread.join()
    return [after - before for before, after in zip(started, woken)]
