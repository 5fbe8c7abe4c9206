"""Exceptions in whoever trips a watch, or waits on a set of them: no waiter is lost, and the next call goes on."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest

from statedb import Watch, WatchSet
from statedb.engine import reserve, watch as _watch
from statedb.engine.reserve import Reservation
from statedb.engine.wakers import ThreadWaker, wake_all

from ...waiting import eventually
from ._helpers import Interrupted, Lines, in_a_thread, lines_of
from .tables import Pod, Pods, database, put


def waited_on() -> tuple[Watch, ThreadWaker]:
    """A watch, and what wakes the thread that waits on it."""
    watch, waker = database(Pod("a")).snapshot()[Pods].watch("a"), ThreadWaker()
    assert watch._registry.attach(watch, waker)
    return watch, waker


def test_an_exception_at_any_line_of_tripping_a_watch_loses_no_waiter():
    tripped = []
    for line in lines_of(waited_on()[0].trip):
        watch, waker = waited_on()
        breaking = Lines(line)
        with pytest.raises(Interrupted):
            breaking.run(watch.trip)
        assert waker.wait(0) == watch.tripped, breaking.broken
        tripped.append(watch.tripped)
        watch.trip()
        assert not watch._registry.waiting(), breaking.broken
    assert tripped[-1]


@pytest.mark.parametrize("times", [1, 2])
def test_a_watch_that_is_tripped_again_wakes_whom_exceptions_kept_from_being_woken(monkeypatch, times):
    watch, waker = waited_on()
    left = times

    def broken(wakers: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            raise Interrupted
        wake_all(wakers)

    monkeypatch.setattr(_watch, "wake_all", broken)
    with pytest.raises(Interrupted):
        watch.trip()
    assert watch.tripped
    if times == 2:
        watch.trip()
    assert waker.wait(0)


def test_a_set_of_watches_whose_wait_was_broken_twice_can_be_waited_on_by_any_thread(monkeypatch):
    """The second exception comes in front of the first step of giving the waker up."""
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")
    watches = WatchSet(watch)

    def interrupt(*_: Any) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(WatchSet, "_detach", interrupt)
        patch.setattr(ThreadWaker, "wait", interrupt)
        with pytest.raises(Interrupted):
            watches.wait()
    assert in_a_thread(lambda: watches.wait(timeout=0)) == set()
    put(db, Pod("a", "n2"))
    assert watches.wait(timeout=0) == {watch}


def test_a_watch_whose_adding_was_interrupted_can_be_added_again(monkeypatch):
    """A thread waits on the set all the while."""
    db = database(Pod("a"))
    idle, watch = db.snapshot()[Pods].watch("z"), db.snapshot()[Pods].watch("a")
    watches = WatchSet(idle)
    answers: list[set[Watch]] = []
    waiter = threading.Thread(target=lambda: answers.append(watches.wait(timeout=60)), daemon=True)
    waiter.start()
    eventually(idle._registry.waiting)

    def add_interrupted(line: int) -> bool:
        breaking = Lines(line)
        with suppress(Interrupted):
            breaking.run(lambda: watches.add(watch))
        return bool(breaking.broken)

    line = 0
    while watch not in watches:
        assert add_interrupted(line)
        line += 1
    watches.add(watch)
    watches.add(watch)
    assert len(watch._wakers) == 1
    put(db, Pod("a", "n2"))
    waiter.join(20)
    assert answers == [{watch}]


@pytest.mark.parametrize("gone", ["a thread", "a task"])
@pytest.mark.parametrize("waits", ["a thread", "a task"])
def test_whoever_waits_for_a_table_is_woken_though_exceptions_kept_an_earlier_waiter_from_leaving(
    monkeypatch, gone, waits
):
    """Its gate stays the first. It is opened once, and no later release ends with it."""

    def write(timeout: float) -> None:
        db.write(Pods, timeout=timeout).abort()

    async def write_in_task(timeout: float) -> None:
        async with db.write_async(Pods, timeout=timeout):
            pass

    def wait(who: str, timeout: float) -> None:
        write(timeout) if who == "a thread" else asyncio.run(write_in_task(timeout))

    def interrupt(*_: Any) -> None:
        raise Interrupted

    db = database(Pod("a"))
    reservation = db._stores[Pods].reservation
    txn = db.write(Pods)
    with monkeypatch.context() as patch:
        patch.setattr(Reservation, "_stop_waiting", interrupt)
        with pytest.raises(Interrupted):
            in_a_thread(lambda: wait(gone, 0.01))
    assert len(reservation.waiting) == 1
    monkeypatch.setattr(reserve, "_RECHECK_S", 300.0)
    txn.abort()  # opens the gate of the one that is gone
    for _ in range(2):
        txn = db.write(Pods)
        waiter = threading.Thread(target=wait, args=(waits, 300.0), daemon=True)
        waiter.start()
        eventually(lambda: len(reservation.waiting) == 2)
        txn.abort()
        waiter.join(20)
        assert not waiter.is_alive(), "still waits for the table"
