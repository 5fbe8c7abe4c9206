"""The steps that run without a lock, each stopped in its gap: another thread or a finalizer comes in there."""

from __future__ import annotations

import gc
import threading
from functools import partial
from typing import Any

import pytest

from statedb.engine import bucket as _bucket
from statedb.engine.bucket import Bucket
from statedb.engine.commit import CommitPlan
from statedb.engine.head import Head
from statedb.engine.index_views import AnyIndexView
from statedb.engine.order import Order
from statedb.engine.row_list import RowList
from statedb.engine.source import Source
from statedb.engine.store import TableStore
from statedb.engine.wakers import ThreadWaker
from statedb.engine.watch import Registry, Watch

from ._helpers import in_a_thread, in_the_gap
from .tables import Account, Accounts, Pod, Pods, database, delete, names, put

# -- the list under an index key --------------------------------------------------------------------------------------

TAKE = ["self.version += 1", "self.discard(key)", "self.cached = None", "if self.order is not None"]


@pytest.mark.parametrize("large", [False, True], ids=["", "with an order of its own"])
@pytest.mark.parametrize("text", TAKE)
def test_a_list_that_is_read_while_a_key_goes_is_never_taken_for_a_later_one(monkeypatch, text, large):
    """A key came and another went: the list from before has the length of the one after."""
    if large:
        monkeypatch.setattr(_bucket, "_LARGE", 1)
    db = database(Pod("a"), Pod("b"))
    assert names(db.snapshot()[Pods.by_node]["n1"]) == ["a", "b"]  # cached
    put(db, Pod("c"))
    snapshot = db.snapshot()
    read: list[Any] = []
    in_the_gap(
        Bucket.discard_key,
        text,
        lambda: read.append(in_a_thread(lambda: names(snapshot[Pods.by_node]["n1"]))),
        lambda: delete(db, "a"),
    )
    assert read == [["a", "b", "c"]]
    assert names(snapshot[Pods.by_node]["n1"]) == ["a", "b", "c"]
    assert names(db.snapshot()[Pods.by_node]["n1"]) == ["b", "c"]
    put(db, Pod("d"))
    assert names(db.snapshot()[Pods.by_node]["n1"]) == ["b", "c", "d"]


def test_a_list_that_was_copied_while_a_key_went_and_is_kept_only_later_does_not_count():
    """Without the second bump of the version it would: one more key makes up its length."""
    db = database(Pod("a"), Pod("b"), Pod("c"))
    copied, go = threading.Event(), threading.Event()

    def stop() -> None:
        copied.set()
        assert go.wait(20)

    snapshot = db.snapshot()
    read = partial(
        in_the_gap, Bucket.ordered, "self.cached = (version", stop, lambda: names(snapshot[Pods.by_node]["n1"])
    )
    reader = threading.Thread(target=read)

    def between() -> None:
        reader.start()
        assert copied.wait(20)

    in_the_gap(Bucket.discard_key, "self.discard(key)", between, lambda: delete(db, "a"))
    put(db, Pod("d"))
    go.set()
    reader.join(20)
    assert names(db.snapshot()[Pods.by_node]["n1"]) == ["b", "c", "d"]


# -- the snapshot that all share --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["cached = self._cached", "snapshot = self._snapshot_of", "self._cached = snapshot"])
def test_a_commit_while_a_snapshot_is_taken_leaves_no_old_one_to_hold_history(text):
    db = database(Pod("a"))
    snapshot = in_the_gap(Head.snapshot, text, lambda: in_a_thread(lambda: put(db, Pod("b"))), db.snapshot)
    assert list(snapshot[Pods]) == ["a"]
    assert db._cached is None or db._cached._pins is db._root.pins
    assert list(db.snapshot()[Pods]) == ["a", "b"]
    del snapshot
    assert db.stats()[0].held_states == 0


# -- rows in order ----------------------------------------------------------------------------------------------------

MANY = [Pod(f"p{number:03}") for number in range(40)]


