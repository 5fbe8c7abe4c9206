"""What a child process can do with the databases of its parent, whose other threads are not there."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from statedb import ChangeStream, Database, WatchSet
from statedb.engine import commit
from statedb.engine.commit import CommitPlan
from statedb.engine.reserve import ABORTED, Holder, Reservation
from statedb.engine.store import TableStore
from statedb.engine.transaction import ObservedTransaction, WriteTransaction
from statedb.engine.wakers import ThreadWaker

from ._helpers import Interrupted, Lines, in_a_thread, in_the_gap
from .tables import Account, Accounts, Pod, Pods, database, names, put

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def fork() -> int:
    """As ``os.fork``. The child ends after a minute, whatever it waits for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of what this file is about
        child = os.fork()
    if not child:
        guard = threading.Timer(60, os._exit, (2,))
        guard.daemon = True
        guard.start()
    return child


def go_on_in_a_child() -> None:
    """Fork, return in the child, and end this process as the child ends. Use it only within ``in_a_child``."""
    child = fork()
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def in_a_child(action: Callable[[], Any], traced: Lines | None = None) -> None:
    """Run something in a child process, forked while the engine's lines are traced; AssertionError where it raises, or
    does not end.
    """
    child = fork() if traced is None else traced.run(fork)
    if not child:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child failed: see its traceback"


class Stopped:
    """A thread that is stopped in the middle of something until the end of the block."""

    def __init__(self, run: Callable[[Callable[[], None]], Any]) -> None:
        self._there, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=run, args=(self._stop,))

    def _stop(self) -> None:
        self._there.set()
        assert self._go.wait(60)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._there.wait(60)

    def __exit__(self, *_: object) -> None:
        self._go.set()
        self._thread.join()


def check_all(db: Database, expected: list[str]) -> None:
    """The child reads, writes, follows and watches."""
    assert names(db.snapshot()[Pods].values()) == expected
    stream = db.changes(Pods)
    stream.next(timeout=0)
    watch = db.snapshot()[Pods].watch("z")
    put(db, Pod("z", address="9"))
    assert watch.tripped
    batch = stream.next(timeout=0)
    assert batch is not None
    assert "z" in names([change.row for change in batch])
    assert names(db.snapshot()[Pods].values()) == [*expected, "z"]
    assert names(db.snapshot()[Pods.by_node]["n1"]) == [*expected, "z"]
    db.check()


def test_a_transaction_of_a_thread_that_is_not_there_is_aborted_in_the_child():
    db = database(Pod("a"))

    def write(stop: Callable[[], None]) -> None:
        with db.write(Pods, Accounts) as txn:
            txn[Pods].insert(Pod("b"))
            txn[Accounts].insert(Account(1))
            stop()

    with Stopped(write):
        in_a_child(partial(check_all, db, ["a"]))
    assert names(db.snapshot()[Pods].values()) == ["a", "b"]


