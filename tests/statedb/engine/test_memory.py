"""What is held while it is held, and freed when it is dropped: by reference counting alone, with the collector off."""

import gc
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from statedb import Database, Table, UniqueIndex, Watch
from statedb.engine import history as _history

from ._helpers import Host, Hosts, Port, Ports, Scene, fold_into


class Row(msgspec.Struct, frozen=True, weakref=True):
    """A row that can be referred to weakly."""

    key: int
    value: int


class RowTable(Table[int, Row], name="rows"):
    primary = UniqueIndex[int, Row](lambda row: row.key)


class Counters(Table[int, tuple[int, int]], name="counters"):
    primary = UniqueIndex[int, tuple[int, int]](lambda row: row[0])


@pytest.fixture(autouse=True)
def _without_the_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def commit_many(db: Database, start: int, stop: int) -> None:
    """One row a commit, ten keys in turn."""
    for number in range(start, stop):
        with db.write(Counters) as txn:
            txn[Counters].insert((number % 10, number))


def grown(action: Callable[[], Any]) -> int:
    """By how many bytes the traced memory grew."""
    before = tracemalloc.get_traced_memory()[0]
    action()
    return tracemalloc.get_traced_memory()[0] - before


# -- held idly --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", ["nothing", "snapshot", "view", "stream", "watch", "all"])
def test_what_is_held_idly_over_many_commits_stays_small(held):
    """Compaction bounds history by the rows changed, ten here, not by the commits."""
    db = Database(Counters)
    commit_many(db, 0, 20)
    holding: list[Any] = []
    if held in ("snapshot", "all"):
        holding.append(db.snapshot())
    if held in ("view", "all"):
        holding.append(db.snapshot()[Counters])
    if held in ("watch", "all"):
        holding.append(db.snapshot()[Counters].watch(99))
    stream = db.changes(Counters)
    if held in ("stream", "all"):
        stream.next(timeout=0)
    commit_many(db, 20, 2000)
    tracemalloc.start()
    try:
        commits = 100_000 if held == "all" else 10_000
        growth = grown(lambda: commit_many(db, 2000, 2000 + commits))
    finally:
        tracemalloc.stop()
    assert growth < 200_000
    if held in ("stream", "all"):
        batch = stream.next(timeout=0)
        assert batch is not None
        assert [change.row for change in batch] == sorted(db.snapshot()[Counters].values(), key=lambda row: row[1])
    stream.close()
    db.check()


def test_many_snapshots_held_over_many_commits_cost_what_changed_between_them():
    db = Database(Counters)
    commit_many(db, 0, 20)
    snaps = []
    for step in range(50):
        snaps.append((20 + step * 200, db.snapshot()))
        commit_many(db, 20 + step * 200, 20 + (step + 1) * 200)
    for number, snap in snaps:
        assert sorted(row[1] for row in snap[Counters].values()) == list(range(number - 10, number))
    assert sum(1 for _ in commits_from(db, snaps[0][1])) < 50 * 60


def test_what_many_dropped_snapshots_leave_does_not_let_the_history_of_an_old_one_grow():
    """History was shortened after as many commits as there had been snapshots, however many rows each changed."""
    db = Database(Counters)
    commit_many(db, 0, 20)
    old = db.snapshot()
    many = []
    for number in range(2000):
        commit_many(db, number, number + 1)
        many.append(db.snapshot())
    many.clear()
    most = 0
    for number in range(1500):
        with db.write(Counters) as txn:
            txn[Counters].insert_all([(key, number) for key in range(100)])
        most = max(most, sum(len(commit.link[0]) for commit in commits_from(db, old) if commit.link))
    assert most < 2 * 2000 + 300 * 100
    assert [value for _, value in old[Counters].values()] == list(range(10, 20))


def commits_from(db: Database, snap: Any) -> Iterator[Any]:
    """The chain of commits from a snapshot's to the newest."""
    commit = snap._pin_of(db._stores[Counters]).commit
    while commit.link is not None:
        yield commit
        commit = commit.link[2]