@pytest.mark.parametrize(
    "text", ["if touched is None or touched", "ordered = self._list", "if ordered is None", "start ="]
)
def test_a_range_that_is_read_while_the_list_is_brought_up_to_date_is_right(text):
    db = database(*MANY)
    list(db.snapshot()[Pods])  # from now on there is a list
    snapshot = db.snapshot()

    def between() -> None:
        put(db, Pod("p005a"))
        delete(db, "p007")
        list(db.snapshot()[Pods])

    rows = in_the_gap(RowList.between, text, lambda: in_a_thread(between), lambda: snapshot[Pods].range("p004", "p009"))
    assert names(rows) == ["p004", "p005", "p006", "p007", "p008"]
    assert names(db.snapshot()[Pods].range("p004", "p009")) == ["p004", "p005", "p005a", "p006", "p008"]


FRESH = [
    (RowList._fresh, "if ordered is None"),
    (RowList._fresh, "self._list = None  # if"),
    (RowList._fresh, "ordered = patched"),
    (RowList._fresh, "if self.touched is touched"),
    (Order._fresh, "if ordered is None"),
    (Order._keep, "if self.touched is touched"),
    (Order._drained, "if not changed"),
    (Order._drained, "for key in changed"),
]


@pytest.mark.parametrize("who", ["another thread commits", "a finalizer reads and commits"])
@pytest.mark.parametrize("gap", FRESH, ids=lambda gap: f"{gap[0].__qualname__}: {gap[1]}")
def test_an_order_that_is_brought_up_to_date_misses_nothing_that_comes_meanwhile(gap, who):
    db = database(*MANY)
    assert len(list(db.snapshot()[Pods])) == len(db.snapshot()[Pods].range(limit=40))
    put(db, Pod("new"))
    snapshot = db.snapshot()
    expected = [*names(MANY), "new"]
    expected.sort()

    def comes() -> None:
        if who.startswith("a finalizer"):
            assert list(db.snapshot()[Pods]) == expected
            assert db.snapshot()[Pods].last() == Pod("p039")
        in_a_thread(lambda: put(db, Pod("a")))
        in_a_thread(lambda: delete(db, "p020"))

    read = (
        (lambda: list(snapshot[Pods])) if gap[0] is RowList._fresh else (lambda: names(snapshot[Pods].range(limit=99)))
    )
    assert in_the_gap(*gap, comes, read) == expected
    newest = db.snapshot()[Pods]
    after = sorted([*[name for name in expected if name != "p020"], "a"])
    assert list(newest) == names(newest.range(limit=99)) == after
    db.check()


def test_readers_in_the_midst_of_two_orders_do_not_wait_for_each_other():
    """A finalizer in the one reads the other, and a signal handler in the other the one."""
    db = database(*MANY)
    list(db.snapshot()[Pods])
    assert db.snapshot()[Pods].range(limit=99)
    put(db, Pod("new"))
    snapshot = db.snapshot()
    inside = {RowList: threading.Event(), Order: threading.Event()}
    answers: dict[Any, list[str]] = {}

    def read(kind: Any) -> list[str]:
        return list(snapshot[Pods]) if kind is RowList else names(snapshot[Pods].range(limit=99))

    def race(kind: Any, other: Any, text: str) -> None:
        def during() -> None:
            inside[kind].set()
            assert inside[other].wait(20)
            answers["nested", kind] = read(other)

        answers[kind] = in_the_gap(kind._fresh, text, during, lambda: read(kind))

    threads = [
        threading.Thread(target=race, args=(RowList, Order, "changed: dict"), daemon=True),
        threading.Thread(target=race, args=(Order, RowList, "ordered = self._drained"), daemon=True),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads), "they wait for each other"
    assert list(answers.values()) == [sorted([*names(MANY), "new"])] * 4
    db.check()


