"""Watches: what idle ones cost a commit, and how soon a waiter runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

from statedb import Database, Watch

from .harness import Figure, Outcome, Size, median, require, timed, workload
from .limit import Row, Rows, filled, make_rows

_COMMITS = 2000
_PAIRS = 15


@workload("watches")
def watches(size: Size) -> Iterator[Outcome]:
    """How much slower a commit of one row is with idle watches on other keys."""
    rows = make_rows(size.rows)
    for count in size.watches:
        target = 25.0 if count <= 10_000 else 35.0
        slower = _slower(rows, count, size, lambda db, n: db.snapshot()[Rows].watch(f"other-{n}"))
        yield Figure(f"{count} key watches", slower, "%", target)
        slower = _slower(rows, count, size, lambda db, n: db.snapshot()[Rows.by_node].watch(f"other-{n}"))
        yield Figure(f"{count} index watches", slower, "%", target)


def _slower(rows: list[Row], count: int, size: Size, ask: Callable[[Database, int], Watch]) -> float:
    """Median over interleaved pairs of commits without and with so many watches, in percent."""
    bare, watched = filled(rows), filled(rows)
    held = [ask(watched, number) for number in range(count)]
    commits = _COMMITS if size.repeats > 1 else 20
    pairs = []
    for number in range(_PAIRS if size.repeats > 1 else 1):
        seconds = timed(_commit_rows, bare, rows, commits, number + 1)
        pairs.append(timed(_commit_rows, watched, rows, commits, number + 1) / seconds)
    require(not any(watch.tripped for watch in held), "no watch on another key trips")
    return (median(pairs) - 1) * 100


def _commit_rows(db: Database, rows: list[Row], commits: int, revision: int) -> None:
    for number in range(commits):
        row = rows[number % len(rows)]
        with db.write(Rows) as txn:
            txn[Rows].insert(Row(row.id, row.node, row.identity, revision * commits + number))


@workload("wake")
def wake(size: Size) -> Iterator[Outcome]:
    """From the end of a commit's call to the waiter's next line, for a thread and for a task."""
    db = filled(make_rows(400))
    yield Figure("thread", median(_wake_threads(db, size.wakes)) * 1e6, "us", 60.0)
    yield Figure("task", median(_wake_tasks(db, size.wakes)) * 1e6, "us", 120.0)


def _write_one(db: Database, number: int) -> float:
    """Commit one row; the time just before the commit."""
    txn = db.write(Rows)
    txn[Rows].insert(Row("pod-0000001", "n", "i", number))
    started = time.perf_counter()
    txn.commit()
    return started


def _wake_threads(db: Database, count: int) -> list[float]:
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
