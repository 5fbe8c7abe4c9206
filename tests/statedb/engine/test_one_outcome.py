"""A transaction has one outcome: commit and abort from two threads, at every gap between their steps."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import pytest

from statedb import Database, NestedWrite, TransactionClosed, WriteTimeout
from statedb.engine.commit import CommitPlan
from statedb.engine.overlay import Overlay
from statedb.engine.reserve import Reservation
from statedb.engine.store import TableStore
from statedb.engine.transaction import WriteTransaction

from ._helpers import Host, Hosts, Port, Ports, Scene, in_a_thread, in_the_gap, picture, picture_after_the_change

AFTER = picture_after_the_change()


def steps(function: Any) -> list[str]:
    """The statements of a function, each by its text, where that is found once: the gaps lie in front of them."""
    source = inspect.getsource(function)
    if function.__doc__:
        source = source.replace(function.__doc__, "")
    lines = [line.strip() for line in source.splitlines()]
    words = ("def ", "try", "finally", "except", "else", '"""', "#", ")", "raise", "again", "if not plan.closed")
    found = [line for line in lines if line and not line.startswith(words)]
    return [line for line in found if sum(line in other for other in lines) == 1]


GAPS = [
    *[(WriteTransaction._commit, text) for text in steps(WriteTransaction._commit)],
    *[(CommitPlan.finish, text) for text in steps(CommitPlan.finish)],
    *[(TableStore.apply, text) for text in steps(TableStore.apply)],
]


def _reached(gap: tuple[Any, str]) -> bool:
    scene = Scene()
    try:
        txn = scene.db.write(Hosts, Ports)
        scene.change(txn)
        in_the_gap(*gap, lambda: None, txn.commit)
    except AssertionError:
        return False
    finally:
        scene.close()
    return True


REACHED = [gap for gap in GAPS if _reached(gap)]


def test_the_gaps_are_there():
    assert len(REACHED) > 20


@pytest.mark.parametrize("gap", REACHED, ids=[f"{function.__name__}: {text}" for function, text in REACHED])
def test_an_abort_from_another_thread_in_a_commit_wins_whole_or_does_nothing(gap):
    scene = Scene()
    txn = scene.db.write(Hosts, Ports)
    scene.change(txn)

    try:
        in_the_gap(*gap, lambda: in_a_thread(txn.abort), txn.commit)
        committed = True
    except TransactionClosed as error:
        assert "already aborted" in str(error)  # noqa: PT017  # which of the two it is depends on the gap
        committed = False
    scene.db.check()
    assert picture(scene.db.snapshot()) == (AFTER if committed else scene.before_picture)
    assert [watch.tripped for watch in scene.concerned] == [committed] * len(scene.concerned)
    scene.fold()
    assert scene.host_rows == dict(scene.db.snapshot()[Hosts])
    assert picture(scene.before) == scene.before_picture
    scene.write_from_another_thread()
    scene.db.check()
    scene.close()


def test_no_second_writer_comes_in_while_the_first_commits():
    """The attack that showed it: an abort in the middle of a commit freed the table, and two writers changed it."""
    db = Database(Ports)
    held: list[bool] = []

    def other() -> None:
        txn.abort()
        held.append(bool(db._stores[Ports].reservation.holder))

    txn = db.write(Ports)
    txn[Ports].insert(Port(1, "a"))
    in_the_gap(TableStore.apply, "rows[key] = state[0]", lambda: in_a_thread(other), txn.commit)
    assert held == [True]
    assert db.snapshot()[Ports][1] == Port(1, "a")


def test_an_abort_while_its_thread_stages_closes_the_transaction_and_leaves_nothing():
    db = Database(Hosts)
    with db.write(Hosts) as txn:
        txn[Hosts].insert(Host("a", "1"))
    txn = db.write(Hosts)
    hosts = txn[Hosts]

    def other() -> None:
        txn.abort()
        with db.write(Hosts) as late:
            late[Hosts].delete("a")

    with pytest.raises(TransactionClosed):
        in_the_gap(
            Overlay.stage, "stored = (old", lambda: in_a_thread(other), lambda: hosts.insert(Host("a", "1", amount=1))
        )
    with pytest.raises(TransactionClosed):
        hosts.insert(Host("b", "2"))
    db.check()
    assert dict(db.snapshot()[Hosts]) == {}


@pytest.mark.parametrize(
    ("function", "text", "call"),
    [
        (WriteTransaction.__getitem__, "pin = self._pins.get(table)", lambda txn: txn[Ports]),
        (WriteTransaction.__getitem__, "for store in self._plan.reserved:", lambda txn: txn[Ports]),
        (WriteTransaction.snapshot, "pins = self._pins.copy()", lambda txn: txn.snapshot()),
        (WriteTransaction.snapshot, "for table, writer in", lambda txn: txn.snapshot()),
        (WriteTransaction.snapshot, "pins[table] = writer", lambda txn: txn.snapshot()),
    ],
)
def test_an_abort_from_another_thread_in_any_other_call_closes_the_transaction(function, text, call):
    """The states that the transaction began with are dropped while the call looks for one."""
    scene = Scene()
    txn = scene.db.write(Hosts, Ports)
    txn[Hosts].insert(Host("d", "7"))
    with pytest.raises(TransactionClosed):
        in_the_gap(function, text, lambda: in_a_thread(txn.abort), lambda: call(txn))
    assert picture(scene.db.snapshot()) == scene.before_picture
    scene.write_from_another_thread()
    scene.close()


@pytest.mark.parametrize(
    "text", ["del self.holder[HOLDER]", "if self.holder.get(HOLDER) is holder:", "if self.waiting:"]
)
@pytest.mark.parametrize("where", ["another thread", "a handler"])
def test_of_two_aborts_at_once_the_slower_one_does_not_free_the_table_of_the_next_writer(where, text):
    """Found by the long race: the slower one had seen that the table was its own, and then freed that of the next."""
    db = Database(Ports)
    txn = db.write(Ports)
    next_one = []

    def overtake() -> None:
        if where == "another thread":
            in_a_thread(txn.abort)
        else:
            txn.abort()
        next_one.append(in_a_thread(lambda: _written(db)))

    in_the_gap(Reservation.release, text, overtake, txn.abort)
    first = next_one[0] or in_a_thread(lambda: _written(db))
    assert first is not None
    assert in_a_thread(lambda: _written(db)) is None, "two writers hold one table"
    first.abort()
    last = in_a_thread(lambda: _written(db))
    assert last is not None
    last.abort()


def _written(db: Database) -> WriteTransaction | None:
    """An open transaction, or None where somebody holds the table."""
    try:
        return db.write(Ports, timeout=0)
    except (WriteTimeout, NestedWrite):  # NestedWrite: of a thread that has ended and whose number is given again
        return None


def test_who_writes_again_while_another_thread_still_frees_its_aborted_transaction_waits_for_that():
    db = Database(Ports)
    txn = db.write(Ports)
    there, go = threading.Event(), threading.Event()

    def stop() -> None:
        there.set()
        assert go.wait(60)

    aborter = threading.Thread(
        target=lambda: in_the_gap(Reservation.release, "if self.holder.get(HOLDER) is holder:", stop, txn.abort)
    )
    aborter.start()
    assert there.wait(60)
    txn.abort()
    with pytest.raises(WriteTimeout):  # and not NestedWrite
        db.write(Ports, timeout=0)
    go.set()
    with db.write(Ports, timeout=60) as again:
        again[Ports].insert(Port(1, "a"))
    aborter.join()
