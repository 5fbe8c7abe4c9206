"""Watches of rows, index keys, prefixes and tables; sets of them."""

import asyncio
import threading

import pytest

from statedb import WatchSet
from tests.statedb.tables import Accounts, Pod, Pods, database, delete, put


def test_a_watch_trips_at_the_commit_and_not_before():
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")
    with db.write(Pods) as txn:
        txn[Pods].insert(Pod("a", "n2"))
        assert not watch.tripped
    assert watch.tripped


@pytest.mark.parametrize("change", [lambda db: put(db, Pod("a", "n2")), lambda db: delete(db, "a")])
def test_a_row_that_is_there(change):
    db = database(Pod("a"), Pod("b"))
    watch = db.snapshot()[Pods].watch("a")
    put(db, Pod("b", "n2"))
    for name in ("aa", "ab", "", "A"):
        put(db, Pod(name))
        delete(db, name)
    assert not watch.tripped
    change(db)
    assert watch.tripped


def test_a_row_that_is_not_there_yet():
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("aa")
    put(db, Pod("a", "n2"), Pod("aaa"))
    delete(db, "aaa")
    assert not watch.tripped
    put(db, Pod("aa"))
    assert watch.tripped


def test_a_missing_row_is_seen_after_deletes_beside_it():  # upstream lost it when a delete compressed its tree
    db = database(Pod("foo-1/a"), Pod("foo-2/a"))
    watch = db.snapshot()[Pods].watch("foo-1/b")
    with db.write(Pods) as txn:
        txn[Pods].delete("foo-1/a")
        txn[Pods].insert(Pod("foo-1/b"))
    assert watch.tripped


def test_a_prefix():
    db = database(Pod("ab"))
    watches = [db.snapshot()[Pods].watch_prefix(prefix) for prefix in ("", "a", "ab", "abc", "b")]
    put(db, Pod("abd"))
    assert [watch.tripped for watch in watches] == [True, True, True, False, False]


def test_an_index_key_trips_by_old_and_by_new_keys():
    db = database(Pod("a", tags=("t",)))
    by_tag = db.snapshot()[Pods.by_tag]
    old, new, other, prefix = by_tag.watch("t"), by_tag.watch("u"), by_tag.watch("tt"), by_tag.watch_prefix("t")
    put(db, Pod("a", tags=("u",)))
    assert (old.tripped, new.tripped, other.tripped, prefix.tripped) == (True, True, False, True)


def test_an_index_that_a_commit_does_not_concern():
    db = database(Pod("a", tags=("t",)), Pod("b"))
    watch = db.snapshot()[Pods.by_tag].watch_prefix("")
    put(db, Pod("b", "n2"))
    assert not watch.tripped


def test_a_watch_asked_of_a_transaction():
    db = database(Pod("a"))
    with db.write(Pods) as txn:
        txn[Pods].insert(Pod("b"))
        own = txn[Pods].watch("c")
        txn[Pods].insert(Pod("c"))
        assert not own.tripped
    assert own.tripped


def test_a_failed_comparison_wakes_nobody():  # upstream it wakes who waits for the row, and for the table
    db = database(Pod("a"))
    view = db.snapshot()[Pods]
    watches = [view.watch("a"), view.watch()]
    with db.write(Pods) as txn:
        with pytest.raises(Exception, match="revision"):
            txn[Pods].replace(Pod("a", "n2"), at=9)
        with pytest.raises(Exception, match="revision"):
            txn[Pods].delete("a", at=9)
    assert [watch.tripped for watch in watches] == [False, False]


def test_networks_are_watched_exactly():  # upstream any change of the index wakes everybody
    db = database(Pod("a", networks=("10.0.0.0/8",)))
    index = db.snapshot()[Pods.by_network]
    concerned = [index.watch_longest("10.1.2.3"), index.watch_within("10.0.0.0/8"), index.watch("10.1.0.0/16")]
    others = [index.watch_longest("11.1.2.3"), index.watch_within("11.0.0.0/8"), index.watch("10.0.0.0/8")]
    put(db, Pod("b", networks=("10.1.0.0/16",)))
    assert [watch.tripped for watch in concerned] == [True] * 3
    assert [watch.tripped for watch in others] == [False] * 3


def test_a_set_gives_those_that_tripped_and_keeps_the_others():
    db = database(Pod("a"), Pod("b"))
    view = db.snapshot()[Pods]
    a, b = view.watch("a"), view.watch("b")
    watches = WatchSet(a, b)
    put(db, Pod("a", "n2"))
    assert set(watches.wait(5)) == {a}
    assert set(watches.wait(0)) == set()
    put(db, Pod("b", "n2"))
    assert set(watches.wait(5)) == {b}


def test_an_empty_set_waits_for_its_time():
    assert not WatchSet().wait(0.01)


def test_a_set_settles():
    db = database(Pod("a"), Pod("b"))
    view = db.snapshot()[Pods]
    a, b = view.watch("a"), view.watch("b")
    put(db, Pod("a", "n2"))
    later = threading.Timer(0.02, lambda: put(db, Pod("b", "n2")))
    later.start()
    assert set(WatchSet(a, b, settle=0.5).wait(10)) == {a, b}
    later.join()


def test_a_thousand_watches_in_one_set():
    db = database(*[Pod(f"p{number}") for number in range(1000)])
    view = db.snapshot()[Pods]
    watches = [view.watch(f"p{number}") for number in range(1000)]
    put(db, Pod("p7", "n2"), Pod("p8", "n2"))
    assert set(WatchSet(*watches).wait(5)) == {watches[7], watches[8]}


def test_a_set_in_a_task():
    db = database(Pod("a"))

    async def main() -> int:
        watch = db.snapshot()[Pods].watch("a")
        asyncio.get_running_loop().call_later(0.01, put, db, Pod("a", "n2"))
        return len(await WatchSet(watch))

    assert asyncio.run(main()) == 1


def test_dropped_watches_are_forgotten():
    db = database(Pod("a"))
    for _ in range(1000):
        db.snapshot()[Pods].watch("a")
    put(db, Pod("a", "n2"))
    db.check()
    assert db.snapshot()[Accounts].watch().wait(0) is False
