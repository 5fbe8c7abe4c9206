"""Watches of rows, index keys, prefixes and tables."""

import pytest

from ..tables import Accounts, Pod, Pods, database, delete, put


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


def test_a_watch_of_the_newest_state_is_open_after_each_commit():  # upstream: no node may keep a closed channel
    db = database(Pod("a", tags=("t",)))
    for number in range(20):
        put(db, Pod("a", f"n{number}", ("t",)), Pod(f"a{number}", tags=(f"t{number}",)))
        delete(db, f"a{number - 1}")
        snapshot = db.snapshot()
        watches = [
            snapshot[Pods].watch(),
            snapshot[Pods].watch("a"),
            snapshot[Pods].watch("nobody"),
            snapshot[Pods].watch_prefix("a"),
            snapshot[Pods.by_tag].watch("t"),
            snapshot[Pods.by_tag].watch_prefix("t"),
        ]
        assert not any(watch.tripped for watch in watches)


def test_of_the_commits_own_snapshot_it_trips_at_the_next_change_of_the_row():
    db = database()
    with db.write(Pods) as txn:
        txn[Pods].insert(Pod("a"))
        watch = txn.commit()[Pods].watch("a")
    put(db, Pod("b"))
    assert not watch.tripped
    delete(db, "a")
    assert watch.tripped


@pytest.mark.parametrize("steps", ["insert twice", "insert and delete", "delete and insert another"])
def test_several_writes_of_one_row_in_a_transaction_trip_by_what_they_come_to(steps: str):
    db = database(Pod("a"))
    missing, there = db.snapshot()[Pods].watch("new"), db.snapshot()[Pods].watch("a")
    with db.write(Pods) as txn:
        if steps == "insert twice":
            txn[Pods].insert(Pod("new"))
            txn[Pods].insert(Pod("new", "n2"))
        elif steps == "insert and delete":
            txn[Pods].insert(Pod("new"))
            txn[Pods].delete("new")
        else:
            txn[Pods].delete("a")
            txn[Pods].insert(Pod("a", "n2"))
    # upstream a row that came and went within one transaction trips; here nothing has happened to it
    assert (missing.tripped, there.tripped) == {
        "insert twice": (True, False),
        "insert and delete": (False, False),
        "delete and insert another": (False, True),
    }[steps]


def test_an_abort_trips_no_watch_that_was_asked_of_the_transaction():
    db = database(Pod("a"))
    txn = db.write(Pods)
    txn[Pods].insert(Pod("b"))
    watch = txn[Pods].watch("b")
    txn.abort()
    assert not watch.tripped
    put(db, Pod("b"))
    assert watch.tripped


def test_dropped_watches_are_forgotten():
    db = database(Pod("a"))
    for _ in range(1000):
        db.snapshot()[Pods].watch("a")
    put(db, Pod("a", "n2"))
    db.check()
    assert db.snapshot()[Accounts].watch().wait(0) is False


@pytest.mark.parametrize(
    ("index", "key"),
    [(Pods.by_node, "n1"), (Pods.by_tag, "red"), (Pods.by_address, "1"), (Pods.by_network, "10.0.0.0/8")],
    ids=["node", "tag", "address", "network"],
)
def test_the_only_watch_of_a_table_sees_rows_come_and_go(index, key):
    """A commit first checks whether it may concern any watch at all."""
    here, gone = Pod("a", "n1", ("red",), "1", ("10.0.0.0/8",)), Pod("a", "n2", ("blue",), "2", ("10.1.0.0/16",))
    db = database(here)
    leaves = db.snapshot()[index].watch(key)
    put(db, gone)
    assert leaves.tripped
    del leaves
    comes = db.snapshot()[index].watch(key)
    put(db, Pod("b", "n3"))
    assert not comes.tripped
    put(db, here)
    assert comes.tripped


def test_the_next_watch_makes_the_registry_forget_all_that_were_dropped():
    db = database(Pod("a"))
    pods, by_network = db.snapshot()[Pods], db.snapshot()[Pods.by_network]
    registry = db._stores[Pods].registry
    asked = [pods.watch(f"x{number}") for number in range(20)]
    asked += [pods.watch("a"), pods.watch_prefix("a"), pods.watch_range("a", "b"), by_network.watch_longest("10.1.2.3")]
    kept = pods.watch("a")
    asked.clear()
    again = pods.watch("a")
    places = [*registry._keys, *registry._prefixes, *registry._ranges]
    assert [len(watching) for place in places for watching in place.values()] == [2]
    assert db.stats()[0].watches == 2
    del kept, again


def test_a_forced_write_of_an_equal_row_trips_no_watch_on_what_it_is_listed_under():
    row = Pod("a", tags=("red",), networks=("10.0.0.0/8",))
    db = database(row)
    snapshot = db.snapshot()
    asked = [
        snapshot[Pods].watch("a"),
        snapshot[Pods.by_tag].watch("red"),
        snapshot[Pods.by_tag].watch_prefix("r"),
        snapshot[Pods.by_network].watch("10.0.0.0/8"),
        snapshot[Pods.by_network].watch_within("0.0.0.0/0"),
    ]
    with db.write(Pods) as txn:
        txn[Pods].insert(row, force=True)
    assert [watch.tripped for watch in asked] == [False] * len(asked)


def test_a_range_trips_by_a_key_inside_of_it_alone():
    db = database()
    inside, outside = db.snapshot()[Pods].watch_range("b", "d"), db.snapshot()[Pods].watch_range("x", "z")
    put(db, Pod("a"), Pod("d"))
    assert not inside.tripped
    put(db, Pod("c"))
    assert inside.tripped
    assert not outside.tripped
