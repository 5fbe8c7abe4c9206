"""The loop of every consumer: initialized first, every batch in order, retried and never skipped, stopped at once."""

import asyncio
import gc
import logging
import threading
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from consumers.running.follower import Failure, Follower, follow
from statedb import Database, UnknownTable
from statedb.testing import Host, Hosts, Slot, SlotKey, Slots, histories, play

from .driving import Driver

SOON = 20.0


def put(db: Database, name: str, amount: int = 0) -> None:
    with db.write(Hosts) as txn:
        txn[Hosts].insert(Host(name, amount=amount))


def fold(into: dict[Any, Any], changes: Any, table: Any = Hosts) -> None:
    for change in changes:
        if change.deleted:
            into.pop(table.key_of(change.row), None)
        else:
            into[table.key_of(change.row)] = change.row


class World:
    """Applies batches to a dict; fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.rows: dict[Any, Any] = {}
        self.batches: list[list[Any]] = []
        self.failures = failures
        self.tried: list[list[Any]] = []
        self.told: list[Failure | None] = []

    def apply(self, batch: Any) -> None:
        self.tried.append(list(batch))
        if self.failures:
            self.failures -= 1
            raise OSError("the world is away")
        fold(self.rows, batch)
        self.batches.append(list(batch))

    def same_as(self, db: Database) -> bool:
        return self.rows == dict(db.snapshot()[Hosts].items())


@pytest.fixture
def db() -> Database:
    return Database(Hosts, Slots)


# -- the loop ------------------------------------------------------------------------------------------------------


def test_nothing_is_applied_before_all_tables_are_initialized(db):
    with db.write(Hosts, Slots) as txn:
        one, other = txn[Hosts].begin_initializer("a"), txn[Slots].begin_initializer("b")
        txn[Hosts].insert(Host("a"))
    batches: list[Any] = []
    follower = follow(db, Hosts, Slots, apply=batches.append)
    driver = Driver(follower)
    driver.settle()
    assert follower.health == "waiting until initialized: sample-hosts, sample-slots"
    with db.write(Hosts) as txn:
        txn[Hosts].finish_initializer(one)
    driver.settle()
    assert follower.health == "waiting until initialized: sample-slots"
    assert not batches
    with db.write(Slots) as txn:
        txn[Slots].finish_initializer(other)
    driver.settle()
    assert follower.health == "OK"
    assert [[change.row.name for change in batch[Hosts]] for batch in batches] == [["a"]]


def test_an_empty_table_gives_an_empty_batch(db):
    world = World()
    Driver(follow(db, Hosts, apply=world.apply)).settle()
    assert world.batches == [[]]


def test_batches_come_in_order_and_lead_to_the_table(db):
    world = World()
    driver = Driver(follow(db, Hosts, apply=world.apply))
    for number in range(3):
        put(db, "a", number)
        put(db, f"b{number}")
        driver.settle()
    assert world.same_as(db)
    assert [len(batch) for batch in world.batches] == [2, 2, 2]


@settings(max_examples=60, deadline=None)
@given(history=histories(max_size=8), rests=st.lists(st.booleans(), min_size=8, max_size=8), failures=st.integers(0, 5))
def test_what_was_applied_folds_to_the_tables_whatever_fails(history, rests, failures):
    db = Database(Hosts, Slots)
    hosts: dict[Any, Any] = {}
    slots: dict[Any, Any] = {}
    left = [failures]

    def apply(batch: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise OSError
        fold(hosts, batch[Hosts])
        fold(slots, batch[Slots], Slots)

    driver = Driver(follow(db, Hosts, Slots, apply=apply, report=lambda _: None))
    for writes, rest in zip(history, rests):
        play([writes], db)
        if rest:
            driver.settle()
    driver.advance(100.0)
    snapshot = db.snapshot()
    assert hosts == dict(snapshot[Hosts].items())
    assert slots == dict(snapshot[Slots].items())


# -- failing -------------------------------------------------------------------------------------------------------


def test_a_failed_batch_comes_again_itself_with_growing_pauses_and_is_reported(db):
    world = World(failures=4)
    driver = Driver(follow(db, Hosts, apply=world.apply, report=world.told.append, retry_min_s=1, retry_max_s=4))
    put(db, "a")
    driver.settle()
    assert driver.follower.health == "failing, 1 tries: OSError: the world is away"
    put(db, "b")  # comes later: a batch that failed is not overtaken
    driver.advance(100)
    assert driver.pauses == [1, 2, 4, 4]
    assert world.tried[:5] == [world.tried[0]] * 5
    assert [len(batch) for batch in world.batches] == [1, 1]
    assert world.same_as(db)
    assert [failure and failure.tries for failure in world.told] == [1, 2, 3, 4, None]
    assert driver.follower.failure is None
    assert driver.follower.health == "OK"


def test_failures_are_counted_from_one_again_after_a_success(db):
    world = World(failures=2)
    driver = Driver(follow(db, Hosts, apply=world.apply, report=world.told.append, retry_min_s=1))
    driver.advance(10)
    world.failures = 1
    put(db, "a")
    driver.advance(10)
    assert driver.pauses == [1, 2, 1]


def test_failures_are_logged_where_nobody_else_is_told(db, caplog):
    caplog.set_level(logging.INFO, "statedb.consumers")
    driver = Driver(follow(db, Hosts, apply=World(failures=1).apply, name="world"))
    driver.advance(10)
    assert caplog.messages == ["world: OSError: the world is away; retry in 0.1 s", "world: succeeded again"]


def test_it_holds_no_history_while_it_waits(db):
    driver = Driver(follow(db, Hosts, apply=World().apply))
    for number in range(3):
        put(db, "a", number)
        driver.settle()
    gc.disable()
    try:
        put(db, "a", 9)
        driver.settle()
        assert not db.held()
    finally:
        gc.enable()


def test_unknown_tables_are_refused_at_once():
    with pytest.raises(UnknownTable):
        follow(Database(Hosts), Slots, apply=print)


# -- threads -------------------------------------------------------------------------------------------------------


def test_a_thread_follows_and_can_be_waited_for(db):
    world = World()
    with follow(db, Hosts, apply=world.apply) as follower:
        for number in range(20):
            put(db, "a", number)
            put(db, f"b{number % 3}", number)
        assert follower.wait_applied(timeout=SOON)
        assert world.same_as(db)
        with db.write(Hosts) as txn:
            txn[Hosts].insert(Host("a", amount=19), force=True)  # wakes nobody, and is waited for all the same
        assert follower.wait_applied(timeout=SOON)
    assert follower.health == "ended"
    put(db, "z")
    assert not follower.wait_applied(timeout=SOON)


def test_what_came_and_went_is_waited_for_as_well(db):
    with follow(db, Hosts, apply=World().apply) as follower:
        assert follower.wait_applied(timeout=SOON)
        for _ in range(50):
            put(db, "a")
            with db.write(Hosts) as txn:
                txn[Hosts].delete("a")
            assert follower.wait_applied(timeout=SOON)


@pytest.mark.parametrize("failing", [False, True])
def test_stop_ends_a_pause_at_once(db, failing):
    tried = threading.Event()

    def apply(batch: Any) -> None:
        tried.set()
        if failing:
            raise OSError

    follower = follow(db, Hosts, apply=apply, report=lambda _: None, retry_min_s=3600, retry_max_s=3600)
    follower.start()
    assert tried.wait(SOON)
    follower.stop()
    follower.stop()
    assert follower.join(SOON)
    assert follower.health == ("failing, 1 tries: OSError: " if failing else "ended")


def test_stop_ends_the_wait_for_initialization(db):
    with db.write(Hosts) as txn:
        txn[Hosts].begin_initializer("never")
    with follow(db, Hosts, apply=World().apply) as follower:
        pass
    assert not follower.wait_applied(timeout=0)


def test_one_that_was_stopped_before_it_started_applies_nothing(db):
    world = World()
    follower = follow(db, Hosts, apply=world.apply)
    follower.stop()
    follower.run()
    assert not world.batches


def test_it_runs_once(db):
    follower = follow(db, Hosts, apply=World().apply)
    with follower:
        with pytest.raises(RuntimeError, match="make a new follower"):
            follower.start()
    with pytest.raises(RuntimeError, match="make a new follower"):
        follower.run()


def test_a_report_that_raises_ends_it_and_is_seen(db, caplog):
    def report(failure: Failure | None) -> None:
        raise ValueError("no place to report to")

    follower = follow(db, Hosts, apply=World(failures=1).apply, report=report)
    follower.start()
    assert follower.join(SOON)
    assert isinstance(follower.crash, ValueError)
    assert follower.health == "crashed: ValueError: no place to report to"


def test_a_thread_that_ends_by_what_is_no_failure_says_so(db):
    class Ended(BaseException):
        """As GeneratorExit, or the end of a task: nothing that a try could be made again for."""

    def apply(_: Any) -> None:
        raise Ended("by a library")

    follower = follow(db, Hosts, apply=apply)
    follower.start()
    assert follower.join(SOON)
    assert isinstance(follower.crash, Ended)
    assert follower.health == "crashed: Ended: by a library"


def test_an_asynchronous_function_in_a_thread_is_told(db):
    async def apply(batch: Any) -> None:
        raise AssertionError

    told: list[Failure | None] = []
    seen = threading.Event()

    def report(failure: Failure | None) -> None:
        told.append(failure)
        seen.set()

    with follow(db, Hosts, apply=apply, report=report):
        assert seen.wait(SOON)
    assert told[0] is not None
    assert "run_async" in str(told[0].error)


# -- tasks ---------------------------------------------------------------------------------------------------------


def run(task: Any) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(task, SOON)

    return asyncio.run(bounded())


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_task_follows_and_is_stopped_from_another_thread(db, asynchronous):
    world = World(failures=1)

    async def apply(batch: Any) -> None:
        await asyncio.sleep(0)
        world.apply(batch)

    async def scenario() -> None:
        follower = follow(
            db, Hosts, apply=apply if asynchronous else world.apply, report=lambda _: None, retry_min_s=0.001
        )
        task = asyncio.create_task(follower.run_async())
        threading.Thread(target=put, args=(db, "a")).start()
        await until(lambda: "a" in world.rows)
        put(db, "b")
        await until(lambda: "b" in world.rows)
        threading.Thread(target=follower.stop).start()
        await task
        assert world.same_as(db)

    run(scenario())


def test_a_cancelled_task_leaves_nothing_behind(db):
    async def scenario() -> Follower:
        follower = follow(db, Hosts, apply=World().apply)
        task = asyncio.create_task(follower.run_async())
        await until(lambda: follower.health == "OK")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return follower

    follower = run(scenario())
    assert follower.health == "ended"
    assert db._stores[Hosts].registry.waiting() == 0
    put(db, "a")
    assert not db.held()


def test_both_halves_of_a_transaction_come_in_one_batch(db):
    cuts: list[tuple[int, int]] = []

    def apply(batch: Any) -> None:
        cuts.append((len(batch.snapshot[Hosts]), len(batch.snapshot[Slots])))

    with follow(db, Hosts, Slots, apply=apply) as follower:
        for number in range(30):
            with db.write(Hosts, Slots) as txn:
                txn[Hosts].insert(Host(f"h{number}"))
                txn[Slots].insert(Slot(SlotKey("x", number)))
        assert follower.wait_applied(timeout=SOON)
    assert all(hosts == slots for hosts, slots in cuts)
    assert cuts[-1] == (30, 30)