def test_an_old_snapshot_read_now_and_then_stays_small_and_right():
    """A read merges and keeps what changed since: that too is bounded by the rows."""
    db = Database(Counters)
    commit_many(db, 0, 20)
    snap = db.snapshot()
    expected = list(snap[Counters].values())

    def read_and_commit(start: int, stop: int) -> None:
        for number in range(start, stop, 10):
            commit_many(db, number, number + 10)
            assert list(snap[Counters].values()) == expected

    read_and_commit(20, 2020)
    tracemalloc.start()
    try:
        growth = grown(lambda: read_and_commit(2020, 12020))
    finally:
        tracemalloc.stop()
    assert growth < 200_000


# -- dropped ----------------------------------------------------------------------------------------------------------


def test_a_long_chain_of_commits_is_dropped_without_deep_recursion():
    """Nothing compacts what an old stream has not consumed within 256 commits; and many keys are not merged at all."""
    db = Database(Counters)
    snap = db.snapshot()
    for number in range(30_000):
        with db.write(Counters) as txn:
            txn[Counters].insert((number, number))
    del snap
    db.check()
    snaps = [db.snapshot()]
    for number in range(20_000):
        with db.write(Counters) as txn:
            txn[Counters].delete(number)
        snaps.append(db.snapshot())
    assert len(snaps[0][Counters]) == 30_000
    first = snaps[0]
    del snaps
    del first
    del db


def test_deleted_and_replaced_rows_go_with_the_last_snapshot_that_shows_them():
    db = Database(RowTable)
    row, other = Row(1, 1), Row(2, 2)
    dies, stays = weakref.ref(row), weakref.ref(other)
    with db.write(RowTable) as txn:
        txn[RowTable].insert(row)
        txn[RowTable].insert(other)
    del row, other
    snap = db.snapshot()
    with db.write(RowTable) as txn:
        txn[RowTable].delete(1)
    del txn
    assert dies() is not None
    del snap
    assert dies() is None
    assert stays() is not None


def test_a_database_dropped_with_all_that_was_made_of_it_is_freed_at_once():
    """No reference cycles: rows, tables, commits, watches and streams go without the collector."""
    db = Database(RowTable, Hosts)
    row = Row(1, 1)
    weak = [weakref.ref(db), weakref.ref(row)]
    with db.write(RowTable, Hosts) as txn:
        txn[RowTable].insert(row)
        txn[Hosts].insert(Host("a", "1", ("red",), ("10.0.0.0/8",)))
        assert len(txn[Hosts.by_tag]["red"]) == 1
    del row
    snap = db.snapshot()
    view, index = snap[RowTable], snap[Hosts.by_network]
    watch = view.watch(1)
    stream = db.changes(RowTable)
    batch = stream.next(timeout=0)
    pin = snap._pin_of(db._stores[RowTable])
    weak += [weakref.ref(thing) for thing in (watch, stream, pin, txn)]
    with db.write(RowTable) as later:
        later[RowTable].insert(Row(2, 2))
    assert list(view.values()) == [Row(1, 1)]
    assert index.longest("10.1.1.1")
    assert watch.tripped is False
    del pin, txn, later, snap, view, index, watch, batch, stream, db
    assert [thing() for thing in weak] == [None] * len(weak)


