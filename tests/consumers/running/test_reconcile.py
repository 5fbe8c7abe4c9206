"""The reconciler: what the table says becomes true in the world, whatever fails, and the statuses say how far it is."""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from consumers import reconcile
from consumers.reconciling import unsynced
from consumers.running.reconciler import Progress, Reconciler
from consumers.running.status import State, Status, Statuses, StatusKey, object_name, status_of, summary
from statedb import Database, Snapshot, load
from statedb.catalog import SourceKey, SourceRow, Sources
from statedb.testing import Host, Hosts, Slot, SlotKey, Slots, VirtualClock, histories, play

from .driving import Driver

SOON = 20.0


class World:
    """An outside world that does as it is told, or refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.rows: dict[Any, Any] = {}
        self.calls: list[str] = []
        self.refuses: set[Any] = set()
        self.prune_fails = False

    def update(self, snapshot: Snapshot, row: Host, /) -> None:
        self.calls.append(f"update {row.name}")
        self.check(row.name)
        self.rows[row.name] = row

    def delete(self, snapshot: Snapshot, row: Host, /) -> None:
        self.calls.append(f"delete {row.name}")
        self.check(row.name)
        self.rows.pop(row.name, None)

    def prune(self, snapshot: Snapshot, rows: Iterable[Host], /) -> None:
        names = {row.name for row in rows}
        self.calls.append(f"prune {' '.join(sorted(names))}".strip())
        if self.prune_fails:
            raise OSError("no pruning today")
        self.rows = {name: row for name, row in self.rows.items() if name in names}

    def check(self, name: str) -> None:
        if name in self.refuses:
            raise OSError(f"no {name} today")

    def taken(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls


class BatchWorld(World):
    """The same, many at once."""

    def update_batch(self, snapshot: Snapshot, rows: Mapping[str, Host], /) -> dict[str, Exception]:
        self.calls.append(f"update {' '.join(rows)}")
        self.rows.update({name: row for name, row in rows.items() if name not in self.refuses})
        return {name: OSError("refused") for name in rows if name in self.refuses}

    def delete_batch(self, snapshot: Snapshot, rows: Mapping[str, Host], /) -> dict[str, Exception]:
        self.calls.append(f"delete {' '.join(rows)}")
        if self.refuses:
            raise ConnectionError("the world is away")
        for name in rows:
            self.rows.pop(name, None)
        return {}


class Rig:
    """A reconciler of hosts on a virtual clock."""

    def __init__(self, world: World | None = None, db: Database | None = None, **options: Any) -> None:
        self.world = world or World()
        self.db = db or Database(Hosts, Slots, Sources)
        self.clock = VirtualClock(1000.0)
        options = {"name": "world", "prune_interval_s": None, "refresh_interval_s": None, **options}
        sources = options.pop("sources", [Hosts])
        options |= {"may_prune": unsynced(sources), "woken_by": (Sources,)}
        self.reconciler: Reconciler[str, Host] = Reconciler(
            self.db, Hosts, self.world, clock=self.clock, now=self.clock, **options
        )
        self.driver = Driver(self.reconciler, self.clock)

    def put(self, *names: str, amount: int = 0) -> None:
        with self.db.write(Hosts) as txn:
            for name in names:
                txn[Hosts].insert(Host(name, amount=amount))

    def remove(self, *names: str) -> None:
        with self.db.write(Hosts) as txn:
            for name in names:
                txn[Hosts].delete(name)

    def source(self, state: str, table: str = "sample-hosts") -> None:
        with self.db.write(Sources) as txn:
            txn[Sources].insert(SourceRow(SourceKey("c1", table), "test", state))

    def did(self, *names: str) -> list[str]:
        """What the world was asked to do meanwhile."""
        self.driver.settle()
        return self.world.taken()

    def statuses(self) -> dict[str, State]:
        rows = self.db.snapshot()[Statuses].prefix((self.reconciler.name,))
        return {row.key.object: row.state for row in rows}


# -- the equation --------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    history=histories(max_size=10),
    moods=st.lists(
        st.tuples(st.sets(st.sampled_from(["a", "ab", "b"])), st.sampled_from([None, 0, 0.3, 5])), min_size=10
    ),
    batches=st.booleans(),
)
def test_the_world_becomes_what_the_table_says_whatever_fails(history, moods, batches):
    rig = Rig(BatchWorld() if batches else World(), round_objects_max=2)
    for writes, (refuses, seconds) in zip(history, moods):
        rig.world.refuses = refuses
        play([writes], rig.db)
        if seconds is not None:
            rig.driver.advance(seconds)
    rig.driver.settle()
    rig.world.refuses = set()
    rig.reconciler.wake()  # a forced write of an equal row moves its revision and wakes nobody
    rig.driver.advance(200)
    snapshot = rig.db.snapshot()
    assert rig.world.rows == dict(snapshot[Hosts].items())
    assert rig.statuses() == dict.fromkeys(snapshot[Hosts], "done")
    for name in snapshot[Hosts]:
        entry = snapshot[Hosts].entry(name)
        assert entry is not None
        assert status_of(snapshot, "world", Hosts, name).revision == entry.revision
    assert rig.reconciler._progress == Progress(snapshot[Hosts].revision, 0)


# -- statuses ------------------------------------------------------------------------------------------------------


def test_only_what_changed_is_worked_on_and_done_says_so():
    rig = Rig()
    rig.put("a", "b")
    assert rig.did() == ["update a", "update b"]
    rig.put("b", amount=1)
    assert rig.did() == ["update b"]
    assert rig.statuses() == {"a": "done", "b": "done"}
    status = status_of(rig.db.snapshot(), "world", Hosts, "b")
    assert status == Status(StatusKey("world", "b"), "sample-hosts", "done", 3, time=1000.0)


def test_a_failure_says_so_with_its_text_and_is_tried_again_until_it_succeeds():
    rig = Rig(retry_min_s=1, retry_max_s=4)
    rig.world.refuses = {"a"}
    rig.put("a", "b")
    assert rig.did() == ["update a", "update b"]
    status = status_of(rig.db.snapshot(), "world", Hosts, "a")
    assert (status.state, status.error, status.failures, status.revision) == ("error", "OSError: no a today", 1, 1)
    rig.driver.advance(20)
    assert rig.driver.pauses == [1, 2, 4, 4, 4, 4]
    rig.world.refuses = set()
    rig.driver.advance(4)
    assert rig.statuses() == {"a": "done", "b": "done"}
    assert status_of(rig.db.snapshot(), "world", Hosts, "a").failures == 0
    rig.world.taken()
    rig.driver.advance(100)
    assert rig.did() == []


def test_objects_are_pending_while_they_wait_for_their_round():
    rig = Rig(round_objects_max=1)
    seen: list[dict[str, State]] = []
    update = rig.world.update

    def look(snapshot: Snapshot, row: Host) -> None:
        seen.append(rig.statuses())
        update(snapshot, row)

    rig.world.update = look  # type: ignore[method-assign]
    rig.put("a", "b")
    rig.did()
    assert seen == [{"a": "pending", "b": "pending"}, {"a": "done", "b": "pending"}]


def test_a_status_about_an_older_revision_reads_as_pending():
    rig = Rig()
    rig.put("a")
    rig.did()
    rig.put("a", amount=1)
    snapshot = rig.db.snapshot()
    assert status_of(snapshot, "world", Hosts, "a").state == "pending"
    assert status_of(snapshot, "nobody", Hosts, "a").state == "pending"
    assert status_of(snapshot, "world", Hosts, "never seen").state == "pending"


def test_an_object_that_changes_while_it_is_worked_on_is_worked_on_again():
    rig = Rig()
    update = rig.world.update

    def change_meanwhile(snapshot: Snapshot, row: Host) -> None:
        if row.amount == 0:
            rig.put("a", amount=1)
        update(snapshot, row)

    rig.world.update = change_meanwhile  # type: ignore[method-assign]
    rig.put("a")
    assert rig.did() == ["update a", "update a"]
    assert rig.world.rows["a"].amount == 1
    assert status_of(rig.db.snapshot(), "world", Hosts, "a").state == "done"


def test_what_fails_for_an_object_that_changed_meanwhile_is_not_retried_beside_the_change():
    rig = Rig(retry_min_s=1)
    rig.world.refuses = {"a"}
    rig.put("a")
    rig.did()
    rig.put("a", amount=1)
    rig.world.refuses = set()
    assert rig.did() == ["update a"]
    rig.driver.advance(100)
    assert rig.did() == []


def test_a_changed_object_that_fails_again_begins_with_the_shortest_pause():
    rig = Rig(retry_min_s=1)
    rig.world.refuses = {"a"}
    rig.put("a")
    rig.driver.advance(4)  # pauses 1 and 2 are over
    rig.put("a", amount=1)
    rig.driver.settle()
    assert status_of(rig.db.snapshot(), "world", Hosts, "a").failures == 1


def test_deletes_are_retried_until_they_succeed_and_then_the_status_goes():
    rig = Rig(retry_min_s=1)
    rig.put("a")
    rig.did()
    rig.world.refuses = {"a"}
    rig.remove("a")
    assert rig.did() == ["delete a"]
    (status,) = rig.db.snapshot()[Statuses].values()
    assert (status.state, status.deleted, status.error) == ("error", True, "OSError: no a today")
    rig.driver.advance(2)
    assert rig.world.taken() == ["delete a"]
    rig.world.refuses = set()
    rig.driver.advance(2)
    assert rig.world.taken() == ["delete a"]
    assert not rig.db.snapshot()[Statuses]
    assert not rig.world.rows


def test_an_object_that_comes_back_is_updated_and_not_deleted_any_more():
    rig = Rig(retry_min_s=1)
    rig.put("a")
    rig.did()
    rig.world.refuses = {"a"}
    rig.remove("a")
    rig.did()
    rig.world.refuses = set()
    rig.put("a", amount=2)
    assert rig.did() == ["update a"]
    rig.driver.advance(100)
    assert rig.world.rows["a"].amount == 2


def test_deletes_come_before_updates():
    rig = Rig(BatchWorld())
    rig.put("a", "b")
    rig.did()
    with rig.db.write(Hosts) as txn:
        txn[Hosts].insert(Host("c"))
        txn[Hosts].delete("b")
        txn[Hosts].insert(Host("a", amount=1))
        txn[Hosts].delete("a")
    assert rig.did() == ["delete b a", "update c"]


def test_an_object_that_goes_while_it_waits_for_its_round_is_only_deleted():
    rig = Rig(round_objects_max=1)
    update = rig.world.update

    def remove_other(snapshot: Snapshot, row: Host) -> None:
        rig.remove("b")
        update(snapshot, row)

    rig.world.update = remove_other  # type: ignore[method-assign]
    rig.put("a", "b")
    assert rig.did() == ["update a", "delete b"]
    assert rig.statuses() == {"a": "done"}


# -- several reconcilers -------------------------------------------------------------------------------------------


def test_several_reconcilers_of_one_table_do_not_disturb_each_other():
    one = Rig()
    other = Rig(db=one.db, name="other", retry_min_s=1)
    other.world.refuses = {"a"}
    one.put("a", "b")
    one.driver.settle()
    other.driver.settle()
    assert one.did() == ["update a", "update b"]
    assert other.did() == ["update a", "update b"]
    assert one.statuses() == {"a": "done", "b": "done"}
    assert other.statuses() == {"a": "error", "b": "done"}
    other.driver.advance(10)
    assert other.did() == ["update a"] * 3  # after 1, 3 and 7 seconds
    assert one.did() == []
    snapshot = one.db.snapshot()
    assert other.reconciler.stats.errors == 1
    assert other.reconciler.stats.errors_total == 4
    both = snapshot[Statuses.by_object]["sample-hosts", "a"]
    assert summary(both, now=1010.0) == "Errored: other (OSError: no a today), Done: world (10.0s ago)"
    assert snapshot[Statuses.by_state]["other", "error"] == (both[0],)


def test_statuses_survive_a_dump():
    rig = Rig()
    rig.world.refuses = {"b"}
    rig.put("a", "b")
    rig.did()
    copy = Database(Hosts, Slots, Sources, Statuses)
    load(copy, rig.db.dump())
    assert list(copy.snapshot()[Statuses].values()) == list(rig.db.snapshot()[Statuses].values())
    (status, _) = copy.snapshot()[Statuses].values()
    assert msgspec.json.decode(msgspec.json.encode(status), type=Status) == status


def test_the_summary_lists_all_three_states():
    statuses = [
        Status(StatusKey("foo", "a"), "t", "done", time=1.0),
        Status(StatusKey("x", "a"), "t", "pending"),
        Status(StatusKey("bar", "a"), "t", "error", error="fail"),
    ]
    assert summary(statuses, 3.0) == "Errored: bar (fail), Pending: x, Done: foo (2.0s ago)"


def test_keys_of_any_kind_have_names_of_their_own():
    keys: list[Any] = ["a", SlotKey("x", 1), SlotKey("x", 2), ("a", 1), ("a,1",), 7]
    assert len({object_name(key) for key in keys}) == len(keys)
    db = Database(Slots)

    class Nothing:
        def update(self, snapshot: Snapshot, row: Slot, /) -> None: ...
        def delete(self, snapshot: Snapshot, row: Slot, /) -> None: ...
        def prune(self, snapshot: Snapshot, rows: Iterable[Slot], /) -> None: ...

    with db.write(Slots) as txn:
        txn[Slots].insert(Slot(SlotKey("x", 1)))
    Driver(Reconciler(db, Slots, Nothing(), name="nothing")).settle()
    assert status_of(db.snapshot(), "nothing", Slots, SlotKey("x", 1)).state == "done"


def test_a_new_reconciler_of_the_same_name_does_everything_again_and_forgets_what_is_gone():
    first = Rig()
    first.put("a", "b")
    first.did()
    first.driver.close()
    first.remove("b")
    second = Rig(db=first.db)
    assert second.did() == ["update a"]
    assert second.statuses() == {"a": "done"}


# -- waiting -------------------------------------------------------------------------------------------------------


def test_wait_until_reconciled_says_how_far_it_is_and_what_still_fails():
    rig = Rig(retry_min_s=1, round_objects_max=1)
    reconciler = rig.reconciler
    assert reconciler.wait_until_reconciled(0, timeout=0) == Progress(0, 0)
    rig.world.refuses = {"b"}
    rig.put("a", "b", "c")
    assert reconciler.wait_until_reconciled(1, timeout=0) is None
    rig.driver.settle()
    assert reconciler.wait_until_reconciled(3, timeout=0) == Progress(3, 2)
    assert reconciler.wait_until_reconciled(timeout=0) == Progress(3, 2)
    assert reconciler.wait_until_reconciled(4, timeout=0) is None
    rig.world.refuses = set()
    rig.driver.advance(1)
    assert reconciler.wait_until_reconciled(3, timeout=0) == Progress(3, 0)


def test_what_waits_for_its_round_is_not_reconciled_yet():
    rig = Rig(round_objects_max=1)
    update = rig.world.update
    reached: list[list[bool]] = []

    def look(snapshot: Snapshot, row: Host) -> None:
        reached.append([rig.reconciler.wait_until_reconciled(each, timeout=0) is not None for each in (1, 2, 3)])
        update(snapshot, row)

    rig.world.update = look  # type: ignore[method-assign]
    rig.put("a", "b", "c")
    rig.did()
    assert reached == [[False, False, False], [True, False, False], [True, True, False]]


def test_a_thread_reconciles_and_can_be_waited_for():
    db = Database(Hosts)
    world = World()
    with reconcile(db, Hosts, world, name="world", prune_interval_s=None) as reconciler:
        waited: list[Any] = []
        waiter = threading.Thread(target=lambda: waited.append(reconciler.wait_until_reconciled(40, timeout=SOON)))
        waiter.start()
        for number in range(40):
            with db.write(Hosts) as txn:
                txn[Hosts].insert(Host(f"h{number % 7}", amount=number))
        waiter.join()
        assert waited == [Progress(40, 0)]
        with db.write(Hosts) as txn:
            txn[Hosts].insert(Host("h4", amount=39), force=True)
        assert reconciler.wait_until_reconciled(timeout=SOON) == Progress(41, 0)
        assert world.rows == dict(db.snapshot()[Hosts].items())
    assert reconciler.wait_until_reconciled(42, timeout=SOON) is None


def test_stop_ends_a_long_round_between_two_objects():
    db = Database(Hosts)
    world = World()
    reconciler = reconcile(db, Hosts, world, name="world")

    def stopping(snapshot: Snapshot, row: Host) -> None:
        world.calls.append(row.name)
        if len(world.calls) == 3:
            reconciler.stop()

    world.update = stopping  # type: ignore[method-assign]
    with db.write(Hosts) as txn:
        for number in range(100):
            txn[Hosts].insert(Host(f"h{number:02}"))
    reconciler.run()
    assert world.calls == ["h00", "h01", "h02"]
    states = [row.state for row in db.snapshot()[Statuses].values()]
    assert (states.count("done"), states.count("pending")) == (3, 97)


# -- batches -------------------------------------------------------------------------------------------------------


def test_batches_say_what_failed_and_only_that_is_tried_again():
    rig = Rig(BatchWorld(), retry_min_s=1)
    rig.world.refuses = {"b"}
    rig.put("a", "b", "c")
    assert rig.did() == ["update a b c"]
    assert rig.statuses() == {"a": "done", "b": "error", "c": "done"}
    rig.driver.advance(1)
    assert rig.did() == ["update b"]


def test_a_batch_that_raises_has_failed_as_a_whole():
    rig = Rig(BatchWorld(), retry_min_s=1)
    rig.put("a", "b")
    rig.did()
    rig.world.refuses = {"x"}
    rig.remove("a", "b")
    assert rig.did() == ["delete a b"]
    assert rig.statuses() == {"a": "error", "b": "error"}
    rig.world.refuses = set()
    rig.driver.advance(1)
    assert rig.did() == ["delete a b"]
    assert rig.statuses() == {}


def test_rounds_are_bounded():
    rig = Rig(BatchWorld(), round_objects_max=2)
    rig.put("a", "b", "c")
    rig.did()
    with rig.db.write(Hosts) as txn:
        txn[Hosts].delete("a")
        for name in ("d", "e"):
            txn[Hosts].insert(Host(name))
    assert rig.did() == ["delete a", "update d", "update e"]


# -- pruning -------------------------------------------------------------------------------------------------------


def test_pruning_begins_when_the_table_is_initialized_also_with_no_objects():
    rig = Rig(prune_interval_s=3600)
    with rig.db.write(Hosts) as txn:
        token = txn[Hosts].begin_initializer("source")
    rig.world.rows["left behind"] = Host("left behind")
    rig.reconciler.prune()  # kept until then, and satisfied by the first one
    rig.driver.advance(10_000)
    assert rig.did() == []
    assert rig.reconciler.health == "OK, 0 object(s); pruning waits: table 'sample-hosts' is not initialized"
    with rig.db.write(Hosts) as txn:
        txn[Hosts].finish_initializer(token)
    assert rig.did() == ["prune"]
    assert not rig.world.rows
    assert rig.did() == []


def test_objects_are_updated_before_the_table_is_initialized():
    rig = Rig()
    with rig.db.write(Hosts) as txn:
        txn[Hosts].begin_initializer("source")
    rig.put("a")
    assert rig.did() == ["update a"]


def test_pruning_is_repeated_and_can_be_asked_for_and_knows_all_objects():
    rig = Rig(prune_interval_s=100)
    rig.put("a", "b")
    assert rig.did() == ["update a", "update b", "prune a b"]
    rig.remove("a")
    assert rig.did() == ["delete a"]
    rig.driver.advance(100)
    assert rig.did() == ["prune b"]
    rig.reconciler.prune()
    assert rig.did() == ["prune b"]
    rig.driver.advance(99)
    assert rig.did() == []
    rig.driver.advance(1)
    assert rig.did() == ["prune b"]


def test_a_prune_that_fails_is_told_and_waits_for_its_next_time():
    rig = Rig(prune_interval_s=100)
    rig.world.prune_fails = True
    assert rig.did() == ["prune"]
    assert rig.reconciler.health == "0 object(s); prune failed: OSError: no pruning today"
    rig.driver.advance(99)
    assert rig.did() == []
    rig.world.prune_fails = False
    rig.driver.advance(1)
    assert rig.did() == ["prune"]
    assert rig.reconciler.health == "OK, 0 object(s)"
    assert (rig.reconciler.stats.prunes, rig.reconciler.stats.prune_errors) == (2, 1)


@pytest.mark.parametrize("state", ["absent", "connecting", "syncing", "stale", "failed"])
def test_pruning_waits_while_a_source_is_stale_unless_asked(state):
    rig = Rig(prune_interval_s=100)
    rig.source("synced")
    rig.source(state, "sample-slots")  # of another table: does not matter
    rig.put("a")
    assert rig.did() == ["update a", "prune a"]
    rig.source(state)
    rig.driver.advance(500)
    rig.reconciler.prune()
    assert rig.did() == []
    assert rig.reconciler.health.endswith(f"pruning waits: the source of 'sample-hosts' in cluster 'c1' is {state}")
    rig.reconciler.prune(even_if_stale=True)
    assert rig.did() == ["prune a"]
    rig.driver.advance(500)
    assert rig.did() == []
    rig.source("synced")
    assert rig.did() == ["prune a"]  # the one that waited, at once
    rig.driver.advance(100)
    assert rig.did() == ["prune a"]


def test_pruning_from_a_derived_table_looks_at_the_sources_of_what_it_is_derived_from():
    rig = Rig(prune_interval_s=100, sources=[Slots])
    rig.source("stale", "sample-slots")
    assert rig.did() == []
    rig.source("synced", "sample-slots")
    assert rig.did() == ["prune"]


# -- refreshing ----------------------------------------------------------------------------------------------------


def test_objects_done_long_ago_are_done_again():
    rig = Rig(refresh_interval_s=100)
    rig.put("a")
    rig.did()
    rig.driver.advance(50)
    rig.put("b")
    assert rig.did() == ["update b"]
    rig.driver.advance(50)
    assert rig.did() == ["update a"]
    rig.driver.advance(50)
    assert rig.did() == ["update b"]
    assert rig.reconciler.stats.refreshes == 2


def test_a_refresh_that_fails_is_retried():
    rig = Rig(refresh_interval_s=100, retry_min_s=1)
    rig.put("a")
    rig.did()
    rig.world.refuses = {"a"}
    rig.driver.advance(100)
    assert rig.statuses() == {"a": "error"}
    rig.world.refuses = set()
    rig.driver.advance(1)
    assert rig.statuses() == {"a": "done"}
    assert rig.did() == ["update a", "update a"]


def test_all_objects_can_be_refreshed_at_once():
    rig = Rig()
    rig.put("a", "b")
    rig.did()
    rig.reconciler.refresh()
    assert rig.did() == ["update a", "update b"]


def test_so_many_a_second_are_refreshed():
    rig = Rig(refresh_interval_s=100, refresh_per_s=2)
    rig.put(*"abcdef")
    rig.did()
    rig.driver.advance(100)
    assert len(rig.did()) == 2
    rig.driver.advance(1)
    assert len(rig.did()) == 2
    rig.driver.advance(1)
    assert len(rig.did()) == 2


# -- health and figures --------------------------------------------------------------------------------------------


def test_health_is_one_line():
    rig = Rig()
    rig.put("a", "b", "c")
    rig.did()
    assert rig.reconciler.health == "OK, 3 object(s)"
    rig.world.refuses = {"b"}
    rig.put("b", amount=1)
    rig.did()
    assert rig.reconciler.health == "1 error(s), 3 object(s); b: OSError: no b today"
    assert "world: 1 error(s)" in repr(rig.reconciler)


def test_health_names_ten_errors_at_most():
    rig = Rig()
    names = [f"h{number:02}" for number in range(12)]
    rig.world.refuses = set(names)
    rig.put(*names)
    rig.did()
    assert rig.reconciler.health.count("OSError") == 10
    assert rig.reconciler.health.endswith("; and 2 more")


def test_figures_count_what_was_done():
    rig = Rig(retry_min_s=1)
    rig.world.refuses = {"b"}
    rig.put("a", "b")
    rig.did()
    rig.remove("a")
    rig.did()
    stats = rig.reconciler.stats
    assert (stats.updates, stats.deletes, stats.errors, stats.errors_total, stats.pending) == (2, 1, 1, 1, 0)
    assert stats.updates_s >= 0


def test_operations_that_lack_a_method_are_refused_at_once():
    class Half:
        def update(self, snapshot: object, row: object) -> None: ...

    with pytest.raises(TypeError, match="half: the operations \\(Half\\) need the methods delete, prune"):
        reconcile(Database(Hosts), Hosts, Half(), name="half")  # type: ignore[arg-type]
