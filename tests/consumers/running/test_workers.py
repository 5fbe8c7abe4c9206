"""A reconciler as a work queue: several workers, priorities, later, paced, and told by other tables."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from consumers import Again, reconcile
from consumers.running.reconciler import Reconciler
from consumers.running.status import Statuses
from consumers.running.workers import Outcome
from statedb import Database, Snapshot
from statedb.testing import Host, Hosts, Slot, SlotKey, Slots, VirtualClock, histories, play

from ...waiting import eventually
from .driving import Driver

SOON = 20.0


class ByHand:
    """Workers whose calls end when the test says so."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.calls: list[tuple[Any, Callable[[], Any]]] = []
        self.done: list[Outcome] = []
        self.wake: Callable[[], None] = lambda: None

    def begin(self, subject: Any, call: Callable[[], Any]) -> None:
        keys = [task.key for (task, _), _ in self.calls]
        assert subject[0].key not in keys, "two at once for one object"
        assert len(keys) < self.most
        self.calls.append((subject, call))

    def end(self, place: int = 0, error: BaseException | None = None) -> None:
        subject, call = self.calls.pop(place)
        self.done.append(Outcome(subject, None if error else call(), error))
        self.wake()

    def take(self) -> list[Outcome]:
        done, self.done = self.done, []
        return done

    def close(self) -> None:
        pass


class Rig:
    """A reconciler of hosts on a virtual clock, with workers by hand."""

    def __init__(self, workers: int = 2, **options: Any) -> None:
        self.db = Database(Hosts, Slots)
        self.clock = VirtualClock(1000.0)
        self.workers = ByHand(workers)
        self.rows: dict[str, Host] = {}
        self.did: list[str] = []
        self.answers: dict[str, Again] = {}
        options = {"name": "world", "prune_interval_s": None, "refresh_interval_s": None, **options}
        self.reconciler: Reconciler[str, Host] = Reconciler(
            self.db, Hosts, self, called_by=self.workers, clock=self.clock, now=self.clock, **options
        )
        self.workers.wake = self.reconciler.wake
        self.driver = Driver(self.reconciler, self.clock)

    def update(self, snapshot: Snapshot, row: Host, /) -> Again | None:
        assert snapshot[Hosts][row.name] is row, "not the newest row of what it is shown"
        self.did.append(f"update {row.name}")
        self.rows[row.name] = row
        return self.answers.get(row.name)

    def delete(self, snapshot: Snapshot, row: Host, /) -> Again | None:
        assert row.name not in snapshot[Hosts]
        self.did.append(f"delete {row.name}")
        self.rows.pop(row.name, None)
        return self.answers.get(row.name)

    def prune(self, snapshot: Snapshot, rows: Iterable[Host], /) -> None:
        assert not self.workers.calls, "something is done beside a prune"
        self.did.append("prune")

    def put(self, *names: str, amount: int = 0) -> None:
        with self.db.write(Hosts) as txn:
            for name in names:
                txn[Hosts].insert(Host(name, amount=amount))
        self.driver.settle()

    def remove(self, name: str) -> None:
        self.db.delete(Hosts, name)
        self.driver.settle()

    def begun(self) -> list[str]:
        """What workers are at."""
        return [f"{'delete' if task.deleted else 'update'} {task.key}" for (task, _), _ in self.workers.calls]

    def end(self, place: int = 0, error: BaseException | None = None) -> None:
        self.workers.end(place, error)
        self.driver.settle()

    def all_done(self) -> list[str]:
        """End whatever is begun, one after the other; what was done since the last time."""
        self.driver.settle()
        while self.workers.calls:
            self.end()
        did, self.did = self.did, []
        return did

    def states(self) -> dict[str, str]:
        return {row.key.object: row.state for row in self.db.snapshot()[Statuses].values()}


# -- the properties ------------------------------------------------------------------------------------------------


class Step:
    """What happens after each write of a history: calls that end, well or badly, and time that passes."""

    ends = st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=4)
    seconds = st.sampled_from([0.0, 0.05, 1.0, 7.0])