def test_a_scene_of_everything_leaves_no_garbage():
    """What the collector would find afterwards is nothing of the engine's."""

    def play() -> None:
        scene = Scene()
        with scene.db.write(Hosts, Ports) as txn:
            scene.change(txn)
        with suppress(ZeroDivisionError):
            with scene.db.write(Hosts) as txn:
                txn[Hosts].delete("a")
                1 / 0
        scene.fold()
        scene.close()

    play()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        play()
        gc.collect()
        garbage = [thing for thing in gc.garbage if type(thing).__module__.startswith("statedb")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert garbage == []


def test_a_closed_stream_holds_nothing_and_a_committed_transaction_its_own_snapshot():
    """``commit`` gives the same snapshot again, so the transaction keeps that; it goes with the transaction."""
    db = Database(RowTable)
    stream = db.changes(RowTable)
    fold_into({}, stream.next(timeout=0), RowTable.primary)
    row = Row(1, 1)
    weak = weakref.ref(row)
    txn = db.write(RowTable)
    txn[RowTable].insert(row)
    txn.commit()
    stream.next(timeout=0)
    stream.close()
    del row
    with db.write(RowTable) as later:
        later[RowTable].delete(1)
    del later
    assert list(txn.commit()[RowTable].values()) == [Row(1, 1)]
    del txn
    assert weak() is None


# -- watches ----------------------------------------------------------------------------------------------------------


def test_dropped_watches_are_swept():
    db = Database(Hosts)
    view, tags = db.snapshot()[Hosts], db.snapshot()[Hosts.by_tag]
    registry = db._stores[Hosts].registry
    kept: list[Watch] = []
    for number in range(10_000):
        view.watch(f"host {number}")
        view.watch_prefix(f"{number}")
        tags.watch(f"tag {number}")
        assert len(registry) < 10
    for number in range(10_000):
        kept.append(view.watch(f"host {number}"))
    assert len(registry) <= 10_001
    kept.clear()
    with db.write(Hosts) as txn:
        txn[Hosts].insert(Host("host 1", "1", ("red",)))
    last = view.watch("somebody")
    assert len(registry) == 1
    assert sum(map(len, registry._keys)) == 1
    assert not any(registry._prefixes)
    del last


def test_a_watch_that_tripped_holds_no_history():
    db = Database(RowTable)
    row = Row(1, 1)
    weak = weakref.ref(row)
    with db.write(RowTable) as txn:
        txn[RowTable].insert(row)
    del row
    watch = db.snapshot()[RowTable].watch(1)
    with db.write(RowTable) as txn:
        txn[RowTable].delete(1)
    del txn
    assert watch.tripped
    assert weak() is None


def test_many_snapshots_that_are_read_often_share_what_their_layers_may_take(monkeypatch):
    """Each would keep all that changed since; of those that were merged first the layers are dropped again."""
    monkeypatch.setattr(_history, "_MERGED_MIN", 500)
    db = Database(Counters)
    with db.write(Counters) as txn:
        txn[Counters].insert_all([(number, 0) for number in range(200)])
    kept = []
    for number in range(100):
        kept.append(db.snapshot())
        with db.write(Counters) as txn:
            txn[Counters].insert_all([(key, number + 1) for key in range(number, number + 50)])
    for times in (12, 1):
        for number, snapshot in enumerate(kept):
            for _ in range(times):
                rows = snapshot[Counters]
                assert [rows[key][1] for key in (0, number + 48, number + 49, 180)] == [
                    min(number, 1),
                    number and number,
                    0,
                    0,
                ]
                assert len(snapshot[Counters].range(limit=3)) == 3
    merged = [pin.layers for pin in (snapshot._pins[Counters] for snapshot in kept) if pin.layers is not None]
    assert 0 < sum(len(layer.states) for layers, _ in merged for layer in layers) <= 500 + 200


def test_the_collector_soon_stops_looking_at_what_is_staged_and_at_history():
    """Otherwise a bulk load fills its oldest generation, and starts one full collection after the other."""
    db = Database(Ports)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with db.write(Ports) as txn:
            txn[Ports].insert_all([Port(number, "a") for number in range(4)])
        with db.write(Ports) as txn:
            for number in range(4):
                txn[Ports].insert(Port(number, "a", 1))
            source = txn[Ports]._source
            states = [*source.before.values(), *source.redo.values()]
            gc.collect(0)
            gc.collect(1)
            assert not any(map(gc.is_tracked, states))
    finally:
        if was_enabled:
            gc.enable()