@pytest.mark.parametrize("kind", [RowList, Order])
def test_a_reader_does_not_wait_for_one_that_waits_for_its_table(kind):
    """A finalizer in the midst of an order writes the table that another thread holds, which reads in order."""
    db = database(*MANY)
    list(db.snapshot()[Pods])
    assert db.snapshot()[Pods].range(limit=99)
    put(db, Pod("new"))
    snapshot = db.snapshot()
    inside, opened = threading.Event(), threading.Event()

    def read(view: Any) -> list[str]:
        return list(view) if kind is RowList else names(view.range(limit=99))

    def during() -> None:
        inside.set()
        put(db, Pod("late"))

    def hold() -> None:
        with db.write(Pods) as txn:
            opened.set()
            assert inside.wait(20)
            answers.append(read(txn[Pods]))

    answers: list[list[str]] = []
    text = "changed: dict" if kind is RowList else "ordered = self._drained"

    def race() -> None:
        assert opened.wait(20)
        answers.append(in_the_gap(kind._fresh, text, during, lambda: read(snapshot[Pods])))

    threads = [threading.Thread(target=each, daemon=True) for each in (hold, race)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads), "they wait for each other"
    assert answers == [sorted([*names(MANY), "new"])] * 2
    assert "late" in db.snapshot()[Pods]
    db.check()


# -- the root ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["pins = seen.copy()", "for part in parts:", "with root.lock"])
def test_a_commit_to_another_table_while_the_new_root_is_made_is_not_lost(text):
    db = database(Pod("a"))

    def between() -> None:
        with db.write(Accounts) as txn:
            txn[Accounts].insert(Account(1))

    # Looked for in the loop that makes the root, which is the second place with parts.
    in_the_gap(CommitPlan._publish, text, between, lambda: put(db, Pod("b")))
    assert list(db.snapshot()[Pods]) == ["a", "b"]
    assert list(db.snapshot()[Accounts]) == [1]
    db.check()


# -- watches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["watching.add(entry)", "if places.get(key) is watching"])
def test_a_watch_that_is_asked_for_while_the_last_of_its_kind_is_swept_stands(text):
    db = database(Pod("a"))
    dropped = [db.snapshot()[Pods].watch("a")]

    def sweep() -> None:
        dropped.clear()
        gc.collect()
        in_a_thread(lambda: db.snapshot()[Pods].watch("else"))

    watch = in_the_gap(Registry._register, text, sweep, lambda: db.snapshot()[Pods].watch("a"))
    assert not watch.tripped
    put(db, Pod("a", "n2"))
    assert watch.tripped


def test_a_watch_that_comes_just_before_its_set_is_taken_away_trips_early_and_never_too_late():
    db = database(Pod("a"))
    dropped = [db.snapshot()[Pods].watch("a")]
    late: list[Watch] = []
    snapshot = db.snapshot()
    registry = db._stores[Pods].registry
    dropped.clear()
    in_the_gap(
        Registry._unregister,
        "late = places.pop",
        lambda: late.append(in_a_thread(lambda: snapshot[Pods].watch("a"))),
        registry._sweep,
    )
    put(db, Pod("a", "n2"))
    assert late[0].tripped


@pytest.mark.parametrize("text", ["watching.discard(entry)", "empty = places[key] is watching", "if empty:"])
def test_of_two_sweepers_the_slower_one_leaves_the_watches_that_came_after_the_faster(text):
    """The slower one holds a set that the faster one has taken out; a newer one stands under the same key."""
    db = database(Pod("a"))
    dropped = [db.snapshot()[Pods].watch("a")]
    kept: list[Watch] = []
    registry = db._stores[Pods].registry
    dropped.clear()

    def overtake() -> None:
        in_a_thread(registry._sweep)
        kept.append(in_a_thread(lambda: db.snapshot()[Pods].watch("a")))

    in_the_gap(Registry._unregister, text, overtake, registry._sweep)
    early = kept[0].tripped
    put(db, Pod("a", "n2"))
    assert kept[0].tripped
    assert not early or text == "if empty:"  # no thread comes there with the GIL