@pytest.mark.parametrize(
    ("function", "text", "expected"),
    [
        (CommitPlan.finish, "self.closed = COMMITTED", ["a", "b"]),
        (TableStore.apply, "rows, revisions = self.rows, self.revisions", ["a", "b"]),
        (TableStore.apply, "self.replaced.append", ["a", "b"]),
        (CommitPlan._publish, "with root.lock:", ["a", "b"]),
        (CommitPlan._publish, "if root.pins is seen:", ["a", "b"]),
        (CommitPlan.finish, "reservation = store.reservation", ["a", "b"]),
    ],
)
def test_a_commit_that_was_half_done_is_finished_in_the_child(function, text, expected):
    """The reads of the child come before its write: they are right at every point."""
    db = database(Pod("a"))

    def write(stop: Callable[[], None]) -> None:
        in_the_gap(function, text, stop, lambda: put(db, Pod("b")))

    def look() -> None:
        seen = names(db.snapshot()[Pods].values())
        assert seen in (["a"], expected)
        with db.write(Pods, timeout=30):
            pass
        check_all(db, expected)

    with Stopped(write):
        in_a_child(look)
    assert names(db.snapshot()[Pods].values()) == ["a", "b"]


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (CommitPlan._publish, "if root.pins is seen:"),
        (CommitPlan.finish, "reservation = store.reservation"),
        (CommitPlan.finish, "_trip(part, self._wakers)"),
        (CommitPlan.finish, "if self._wakers:"),
    ],
)
def test_a_watch_that_the_thread_of_a_commit_did_not_trip_any_more_trips_in_the_child(function, text):
    """Also where the tables are free already, and the child never writes them."""
    db = database(Pod("a"))
    concerned, unconcerned = db.snapshot()[Pods].watch("b"), db.snapshot()[Pods].watch("c")

    def write(stop: Callable[[], None]) -> None:
        in_the_gap(function, text, stop, lambda: put(db, Pod("b")))

    def look() -> None:
        assert concerned.wait(timeout=0)
        assert not unconcerned.tripped
        check_all(db, ["a", "b"])
        assert not commit._TRIPPING

    with Stopped(write):
        in_a_child(look)
    assert concerned.tripped
    assert not commit._TRIPPING


def test_a_watch_trips_in_the_child_of_a_fork_between_an_exception_in_a_commit_and_its_next_attempt(monkeypatch):
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("b")
    finish = CommitPlan.finish

    def write(stop: Callable[[], None]) -> None:
        def again(plan: CommitPlan) -> None:
            stop()
            finish(plan)

        def interrupt() -> None:
            monkeypatch.setattr(CommitPlan, "finish", again)
            raise Interrupted

        with pytest.raises(Interrupted):
            in_the_gap(finish, "_trip(part, self._wakers)", interrupt, lambda: put(db, Pod("b")))

    def look() -> None:
        assert watch.wait(timeout=0)
        check_all(db, ["a", "b"])

    with Stopped(write):
        monkeypatch.undo()
        in_a_child(look)
    assert watch.tripped
    assert not commit._TRIPPING


