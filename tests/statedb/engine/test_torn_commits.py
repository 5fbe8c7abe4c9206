"""A commit that is interrupted at one chosen step, and a second time while it is finished after the first.

Few steps, and quick: `test_injection_twice.py` goes through all of them.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest

from statedb import Database, NestedWrite, TransactionClosed
from statedb.engine import commit, reserve as _reserve
from statedb.engine.commit import CommitPlan
from statedb.engine.overlay import NO_PIN
from statedb.engine.reserve import ABORTED, Holder
from statedb.engine.store import TableStore
from statedb.engine.transaction import WriteTransaction

from ._helpers import Interrupted, in_a_thread, in_the_gap
from .tables import Account, Accounts, Pod, Pods, database, put

FINISH = CommitPlan.finish
BEFORE_PUBLISHING = "self._publish(parts)"
BEFORE_RELEASE = "for store in self.reserved:"
AFTER_RELEASE = "if self._wakers:"
steps = pytest.mark.parametrize("step", [BEFORE_RELEASE, AFTER_RELEASE], ids=["reserved", "released"])


def interrupt() -> None:
    raise Interrupted


class Interrupting:
    """``CommitPlan.finish``, interrupted so many times in front of one step."""

    def __init__(self, step: str, times: int, first: Callable[[], Any] = interrupt) -> None:
        self.step = step
        self.left = [first, *[interrupt] * (times - 1)]

    def __call__(self, plan: CommitPlan) -> None:
        if self.left:
            in_the_gap(FINISH, self.step, self.left.pop(0), lambda: FINISH(plan))
        else:
            FINISH(plan)


def commit_interrupted(monkeypatch: Any, db: Database, broken: Interrupting) -> None:
    """Commit an account and the pod ``a`` on ``n2``, with these interrupts."""
    monkeypatch.setattr(CommitPlan, "finish", lambda plan: broken(plan))
    txn = db.write(Pods, Accounts)
    txn[Pods].insert(Pod("a", "n2"))
    txn[Accounts].insert(Account(1, 10))
    with pytest.raises(Interrupted):
        txn.commit()
    assert not broken.left


@steps
def test_a_commit_interrupted_once_is_finished_before_the_interrupt_goes_on(monkeypatch, step):
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")
    commit_interrupted(monkeypatch, db, Interrupting(step, 1))
    assert watch.tripped
    assert db.snapshot()[Pods]["a"].node == "n2"
    assert db.snapshot()[Accounts][1].balance == 10
    assert [store.unfinished for store in db._stores.values()] == [None, None]
    in_a_thread(lambda: put(db, Pod("a", "n3")))
    assert db.snapshot()[Pods]["a"].node == "n3"
    db.check()


@steps
def test_a_commit_interrupted_twice_is_finished_by_the_next_writer(monkeypatch, step):
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")
    commit_interrupted(monkeypatch, db, Interrupting(step, 2))
    assert db.snapshot()[Pods]["a"].node == "n2"
    assert all(store.unfinished for store in db._stores.values())
    in_a_thread(lambda: put(db, Pod("b")))
    assert watch.tripped
    assert [store.unfinished for store in db._stores.values()] == [None, None]
    assert dict(db.snapshot()[Pods]) == {"a": Pod("a", "n2"), "b": Pod("b")}
    assert dict(db.snapshot()[Accounts]) == {1: Account(1, 10)}
    db.check()


@steps
def test_a_torn_commit_keeps_no_database_that_nobody_has(monkeypatch, step):
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")
    commit_interrupted(monkeypatch, db, Interrupting(step, 2))
    monkeypatch.undo()
    newest = ref(db._stores[Pods].pin)
    del db, watch
    gc.collect()
    assert newest() is None


def test_a_torn_commit_that_does_not_finish_is_kept_until_it_is_visible(monkeypatch):
    """The next writer is interrupted as well: the one after it finishes the commit."""
    db = database(Pod("a"))
    commit_interrupted(monkeypatch, db, Interrupting(BEFORE_PUBLISHING, 2))
    broken = Interrupting(BEFORE_PUBLISHING, 1)
    monkeypatch.setattr(CommitPlan, "finish", lambda plan: broken(plan))
    with pytest.raises(Interrupted):
        put(db, Pod("b"))
    assert all(store.unfinished for store in db._stores.values())
    assert db.snapshot()[Pods]["a"].node == "n1"
    in_a_thread(lambda: put(db, Pod("b")))
    assert dict(db.snapshot()[Pods]) == {"a": Pod("a", "n2"), "b": Pod("b")}
    db.check()


def test_a_commit_that_is_finished_again_changes_no_rows_that_another_writer_has_changed_since(monkeypatch):
    db = database(Pod("a"))

    def another_writer() -> None:
        monkeypatch.setattr(CommitPlan, "finish", FINISH)
        in_a_thread(lambda: put(db, Pod("a", "n3")))
        raise Interrupted

    commit_interrupted(monkeypatch, db, Interrupting(AFTER_RELEASE, 1, another_writer))
    assert db.snapshot()[Pods]["a"].node == "n3"
    db.check()


@pytest.mark.parametrize(("error", "again"), [(Interrupted, True), (ArithmeticError, False)])
def test_an_interrupt_while_a_torn_commit_trips_watches_leaves_that_to_the_next_writer(monkeypatch, error, again):
    """An error that is no interrupt may come each time, and must not lock the table."""
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")

    def broken() -> None:
        raise error

    commit_interrupted(monkeypatch, db, Interrupting(BEFORE_RELEASE, 2))
    monkeypatch.undo()
    assert not watch.tripped
    with pytest.raises(error):
        in_the_gap(FINISH, "_trip(part, self._wakers)", broken, lambda: put(db, Pod("b")))
    assert not commit._TRIPPING
    put(db, Pod("c"))
    assert watch.tripped == again
    assert [store.unfinished for store in db._stores.values()] == [None, None]
    assert list(db.snapshot()[Pods]) == ["a", "c"]
    db.check()


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("source.pin = NO_PIN", lambda txn: txn[Accounts].insert(Account(1))),
        ("plan.finish()", lambda txn: txn[Accounts].insert(Account(1))),
        ("plan.finish()", lambda txn: txn[Accounts].get(1)),
    ],
    ids=["first part", "all parts", "no part"],
)
def test_a_commit_broken_twice_while_it_is_prepared_cannot_be_repeated(monkeypatch, text, stage):
    """The second exception comes in front of the first step of its abort."""
    db = database(Pod("a"))
    with db.write(Accounts) as txn:
        txn[Accounts].begin_initializer("source")
    before = db.snapshot()
    txn = db.write(Pods, Accounts)
    stage(txn)
    if text == "source.pin = NO_PIN":
        txn[Pods].insert(Pod("a", "n2"))
    with monkeypatch.context() as patch:
        patch.setattr(WriteTransaction, "abort", lambda _: interrupt())
        with pytest.raises(Interrupted):
            in_the_gap(WriteTransaction._commit, text, interrupt, txn.commit)
    with pytest.raises(TransactionClosed, match="an exception broke an earlier commit"):
        txn.commit()
    assert db.snapshot()._pins == before._pins
    assert NO_PIN.commit.link is None
    in_a_thread(lambda: put(db, Pod("b")))
    assert dict(db.snapshot()[Pods]) == {"a": Pod("a"), "b": Pod("b")}
    assert dict(db.snapshot()[Accounts]) == {}
    db.check()


# -- code that interrupts the thread that finishes it, and writes ------------------------------------------------------


def interrupted_while_finishing(
    monkeypatch: Any, db: Database, gap: tuple[Any, str], handle: Callable[[], Any]
) -> None:
    """A commit that is torn before it is visible. The next writer, of the pod ``z``, is interrupted at a gap."""
    commit_interrupted(monkeypatch, db, Interrupting(BEFORE_PUBLISHING, 2))
    monkeypatch.undo()
    in_a_thread(lambda: in_the_gap(*gap, handle, lambda: put(db, Pod("z"))))
    assert [store.unfinished for store in db._stores.values()] == [None, None]
    db.check()
    assert dict(db.snapshot()[Accounts]) == {1: Account(1, 10)}
    in_a_thread(lambda: db.write(Pods, Accounts, timeout=0).abort())


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (TableStore.apply, "rows[key] = state[0]"),
        (CommitPlan._publish, "if root.pins is seen:"),
        (FINISH, "if reservation.holder.get(HOLDER) is self:"),
        (FINISH, "del reservation.holder[HOLDER]"),
    ],
)
def test_a_handler_cannot_write_a_table_whose_torn_commit_its_thread_is_finishing(monkeypatch, function, text):
    """Otherwise the interrupted call would go on, and put older rows over those of the handler."""
    db = database(Pod("a"))

    def handle() -> None:
        with pytest.raises(NestedWrite, match="this same thread, which this one interrupts"):
            put(db, Pod("a", "n3"))
        with pytest.raises(NestedWrite):
            db.insert(Pods, Pod("a", "n3"))
        assert db.snapshot()[Pods]["a"].node in ("n1", "n2")

    interrupted_while_finishing(monkeypatch, db, (function, text), handle)
    assert dict(db.snapshot()[Pods]) == {"a": Pod("a", "n2"), "z": Pod("z")}


def test_a_handler_writes_the_tables_that_are_free_while_its_thread_finishes_a_torn_commit(monkeypatch):
    db = database(Pod("a"))

    def handle() -> None:
        put(db, Pod("a", "n3"))
        with pytest.raises(NestedWrite):
            db.insert(Accounts, Account(1, 20))

    interrupted_while_finishing(monkeypatch, db, (FINISH, "if reservation.waiting:"), handle)
    assert dict(db.snapshot()[Pods]) == {"a": Pod("a", "n3"), "z": Pod("z")}


def test_a_handler_writes_while_its_thread_trips_the_watches_of_a_torn_commit(monkeypatch):
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")
    interrupted_while_finishing(
        monkeypatch, db, (FINISH, "_trip(part, self._wakers)"), lambda: put(db, Pod("a", "n3"), Pod("b"))
    )
    assert watch.tripped
    assert dict(db.snapshot()[Pods]) == {"a": Pod("a", "n3"), "b": Pod("b"), "z": Pod("z")}


def broken_abort(monkeypatch: Any, db: Database) -> None:
    """An abort that is broken twice: the next writer has to do it."""
    txn = db.write(Pods, Accounts)
    txn[Pods].insert(Pod("a", "n2"))
    with monkeypatch.context() as patch:
        patch.setattr(WriteTransaction, "_release_tables", broken_release)
        with pytest.raises(Interrupted):
            txn.abort()


def broken_release(txn: WriteTransaction, call: list[int]) -> None:
    assert txn._plan.decide(ABORTED)
    raise Interrupted


@pytest.mark.parametrize("whose", ["another thread's", "broken"])
def test_a_handler_cannot_write_a_table_that_its_thread_is_freeing(monkeypatch, whose):
    """It would wait for the call that it interrupts."""
    db = database(Pod("a"))

    def handle() -> None:
        with pytest.raises(NestedWrite, match="this same thread, which this one interrupts"):
            put(db, Pod("a", "n3"))

    def free(action: Callable[[], Any]) -> None:
        in_a_thread(lambda: in_the_gap(WriteTransaction._release_tables, "for store in plan.reserved:", handle, action))

    if whose == "broken":
        broken_abort(monkeypatch, db)
        free(lambda: put(db, Pod("b")))
    else:
        free(db.write(Pods, Accounts).abort)
        put(db, Pod("b"))
    assert dict(db.snapshot()[Pods]) == {"a": Pod("a"), "b": Pod("b")}
    in_a_thread(lambda: db.write(Pods, Accounts, timeout=0).abort())


def test_a_commit_that_loses_against_an_abort_in_its_midst_says_so():
    """The other thread has decided, and has not yet written that into the transaction."""
    db = database(Pod("a"))
    txn = db.write(Pods)
    txn[Pods].insert(Pod("a", "n2"))
    decided, go = threading.Event(), threading.Event()

    def wait() -> None:
        decided.set()
        assert go.wait(20)

    other = threading.Thread(target=lambda: in_the_gap(Holder.decide, "self.closed = decided", wait, txn.abort))
    other.start()
    assert decided.wait(20)
    try:
        with pytest.raises(TransactionClosed, match="already aborted"):
            txn.commit()
    finally:
        go.set()
        other.join(20)
    assert db.snapshot()[Pods]["a"].node == "n1"
    in_a_thread(lambda: put(db, Pod("b")))


def test_a_commit_wakes_the_writer_that_waits_for_its_table(monkeypatch):
    """At once, and not when it looks again after a second."""
    blocked = threading.Event()

    class Gate:
        """Tells of the second wait: before the first one nobody has checked the table."""

        def __init__(self) -> None:
            self._lock = threading.Lock()
            self._waits = 0
            self.release = self._lock.release

        def acquire(self, timeout: float) -> bool:
            self._waits += 1
            if self._waits == 2:
                blocked.set()
            return self._lock.acquire(timeout=timeout)

    monkeypatch.setattr(_reserve, "Lock", Gate)
    monkeypatch.setattr(_reserve, "_RECHECK_S", 300.0)
    db = database(Pod("a"))
    txn = db.write(Pods)
    txn[Pods].insert(Pod("b"))
    other = threading.Thread(target=lambda: put(db, Pod("c")), daemon=True)
    other.start()
    assert blocked.wait(20)
    txn.commit()
    other.join(60)
    assert not other.is_alive(), "the other writer still waits for the table"
    assert list(db.snapshot()[Pods]) == ["a", "b", "c"]