@settings(max_examples=60, deadline=None)
@given(
    history=histories(max_size=10),
    steps=st.lists(st.tuples(Step.ends, Step.seconds), min_size=10, max_size=10),
    workers=st.integers(1, 3),
    interval_s=st.sampled_from([0.0, 3.0]),
    per_s=st.sampled_from([None, 2.0]),
    again_s=st.sampled_from([None, 0.0, 5.0]),
)
def test_every_object_ends_as_its_newest_row_and_never_two_work_on_one(
    history, steps, workers, interval_s, per_s, again_s
):
    rig = Rig(
        workers, object_interval_s=interval_s, calls_per_s=per_s, retry_max_s=4.0
    )  # ByHand asserts that no two are at one object
    rig.answers = dict.fromkeys(["a", "ab", "b"], Again(again_s, view=lambda snapshot: True))
    for writes, (ends, seconds) in zip(history, steps):
        play([writes], rig.db)
        rig.driver.settle()
        for place, well in ends:
            if rig.workers.calls:
                rig.end(place % len(rig.workers.calls), None if well else OSError("not now"))
        rig.driver.advance(seconds)
    rig.answers = {}
    rig.reconciler.wake()  # a forced write of an equal row moves its revision and wakes nobody
    for _ in range(8):
        rig.all_done()
        rig.driver.advance(5.0)
    snapshot = rig.db.snapshot()
    assert rig.rows == dict(snapshot[Hosts].items())
    assert rig.states() == dict.fromkeys(snapshot[Hosts], "done")
    assert rig.reconciler.wait_until_reconciled(timeout=0) == (snapshot[Hosts].revision, 0)
    assert rig.reconciler.wait_applied(snapshot, timeout=0)
    assert rig.reconciler.stats.pending == 0


# -- several workers -----------------------------------------------------------------------------------------------


def test_so_many_at_once_and_the_next_when_one_ends():
    rig = Rig(workers=2)
    rig.put("a", "b", "c")
    assert rig.begun() == ["update a", "update b"]
    assert rig.states() == {"a": "pending", "b": "pending", "c": "pending"}
    rig.end(place=1)
    assert rig.begun() == ["update a", "update c"]
    assert rig.states() == {"a": "pending", "b": "done", "c": "pending"}
    assert not rig.reconciler.wait_applied(timeout=0)
    assert rig.all_done() == ["update b", "update a", "update c"]
    assert rig.reconciler.wait_applied(timeout=0)


def test_an_object_that_changes_while_it_is_worked_on_is_worked_on_again_and_not_beside():
    rig = Rig(workers=2)
    rig.put("a")
    rig.put("a", amount=1)
    assert rig.begun() == ["update a"]
    rig.end(error=OSError("for the old row"))
    assert rig.begun() == ["update a"], "at once: the failure was the old row's"
    assert rig.states() == {"a": "pending"}
    rig.remove("a")
    rig.end()
    assert rig.begun() == ["delete a"]
    assert rig.all_done() == ["update a", "delete a"]
    assert rig.states() == {}


def test_a_prune_has_the_world_for_itself():
    rig = Rig(workers=2)
    rig.put("a", "b")
    rig.end()
    rig.reconciler.prune()
    rig.put("c")
    assert (rig.begun(), rig.did) == (["update b"], ["update a"]), "nothing begins while a prune waits"
    rig.end()
    assert rig.did == ["update a", "update b", "prune"]
    assert rig.begun() == ["update c"]


def test_batches_have_one_worker_and_the_error_says_so():
    class InBatches(Rig):
        update_batch = delete_batch = Rig.update

    db = Database(Hosts)
    with pytest.raises(ValueError, match="operations in batches have one worker; use larger batches instead"):
        reconcile(db, Hosts, InBatches(), name="batches", workers=2)
    with pytest.raises(ValueError, match="must be at least 1"):
        reconcile(db, Hosts, Rig(), name="none", workers=0)
    with pytest.raises(ValueError, match="must be a positive number"):
        reconcile(db, Hosts, Rig(), name="still", calls_per_s=0)


# -- priorities and pace -------------------------------------------------------------------------------------------


def test_the_highest_priority_comes_first_and_of_equal_ones_the_first():
    rig = Rig(workers=1, priority=lambda row: row.amount)
    rig.put("a")
    rig.put("b", "c")
    rig.put("d", amount=5)
    rig.put("e", amount=-1)
    rig.remove("b")
    assert rig.all_done() == ["update a", "update d", "delete b", "update c", "update e"]