@pytest.mark.parametrize("text", ["self._held[watch] = None", "if watch._tripped"])
def test_a_waiter_that_attaches_while_its_watch_trips_does_not_sleep(text):
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")
    assert in_the_gap(Registry.attach, text, lambda: put(db, Pod("a", "n2")), lambda: watch.wait(timeout=20))
    assert db._stores[Pods].registry.waiting() == 0


@pytest.mark.parametrize("text", ["wakers += watch._wakers", "watch._wakers = []", "self._held.pop(watch, None)"])
def test_a_waiter_that_attaches_between_the_steps_of_tripping_does_not_sleep(text):
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")
    in_the_gap(
        Registry._trip, text, lambda: in_a_thread(lambda: watch.wait(timeout=20)), lambda: put(db, Pod("a", "n2"))
    )
    assert db._stores[Pods].registry.waiting() == 0


# -- streams ----------------------------------------------------------------------------------------------------------


def there_and_back(rows: Any) -> None:
    rows.insert(Pod("a", "n2"))
    rows.insert(Pod("a"))


def gone_and_back(rows: Any) -> None:
    rows.delete("a")
    rows.insert(Pod("a"))


@pytest.mark.parametrize("write", [lambda rows: rows.insert(Pod("a"), force=True), there_and_back, gone_and_back])
def test_a_waiting_stream_wakes_for_what_it_tells_of_a_row_that_is_equal_afterwards(write):
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")
    with db.changes(Pods) as stream:
        assert stream.next(timeout=0) is not None
        waiting = stream._watch()

        def do() -> None:
            with db.write(Pods) as txn:
                write(txn[Pods])

        in_a_thread(do)
        assert [each.tripped for each in waiting] == [True]
        batch = stream.next(timeout=0)
        assert batch is not None
        assert [(change.row, change.deleted) for change in batch] == [(Pod("a"), False)]
        assert not watch.tripped  # the row is what it was

        with db.write(Pods) as txn:
            txn[Pods].insert(Pod("b"))
            waiting = stream._watch()
            txn[Pods].delete("b")
        assert [each.tripped for each in waiting] == [False]  # there is nothing to tell
        assert stream.next(timeout=0) is None


def test_what_a_reader_asks_for_cannot_make_a_commit_raise():
    db = database(Pod("a"))
    for key in (["a"], ("x", ["a"])):
        with pytest.raises(TypeError, match=r"cannot be watched|unhashable"):
            db.snapshot()[Pods.by_tag].watch(key)
    put(db, Pod("b"))
    assert len(db._stores[Pods].registry) == 0


def test_a_watch_on_the_new_state_asked_for_before_the_commit_trips_watches_stays_untripped():
    """The root is swapped, and the commit still has to look among the watches: this one already sees what it wrote."""
    db = database(Pod("a"))
    before = db.snapshot()[Pods].watch("b")
    asked: list[Watch] = []
    in_the_gap(
        CommitPlan.finish,
        "for part in parts:",
        lambda: asked.append(in_a_thread(lambda: db.snapshot()[Pods].watch("b"))),
        lambda: put(db, Pod("b")),
    )
    assert before.tripped
    assert not asked[0].tripped
    delete(db, "b")
    assert asked[0].tripped


# -- old states -------------------------------------------------------------------------------------------------------


def change_everything(db: Any) -> None:
    put(db, Pod("b", "n2"), Pod("c"), Pod("d", "n2"), Pod("e", "n4"))
    delete(db, "a")


@pytest.mark.parametrize(
    "text", ["pin = self.pin", "merged = pin.layers", "up_to_date =", "for layer in", "states = layer.states"]
)
def test_a_row_of_an_old_state_is_right_whatever_is_committed_while_it_is_read(text):
    db = database(Pod("a"), Pod("b"))
    view = db.snapshot()[Pods]
    put(db, Pod("z"))
    for _ in range(20):
        assert view.get("a") == Pod("a")
    assert view._source.pin.layers is not None  # merged, and up to date
    function = Source.row
    assert in_the_gap(function, text, lambda: in_a_thread(lambda: change_everything(db)), lambda: view.get("a")) == Pod(
        "a"
    )
    assert view.get("a") == Pod("a")