def hold(stop: Callable[[], None], db: Database) -> None:
    with db.write(Pods, Accounts) as txn:
        txn[Pods].insert(Pod("b"))
        stop()


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (hold, ["a"]),
        *[
            (lambda stop, db, gap=gap: in_the_gap(*gap, stop, lambda: put(db, Pod("b"))), ["a", "b"])
            for gap in (
                (TableStore.apply, "self.replaced.append"),
                (CommitPlan._publish, "if root.pins is seen:"),
                (CommitPlan.finish, "_trip(part, self._wakers)"),
            )
        ],
    ],
    ids=["open", "half done", "with the lock", "without its tables"],
)
@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.stress)])
def test_an_exception_in_the_repair_keeps_nothing_of_a_thread_that_is_not_there(monkeypatch, stride, write, expected):
    """Ctrl-C goes to the child as well; Python only reports what is raised there."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("b")

    def look(breaking: Lines) -> None:
        assert breaking.broken
        assert watch.wait(timeout=0) == ("b" in expected), breaking.broken
        check_all(db, expected)
        assert not commit._TRIPPING, breaking.broken

    with Stopped(lambda stop: write(stop, db)):
        reading, writing = os.pipe()
        counting = Lines()
        in_a_child(lambda: os.write(writing, str(counting.seen).encode()), counting)
        lines = int(os.read(reading, 99))
        os.close(reading)
        os.close(writing)
        assert lines > 50
        for at in range(0, lines, stride):
            breaking = Lines(at)
            in_a_child(partial(look, breaking), breaking)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (Holder.decide, "self.closed = decided"),
        (Holder.decide, "return decided"),
        (WriteTransaction._release_tables, "for writer in list"),
        (WriteTransaction._release_tables, "store.reservation.release(plan)"),
    ],
)
def test_the_tables_of_a_transaction_that_another_thread_was_aborting_are_free_in_the_child(function, text):
    db = database(Pod("a"))
    txn = db.write(Pods, Accounts)
    txn[Pods].insert(Pod("b"))

    def abort(stop: Callable[[], None]) -> None:
        in_the_gap(function, text, stop, txn.abort)

    def look() -> None:
        with db.write(Pods, Accounts, timeout=30):
            pass
        check_all(db, ["a"])

    with Stopped(abort):
        in_a_child(look)
    with db.write(Pods, Accounts, timeout=30):
        pass


@pytest.mark.parametrize("text", ["if not plan.decide", "for store in plan.reserved"])
def test_a_thread_that_forks_while_it_aborts_goes_on_in_the_child(text):
    def run() -> None:
        db = database(Pod("a"))
        txn = db.write(Pods, Accounts)
        in_the_gap(WriteTransaction._release_tables, text, go_on_in_a_child, txn.abort)
        check_all(db, ["a"])

    in_a_child(run)


@pytest.mark.parametrize("text", ["if self.holder.get(HOLDER) is holder:", "del self.holder[HOLDER]"])
def test_a_thread_that_forks_while_it_frees_a_table_goes_on_in_the_child(text):
    def run() -> None:
        db = database(Pod("a"))
        txn = db.write(Pods)
        in_the_gap(Reservation.release, text, go_on_in_a_child, txn.abort)
        check_all(db, ["a"])

    in_a_child(run)


@pytest.mark.parametrize("text", ["for writer in list", "store.reservation.release(plan)"])
def test_tables_that_another_thread_was_freeing_after_a_broken_abort_are_free_in_the_child(monkeypatch, text):
    db = database(Pod("a"))
    txn = db.write(Pods, Accounts)
    txn[Pods].insert(Pod("b"))

    def broken(txn: WriteTransaction, _: list[int]) -> None:
        txn._plan.decide(ABORTED)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(WriteTransaction, "_release_tables", broken)
        with pytest.raises(Interrupted):
            txn.abort()

    def write(stop: Callable[[], None]) -> None:
        in_the_gap(WriteTransaction._release_tables, text, stop, lambda: put(db, Pod("c")))

    def look() -> None:
        with db.write(Accounts, Pods):
            pass
        check_all(db, ["a"])

    with Stopped(write):
        in_a_child(look)
    assert names(db.snapshot()[Pods].values()) == ["a", "c"]


@pytest.mark.parametrize(
    "text", ["self._publish(parts)", "del reservation.holder[HOLDER]", "_trip(part, self._wakers)"]
)
def test_a_torn_commit_that_another_thread_was_finishing_is_finished_in_the_child(monkeypatch, text):
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("b")
    finish = CommitPlan.finish

    def interrupt() -> None:
        raise Interrupted

    def broken(plan: CommitPlan) -> None:
        in_the_gap(finish, "self._publish(parts)", interrupt, lambda: finish(plan))

    with monkeypatch.context() as patch:
        patch.setattr(CommitPlan, "finish", broken)
        with pytest.raises(Interrupted):
            put(db, Pod("b"))

    def write(stop: Callable[[], None]) -> None:
        in_the_gap(finish, text, stop, lambda: put(db, Pod("c")))

    def look() -> None:
        with db.write(Pods):
            pass
        assert watch.tripped
        check_all(db, ["a", "b"])
        assert [store.unfinished for store in db._stores.values()] == [None, None]
        assert not commit._TRIPPING

    with Stopped(write):
        in_a_child(look)
    assert names(db.snapshot()[Pods].values()) == ["a", "b", "c"]


@pytest.mark.parametrize("text", ["if reservation.holder.get(HOLDER) is self", "del reservation.holder[HOLDER]"])
def test_a_thread_that_forks_while_it_finishes_the_torn_commit_of_another_goes_on_in_the_child(monkeypatch, text):
    finish = CommitPlan.finish

    def interrupt() -> None:
        raise Interrupted

    def broken(plan: CommitPlan) -> None:
        in_the_gap(finish, "for store in self.reserved", interrupt, lambda: finish(plan))

    def run() -> None:
        db = database(Pod("a"))
        monkeypatch.setattr(CommitPlan, "finish", broken)
        with pytest.raises(Interrupted):
            in_a_thread(lambda: put(db, Pod("b")))
        monkeypatch.undo()
        in_the_gap(finish, text, go_on_in_a_child, lambda: put(db, Pod("c")))
        check_all(db, ["a", "b", "c"])

    in_a_child(run)


def test_a_transaction_of_the_thread_that_forks_goes_on_in_the_child_and_in_its_child():
    def run() -> None:
        db = database(Pod("a"))
        with db.write(Pods) as txn:
            go_on_in_a_child()
            txn[Pods].insert(Pod("b"))
            go_on_in_a_child()
            txn[Pods].insert(Pod("c"))
        check_all(db, ["a", "b", "c"])

    in_a_child(run)


@pytest.mark.parametrize(
    ("function", "text", "act", "lock"),
    [
        (WatchSet.add, "for watch in watches", lambda db, watches: watches.add(), lambda db, watches: watches._lock),
        (Database.register, "if table in", lambda db, _: db.register(Pods), lambda db, _: db._lock),
        (CommitPlan._publish, "if root.pins is", lambda db, _: put(db, Pod("b")), lambda db, _: db._root.lock),
        (
            CommitPlan.finish_torn,
            "self.closed = ABORTED",
            lambda *_: CommitPlan(()).finish_torn(),
            lambda *_: commit._TORN,
        ),
    ],
    ids=["watch set", "database", "root", "torn commits"],
)
def test_a_lock_that_the_thread_that_forks_holds_stays_its_own_in_the_child(function, text, act, lock):
    def run() -> None:
        db, watches = database(Pod("a")), WatchSet()

        def handle() -> None:
            go_on_in_a_child()
            assert not in_a_thread(lambda: lock(db, watches).acquire(blocking=False))

        in_the_gap(function, text, handle, lambda: act(db, watches))
        assert in_a_thread(lambda: lock(db, watches).acquire(blocking=False))

    in_a_child(run)


class Slow(str):
    """A key whose comparison stops."""

    __slots__ = ()
    stop: Callable[[], None] | None = None

    def __lt__(self, other: str) -> bool:
        stop, Slow.stop = Slow.stop, None
        if stop is not None:
            stop()
        return str.__lt__(self, other)

    __hash__ = str.__hash__


@pytest.mark.parametrize("read", [lambda pods: list(pods), lambda pods: pods.range("a", "c")], ids=["list", "order"])
def test_a_reader_that_held_an_order_does_not_lock_it_in_the_child(read):
    db = database(Pod(Slow("b")), Pod(Slow("a")))

    def sort(stop: Callable[[], None]) -> None:
        Slow.stop = stop
        read(db.snapshot()[Pods])

    def look() -> None:
        assert names(db.snapshot()[Pods].range()) == ["a", "b"]
        assert list(db.snapshot()[Pods]) == ["a", "b"]
        db.check()

    with Stopped(sort):
        in_a_child(look)


@pytest.mark.parametrize("read", [lambda pods: pods.values(), lambda pods: pods.range("a", "d")], ids=["list", "order"])
def test_a_reader_that_forks_while_it_holds_an_order_goes_on_in_the_child(read):
    """What is read meanwhile, in the handler that forked, is no order for later reads."""

    def run() -> None:
        db = database(Pod(Slow("b")), Pod(Slow("a")))

        def handle() -> None:
            go_on_in_a_child()
            put(db, Pod(Slow("c")))
            assert names(read(db.snapshot()[Pods])) == ["a", "b", "c"]

        Slow.stop = handle
        assert names(read(db.snapshot()[Pods])) == ["a", "b"]
        assert names(read(db.snapshot()[Pods])) == ["a", "b", "c"]
        db.check()

    in_a_child(run)


@pytest.mark.parametrize("text", ["store.commits_timed += 1", "store.commits_s += seconds"])
def test_a_thread_that_was_counting_the_time_of_its_commit_keeps_no_commit_of_the_child_out(text):
    db = database(Pod("a"))
    db.observe()

    def write(stop: Callable[[], None]) -> None:
        in_the_gap(ObservedTransaction._commit, text, stop, lambda: put(db, Pod("b")))

    with Stopped(write):
        in_a_child(partial(check_all, db, ["a", "b"]))


@pytest.mark.parametrize(
    ("function", "text"), [(WatchSet._attach, "self._waker = waker"), (ThreadWaker.wait, "if timeout is None:")]
)
def test_a_set_of_watches_on_which_a_thread_waited_can_be_waited_on_in_the_child(function, text):
    db = database(Pod("a"))
    watches = WatchSet(db.snapshot()[Pods].watch("b"))

    def wait(stop: Callable[[], None]) -> None:
        in_the_gap(function, text, stop, lambda: watches.wait(timeout=60))

    def look() -> None:
        (watch,) = watches
        watches.add(db.snapshot()[Pods].watch("c"))
        assert not watches.wait(timeout=0)
        put(db, Pod("b"))
        assert watches.wait(timeout=30) == {watch}

    with Stopped(wait):
        in_a_child(look)
        put(db, Pod("b"))


@pytest.mark.parametrize("task", [False, True], ids=["thread", "task"])
def test_a_stream_that_was_being_read_can_be_read_in_the_child(task):
    db = database(Pod("a"))

    def read(stop: Callable[[], None]) -> None:
        take = (lambda: asyncio.run(anext(stream))) if task else stream.next
        in_the_gap(ChangeStream._take, "snapshot = self._head.snapshot()", stop, take)

    def look() -> None:
        batch = stream.next(timeout=0)
        assert batch is not None
        assert names([change.row for change in batch]) == ["a"]
        put(db, Pod("b"))
        batch = stream.next(timeout=30)
        assert batch is not None
        assert names([change.row for change in batch]) == ["b"]

    with db.changes(Pods) as stream, Stopped(read):
        in_a_child(look)


@pytest.mark.parametrize("waits", ["stream", "set", "transaction"])
def test_a_task_of_the_thread_that_forks_keeps_nothing_in_the_child(waits):
    """No task goes on there: the event loop of the parent does not run."""
    db = database(Pod("a"))
    watches = WatchSet(db.snapshot()[Pods].watch("b"))

    async def write() -> None:
        async with db.write_async(Pods, Accounts) as txn:
            txn[Pods].insert(Pod("c"))
            await asyncio.Event().wait()

    def look() -> None:
        if waits == "set":
            assert not watches.wait(timeout=0)
        elif waits == "stream":
            assert stream.next(timeout=0) is None
        check_all(db, ["a"])

    async def wait() -> None:
        await watches

    async def run() -> None:
        task = asyncio.ensure_future({"stream": stream.__anext__, "set": wait, "transaction": write}[waits]())
        while not (db.stats()[0].waiting_watches or db.stats()[0].writer):
            await asyncio.sleep(0)
        in_a_child(look)
        task.cancel()
        await asyncio.wait([task])

    with db.changes(Pods, since=db.snapshot()) as stream:
        asyncio.run(run())


def test_a_task_that_forks_in_its_transaction_goes_on_with_it_in_the_child():
    db = database(Pod("a"))

    async def insert(txn: Any) -> None:
        txn[Pods].insert(Pod("b"))
        in_a_child(partial(goes_on, txn))

    def goes_on(txn: Any) -> None:
        txn[Pods].insert(Pod("c"))
        txn.commit()
        check_all(db, ["a", "b", "c"])

    async def run() -> None:
        async with db.write_async(Pods) as txn:
            await insert(txn)

    asyncio.run(run())
    assert names(db.snapshot()[Pods].values()) == ["a", "b"]