def test_a_priority_that_cannot_be_told_is_0(caplog):
    rig = Rig(workers=1, priority=lambda row: 1 / row.amount)
    rig.put("a", "b")
    rig.put("c", amount=1)
    assert rig.all_done() == ["update a", "update c", "update b"]
    assert "the priority function failed; the priority of the object is 0" in caplog.text


def test_so_many_calls_a_second():
    rig = Rig(workers=3, calls_per_s=2)
    rig.put("a", "b", "c", "d")
    assert rig.all_done() == ["update a"]
    rig.driver.advance(0.5)
    assert rig.all_done() == ["update b"]
    rig.driver.advance(0.49)
    assert rig.all_done() == []
    for _ in range(3):
        rig.driver.advance(0.26)
        rig.all_done()
    assert set(rig.rows) == {"a", "b", "c", "d"}


def test_two_calls_for_one_object_are_apart_and_others_go_on():
    rig = Rig(workers=1, object_interval_s=10)
    rig.put("a")
    rig.end()
    rig.put("a", amount=1)
    rig.put("b")
    assert rig.all_done() == ["update a", "update b"]
    rig.driver.advance(9.9)
    assert rig.all_done() == []
    rig.driver.advance(0.1)
    assert rig.all_done() == ["update a"]
    assert rig.rows["a"].amount == 1


# -- later ---------------------------------------------------------------------------------------------------------


def test_an_object_is_done_again_later_if_the_operation_says_so():
    rig = Rig()
    rig.answers["a"] = Again(after_s=30)
    rig.put("a", "b")
    assert rig.all_done() == ["update a", "update b"]
    assert rig.states() == {"a": "done", "b": "done"}
    rig.driver.advance(29)
    assert rig.all_done() == []
    rig.driver.advance(1)
    assert rig.all_done() == ["update a"]
    rig.answers.clear()
    rig.driver.advance(30)
    assert rig.all_done() == ["update a"]
    rig.driver.advance(300)
    assert rig.all_done() == []


def test_the_newest_answer_counts():
    rig = Rig()
    rig.answers["a"] = Again(after_s=30)
    rig.put("a")
    rig.all_done()
    rig.answers.clear()
    rig.put("a", amount=1)
    assert rig.all_done() == ["update a"]
    rig.driver.advance(300)
    assert rig.all_done() == []


def test_a_delete_may_take_several_calls_and_keeps_its_status_until_the_last():
    rig = Rig()
    rig.answers["a"] = Again(after_s=1)
    rig.put("a")
    rig.all_done()
    rig.remove("a")
    assert rig.all_done() == ["delete a"]
    assert rig.states() == {"a": "done"}
    rig.answers.clear()
    rig.driver.advance(1)
    assert rig.all_done() == ["delete a"]
    assert rig.states() == {}


def test_a_failure_after_an_answer_backs_off_as_any():
    rig = Rig(retry_min_s=1, retry_max_s=4)
    rig.answers["a"] = Again(after_s=0.5)
    rig.put("a")
    rig.end()
    rig.driver.advance(0.5)
    for pause in (1, 2, 4, 4):
        assert rig.begun() == ["update a"]
        rig.end(error=OSError("not now"))
        rig.driver.advance(pause - 0.1)
        assert rig.begun() == []
        rig.driver.advance(0.1)
    rig.answers.clear()
    rig.all_done()
    assert rig.states() == {"a": "done"}


# -- a view that is new enough -------------------------------------------------------------------------------------


def written(amount: int) -> Callable[[Snapshot], bool]:
    return lambda snapshot: any(slot.amount >= amount for slot in snapshot[Slots].values())


def test_nothing_begins_for_an_object_before_its_own_write_is_in_the_view():
    rig = Rig(also={Slots: lambda snapshot, slot: [slot.key.zone]})
    rig.answers["a"] = Again(view=written(7))
    rig.put("a")
    rig.end()
    rig.put("a", amount=1)
    rig.put("b")
    assert rig.all_done() == ["update a", "update b"], "others go on"
    rig.db.insert(Slots, Slot(SlotKey("b", 1), amount=6))
    assert rig.all_done() == ["update b"]
    rig.db.insert(Slots, Slot(SlotKey("b", 1), amount=7))
    rig.driver.settle()
    assert sorted(rig.begun()) == ["update a", "update b"]
    assert rig.reconciler.stats.views_missed == 0