LISTING = [
    (AnyIndexView._listed, "keys = entry.ordered()"),
    (AnyIndexView._listed, "rows = tuple"),
    (AnyIndexView._listed, "if self._commit.link"),
    (Source.unchanged, "for layer in"),
    (Source.unchanged, "if layer.index"),
    (Source.unchanged, "return True"),
]


@pytest.mark.parametrize("gap", LISTING, ids=lambda gap: f"{gap[0].__qualname__}: {gap[1]}")
def test_a_list_of_an_old_state_is_right_whatever_is_committed_while_it_is_read(gap):
    db = database(Pod("a"), Pod("b"), Pod("c", "n2"))
    view = db.snapshot()[Pods.by_node]
    put(db, Pod("z", "n3"))
    rows = in_the_gap(*gap, lambda: in_a_thread(lambda: change_everything(db)), lambda: view["n1"])
    assert names(rows) == ["a", "b"]
    assert names(view["n1"]) == ["a", "b"]
    assert names(view["n2"]) == ["c"]
    assert view["n4"] == ()


def test_of_a_row_that_changed_twice_a_list_of_an_old_state_has_the_older_one():
    db = database(*[Pod(name) for name in "abcdef"])
    view = db.snapshot()[Pods.by_node]
    put(db, *[Pod(name, "n2") for name in "abcdef"])
    assert names(view["n1"]) == list("abcdef")
    put(db, Pod("b", tags=("new",)))
    assert view["n1"] == tuple([Pod(name) for name in "abcdef"])
    assert len(view._source.pin.layers[0]) == 2  # the older one is so much larger that they are not merged
    assert view["n2"] == ()


@pytest.mark.parametrize("text", ["found: dict", "layers = self.layers()", "in_order = True", "return found"])
def test_a_list_whose_rows_have_changed_is_right_whatever_is_committed_while_it_is_put_right(text):
    db = database(Pod("a"), Pod("b"), Pod("c"), Pod("d", "n2"))
    view = db.snapshot()[Pods.by_node]
    put(db, Pod("b", "n2"), Pod("c", tags=("new",)), Pod("0"))  # one has left, one has changed, one is new

    def between() -> None:
        put(db, Pod("d"), Pod("b"))
        delete(db, "a", "c")

    rows = in_the_gap(Source.corrected, text, lambda: in_a_thread(between), lambda: view["n1"])
    assert rows == (Pod("a"), Pod("b"), Pod("c"))
    assert view["n1"] == (Pod("a"), Pod("b"), Pod("c"))
    assert view["n2"] == (Pod("d", "n2"),)


@pytest.mark.parametrize("text", ["watch = store.registry.add", "if commit.link is None", "return watch"])
def test_a_watch_that_is_made_while_its_row_changes_trips(text):
    db = database(Pod("a"))
    view = db.snapshot()[Pods]
    watch = in_the_gap(
        Source.watch, text, lambda: in_a_thread(lambda: put(db, Pod("a", "n2"))), lambda: view.watch("a")
    )
    assert watch.tripped


@pytest.mark.parametrize("text", ["revisions = self.store", "layers = self.layers()", "if not layers and"])
def test_the_first_batch_of_a_stream_is_one_state_whatever_is_committed_while_it_is_made(text):
    db = database(Pod("a"), Pod("b"))
    with db.changes(Pods) as stream:
        batch = in_the_gap(
            Source.with_revisions, text, lambda: in_a_thread(lambda: change_everything(db)), lambda: stream.next(0)
        )
        assert [(change.row.name, change.revision, change.deleted, change.old) for change in batch] == [
            ("a", 1, False, None),
            ("b", 2, False, None),
        ]


def test_the_first_batch_is_in_the_order_of_revisions_also_if_rows_were_replaced():
    db = database(Pod("a"), Pod("b"), Pod("c"))
    put(db, Pod("a", "n2"))
    with db.changes(Pods) as stream:
        batch = stream.next(0)
        assert batch is not None
        assert [(change.row.name, change.revision) for change in batch] == [("b", 2), ("c", 3), ("a", 4)]


