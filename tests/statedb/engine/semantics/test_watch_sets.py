"""Sets of watches: what a wait gives, what it leaves, how it settles."""

import asyncio
import threading
from time import monotonic

import pytest

from statedb import Watch, WatchSet

from ..tables import Account, Accounts, Pod, Pods, database, put


def watched(count: int):
    """A database, and a watch on each of so many rows that are not there."""
    db = database()
    view = db.snapshot()[Pods]
    return db, [view.watch(f"p{number}") for number in range(count)]


def trip(db, *numbers: int) -> None:
    put(db, *[Pod(f"p{number}") for number in numbers])


def test_it_gives_those_that_tripped_and_keeps_the_others():
    db, (a, b) = watched(2)
    watches = WatchSet(a, b)
    trip(db, 0)
    assert watches.wait(5) == {a}
    assert (a in watches, b in watches, len(watches)) == (False, True, 1)
    assert watches.wait(0) == set()
    trip(db, 1)
    assert watches.wait(5) == {b}
    assert len(watches) == 0


def test_a_time_that_is_over_takes_nothing_out_and_needs_no_settling():
    _, (a, b) = watched(2)
    watches = WatchSet(a, b, settle=60)
    started = monotonic()
    assert watches.wait(0.01) == set()
    assert monotonic() - started < 30
    assert set(watches) == {a, b}


def test_an_empty_set_waits_for_its_time():
    assert WatchSet().wait(0.01) == set()


def test_an_empty_set_waits_for_what_is_added():
    db, (watch,) = watched(1)
    watches, given = WatchSet(), []
    thread = threading.Thread(target=lambda: given.append(watches.wait(20)))
    thread.start()
    watches.add(watch)
    trip(db, 0)
    thread.join(20)
    assert given == [{watch}]


def test_one_that_tripped_before_it_was_added_counts():
    db, (watch,) = watched(1)
    trip(db, 0)
    watches = WatchSet()
    watches.add(watch, watch)
    assert len(watches) == 1
    assert watches.wait() == {watch}


@pytest.mark.parametrize("settle", [0.0, 0.02])
def test_without_a_settle_time_the_first_one_is_enough(settle: float):
    db, (a, b) = watched(2)
    trip(db, 0)
    assert WatchSet(a, b, settle=settle).wait(20) == {a}  # also where it is the only one that comes


def test_what_trips_while_it_settles_comes_along(monkeypatch):
    db, (a, b) = watched(2)
    trip(db, 0)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        trip(db, 1)

    monkeypatch.setattr("statedb.engine.watch_set.sleep", sleep)
    assert WatchSet(a, b, settle=0.4).wait(20) == {a, b}
    assert pauses == [0.4]


def test_a_time_that_is_over_while_it_settles_still_gives_what_tripped():
    db, (a, b) = watched(2)
    trip(db, 0)
    started = monotonic()
    assert WatchSet(a, b, settle=60).wait(0.01) == {a}
    assert monotonic() - started < 30


@pytest.mark.parametrize("count", [2, 16, 17, 64, 1024])
def test_any_number_of_watches(count: int):
    db, all_of_them = watched(count)
    watches = WatchSet(*all_of_them)
    trip(db, count - 1)
    assert watches.wait(5) == {all_of_them[-1]}
    trip(db, *range(count))
    assert watches.wait(5) == set(all_of_them[:-1])


def test_watches_of_several_tables_and_kinds_wait_together():
    db = database()
    snapshot = db.snapshot()
    account, tag = snapshot[Accounts].watch(1), snapshot[Pods.by_tag].watch_prefix("t")
    watches = WatchSet(account, tag, snapshot[Pods.by_network].watch_longest("10.0.0.1"))
    with db.write(Pods, Accounts) as txn:
        txn[Accounts].insert(Account(1))
        txn[Pods].insert(Pod("a", tags=("tt",)))
    assert watches.wait(5) == {account, tag}


def test_adding_one_set_to_another_leaves_the_first_as_it_is():
    _, watches = watched(3)
    one, other = WatchSet(*watches[:2]), WatchSet(*watches[1:])
    one.add(*other)
    assert set(one) == set(watches)
    assert set(other) == set(watches[1:])


def test_taking_out_and_clearing():
    db, (a, b, c) = watched(3)
    watches = WatchSet(a, b)
    watches.discard(a, c)
    assert set(watches) == {b}
    trip(db, 0)
    assert watches.wait(0) == set()
    watches.clear()
    assert (len(watches), any(watch in watches for watch in (a, b, c))) == (0, False)


def test_one_waiter_at_a_time():
    db, (watch,) = watched(1)
    watches, given = WatchSet(watch), []
    thread = threading.Thread(target=lambda: given.append(watches.wait(20)))
    thread.start()
    try:
        while watches._waker is None:
            thread.join(0.001)
            assert thread.is_alive()
        with pytest.raises(RuntimeError, match="another thread or task"):
            watches.wait(0)
    finally:
        trip(db, 0)
        thread.join(20)
    assert given == [{watch}]


def test_one_watch_in_several_sets_wakes_all_of_them():
    db, (watch,) = watched(1)
    sets = [WatchSet(watch) for _ in range(3)]
    trip(db, 0)
    assert [each.wait(5) for each in sets] == [{watch}] * 3


def test_a_task_waits_for_a_set_as_a_thread_does():
    db, (a, b) = watched(2)

    async def main() -> set[Watch]:
        asyncio.get_running_loop().call_soon(trip, db, 0)
        return await WatchSet(a, b)

    assert asyncio.run(main()) == {a}


def waiting_thread(watches: WatchSet) -> tuple[threading.Thread, list[set[Watch]]]:
    """A thread that waits for the set, and what it is given."""
    given: list[set[Watch]] = []
    thread = threading.Thread(target=lambda: given.append(watches.wait(20)))
    thread.start()
    while watches._waker is None:
        thread.join(0.001)
    return thread, given


def test_one_that_has_tripped_wakes_the_waiter_that_it_is_added_for():
    db, (a, b) = watched(2)
    watches = WatchSet(b)
    trip(db, 0)
    thread, given = waiting_thread(watches)
    watches.add(a, b)
    thread.join(20)
    assert given == [{a}]
    assert list(watches) == [b]


def test_one_that_is_taken_out_does_not_wake_the_waiter():
    db, (a, b) = watched(2)
    watches = WatchSet(a, b)
    thread, given = waiting_thread(watches)
    watches.discard(a)
    trip(db, 0)
    thread.join(0.05)
    assert thread.is_alive()
    trip(db, 1)
    thread.join(20)
    assert given == [{b}]
    assert a.tripped