def test_a_view_that_never_comes_is_not_waited_for_for_ever():
    rig = Rig(view_wait_s=30)
    rig.answers["a"] = Again(after_s=5, view=written(7))
    rig.put("a")
    rig.end()
    rig.driver.advance(29)
    assert rig.all_done() == ["update a"]
    rig.driver.advance(1)
    assert rig.begun() == ["update a"]
    assert rig.reconciler.stats.views_missed == 1


# -- told by other tables ------------------------------------------------------------------------------------------


def test_rows_of_other_tables_have_their_objects_done_again_the_former_ones_too():
    rig = Rig(also={Slots: lambda snapshot, slot: [f"of-{slot.amount}"]})
    rig.put("of-1", "of-2")
    rig.all_done()
    rig.db.insert(Slots, Slot(SlotKey("x", 1), amount=1))
    assert rig.all_done() == ["update of-1"]
    rig.db.insert(Slots, Slot(SlotKey("x", 1), amount=2))
    assert rig.all_done() == ["update of-1", "update of-2"]
    rig.db.delete(Slots, SlotKey("x", 1))
    assert rig.all_done() == ["update of-2"]
    rig.db.insert(Slots, Slot(SlotKey("x", 1), amount=9))
    assert rig.all_done() == [], "there is no such object"


def test_by_an_index_of_the_objects():
    def of_zone(snapshot: Snapshot, slot: Slot) -> list[str]:
        return [row.name for row in snapshot[Hosts].prefix(slot.key.zone)]

    rig = Rig(also={Slots: of_zone})
    rig.put("web-1", "web-2", "dns-1")
    rig.all_done()
    rig.db.insert(Slots, Slot(SlotKey("web", 1)))
    assert rig.all_done() == ["update web-1", "update web-2"]


def test_a_row_of_another_table_ends_the_pause_of_an_object_that_fails():
    rig = Rig(retry_min_s=60, also={Slots: lambda snapshot, slot: [slot.key.zone]})
    rig.put("a")
    rig.end(error=OSError("its slot is missing"))
    rig.db.insert(Slots, Slot(SlotKey("a", 1)))
    assert rig.all_done() == ["update a"]
    assert rig.states() == {"a": "done"}
    rig.driver.advance(100)
    assert rig.all_done() == []


def test_a_function_that_fails_costs_only_its_row_and_is_told(caplog):
    rig = Rig(also={Slots: lambda snapshot, slot: [f"of-{1 // slot.amount}"]})
    rig.put("of-1")
    rig.all_done()
    with rig.db.write(Slots) as txn:
        txn[Slots].insert(Slot(SlotKey("x", 1), amount=0))
        txn[Slots].insert(Slot(SlotKey("x", 2), amount=1))
    assert rig.all_done() == ["update of-1"]
    assert rig.reconciler.health == "OK, 1 object(s); 1 row(s) of other tables could not be mapped to keys: see the log"
    assert "the function for the keys of a row of 'sample-slots' failed: row" in caplog.text


# -- threads and tasks ---------------------------------------------------------------------------------------------