def test_a_waiter_that_comes_while_the_last_one_leaves_keeps_the_watch_alive():
    db = database(Pod("a"))
    watch, registry = db.snapshot()[Pods].watch("a"), db._stores[Pods].registry
    first, second = ThreadWaker(), ThreadWaker()
    registry.attach(watch, first)
    in_the_gap(
        Registry.detach,
        "self._held.pop(watch, None)",
        lambda: in_a_thread(lambda: registry.attach(watch, second)),
        lambda: registry.detach(watch, first),
    )
    assert registry.waiting() == 1
    registry.detach(watch, second)
    assert registry.waiting() == 0


def test_a_waiter_that_comes_too_late_is_not_waited_for():
    db = database(Pod("a"))
    watch, registry = db.snapshot()[Pods].watch("a"), db._stores[Pods].registry
    first, late = ThreadWaker(), ThreadWaker()
    registry.attach(watch, first)
    put(db, Pod("a", "n2"))
    assert not registry.attach(watch, late)
    registry.detach(watch, first)
    assert registry.waiting() == 0


# -- a table that becomes empty ---------------------------------------------------------------------------------------

EMPTYING = ["self.rows.clear()", "self.revisions.clear()", "for store in", "store.entries.clear()", "if self.order."]


@pytest.mark.parametrize("who", ["another thread", "a finalizer"])
@pytest.mark.parametrize("text", EMPTYING)
def test_whoever_reads_while_a_table_is_emptied_sees_all_of_its_rows(text, who):
    db = database(Pod("a"), Pod("b"), Pod("c", "n2"))
    old = db.snapshot()
    list(old[Pods].values())
    old[Pods.by_node].keys()
    put(db, Pod("d"))
    seen: list[Any] = []

    def read() -> None:
        for snapshot, rows, of_n1 in ((old, "abc", "ab"), (db.snapshot(), "abcd", "abd")):
            assert names(snapshot[Pods].values()) == list(rows)
            assert snapshot[Pods].get("a") == Pod("a")
            assert [entry.revision for entry in snapshot[Pods].entries()] == list(range(1, len(rows) + 1))
            assert names(snapshot[Pods.by_node]["n1"]) == list(of_n1)
            assert snapshot[Pods.by_node].keys() == ("n1", "n2")
            seen.append(snapshot)

    def clear() -> None:
        with db.write(Pods) as txn:
            txn[Pods].clear()

    in_the_gap(TableStore._empty, text, read if who == "a finalizer" else lambda: in_a_thread(read), clear)
    assert len(seen) == 2
    read_after = db.snapshot()
    assert list(read_after[Pods].values()) == []
    assert read_after[Pods.by_node].keys() == ()
    assert names(old[Pods.by_node]["n1"]) == ["a", "b"]
    put(db, Pod("b", "n1"))
    assert names(old[Pods.by_node]["n1"]) == ["a", "b"]
    assert names(seen[1][Pods].values()) == list("abcd")
    db.check()


@pytest.mark.parametrize("gap", LISTING, ids=lambda gap: f"{gap[0].__qualname__}: {gap[1]}")
def test_a_list_that_is_read_while_its_table_is_emptied_and_filled_again_is_right(gap):
    db = database(Pod("a"), Pod("b"), Pod("c", "n2"))
    view = db.snapshot()[Pods.by_node]
    put(db, Pod("z", "n3"))

    def between() -> None:
        with db.write(Pods) as txn:
            txn[Pods].clear()
        put(db, Pod("b", "n1", ("again",)), Pod("n", "n1"), Pod("o", "n1"))

    rows = in_the_gap(*gap, lambda: in_a_thread(between), lambda: view["n1"])
    assert rows == (Pod("a"), Pod("b"))
    assert view["n1"] == (Pod("a"), Pod("b"))
    assert names(db.snapshot()[Pods.by_node]["n1"]) == ["b", "n", "o"]