class Meeting:
    """Operations that end only when so many are under way at once."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=SOON)
        self.done: list[str] = []

    def update(self, snapshot: Snapshot, row: Host, /) -> None:
        self.barrier.wait()
        self.done.append(row.name)

    def delete(self, snapshot: Snapshot, row: Host, /) -> None: ...

    def prune(self, snapshot: Snapshot, rows: Iterable[Host], /) -> None: ...


def test_threads_work_at_once_and_end_with_the_reconciler():
    db, meeting = Database(Hosts), Meeting(3)
    for name in "abcdef":
        db.insert(Hosts, Host(name))
    with reconcile(db, Hosts, meeting, name="meeting", workers=3) as reconciler:
        assert reconciler.wait_applied(timeout=SOON)
        assert sorted(meeting.done) == list("abcdef")
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("meeting-")]
        assert len(threads) == 3
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive()


def test_stop_finishes_what_is_under_way_and_writes_it_down():
    db, meeting = Database(Hosts), Meeting(3)  # the two workers, and this test
    for name in "abc":
        db.insert(Hosts, Host(name))
    reconciler = reconcile(db, Hosts, meeting, name="meeting", workers=2)
    reconciler.start()
    watch = db.snapshot()[Statuses].watch()
    while len([row for row in db.snapshot()[Statuses].values() if row.state == "pending"]) < 3:
        assert watch.wait(SOON)
        watch = db.snapshot()[Statuses].watch()
    eventually(lambda: reconciler.stats.under_way >= 2, "both")  # begun in the same round as the statuses were written
    reconciler.stop()
    meeting.barrier.wait()
    assert reconciler.join(SOON)
    assert sorted(meeting.done) == ["a", "b"]
    assert {row.key.object: row.state for row in db.snapshot()[Statuses].values()} == {
        "a": "done",
        "b": "done",
        "c": "pending",
    }


class Tasks:
    """Asynchronous operations: so many are under way at once, never two for one object."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.under_way: set[str] = set()
        self.most = 0
        self.rows: dict[str, Host] = {}
        self.pruned: list[int] = []

    async def update(self, snapshot: Snapshot, row: Host, /) -> Again | None:
        assert row.name not in self.under_way
        self.under_way.add(row.name)
        self.most = max(self.most, len(self.under_way))
        for _ in range(3):
            await asyncio.sleep(0)
        self.under_way.remove(row.name)
        if row.amount == 1 and row.name not in self.rows:
            self.rows[row.name] = row
            raise OSError("the first one fails")
        self.rows[row.name] = row
        return None

    async def delete(self, snapshot: Snapshot, row: Host, /) -> None:
        self.rows.pop(row.name, None)

    async def prune(self, snapshot: Snapshot, rows: Iterable[Host], /) -> None:
        assert not self.under_way
        await asyncio.sleep(0)
        self.pruned.append(len(list(rows)))


def test_tasks_work_at_once():
    async def run() -> Tasks:
        db = Database(Hosts)
        tasks = Tasks(db)
        for number in range(20):
            db.insert(Hosts, Host(f"host-{number:02}", amount=number))
        reconciler = reconcile(db, Hosts, tasks, name="tasks", workers=4)
        running = asyncio.create_task(reconciler.run_async())
        for amount in range(50, 55):
            db.insert(Hosts, Host("host-03", amount=amount))
            assert await asyncio.to_thread(reconciler.wait_applied, None, SOON)
        db.delete(Hosts, "host-04")
        done = await asyncio.to_thread(reconciler.wait_until_reconciled, None, SOON)
        assert done is not None
        while done.lowest_failing:
            await asyncio.sleep(0.01)
            done = await asyncio.to_thread(reconciler.wait_until_reconciled, None, SOON)
            assert done is not None
        reconciler.stop()
        await running
        assert tasks.rows == dict(db.snapshot()[Hosts].items())
        return tasks

    tasks = asyncio.run(run())
    assert tasks.most == 4
    assert tasks.pruned[0] == 20


def test_a_task_that_is_cancelled_cancels_what_is_under_way():
    async def run() -> None:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        class Endless(Tasks):
            async def update(self, snapshot: Snapshot, row: Host, /) -> None:
                begun.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()

        db = Database(Hosts)
        db.insert(Hosts, Host("a"))
        running = asyncio.create_task(reconcile(db, Hosts, Endless(db), name="endless").run_async())
        await asyncio.wait_for(begun.wait(), SOON)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.wait_for(cancelled.wait(), SOON)

    asyncio.run(run())


def test_asynchronous_operations_on_a_thread_are_an_error_that_says_what_to_do():
    db = Database(Hosts)
    db.insert(Hosts, Host("a"))
    failures: list[Any] = []

    def report(failure: Any) -> None:
        failures.append(failure)
        reconciler.stop()

    reconciler = reconcile(db, Hosts, Tasks(db), name="tasks", report=report)
    reconciler.run()
    assert "is asynchronous; run it in a task: await follower.run_async()" in str(failures[0].error)
