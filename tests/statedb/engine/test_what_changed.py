"""Rows before and after: in changes, of a transaction that is open, and snapshots of what it has staged."""

import gc
import weakref

import msgspec
import pytest

from statedb import (
    Change,
    Database,
    DuplicateKey,
    Index,
    IndexFunctionError,
    InvalidKey,
    InvalidTable,
    Table,
    TextPrefixIndex,
    TransactionClosed,
    UniqueIndex,
    UniqueKeysIndex,
    UnknownTable,
    WrongThread,
)

from ._helpers import in_a_thread
from .tables import Account, Accounts, Pod, Pods, database, delete, names, put

A, A2, A3, B = Pod("a"), Pod("a", "n2"), Pod("a", "n3"), Pod("b")


def test_a_change_has_the_row_before_it():
    db = database(A, B)
    stream = db.changes(Pods)
    assert [change.old for change in stream.next()] == [None, None]
    put(db, A2)
    put(db, A3)
    delete(db, "b")
    put(db, Pod("c"))
    assert tuple(stream.next()) == (Change(A3, 4, False, A), Change(B, 5, True, B), Change(Pod("c"), 6, False, None))


def test_a_row_that_was_replaced_and_deleted_between_two_batches_was_last_told_as_it_was_first():
    db = database(A)
    stream = db.changes(Pods)
    stream.next()
    put(db, A2)
    delete(db, "a")
    assert tuple(stream.next()) == (Change(A2, 3, True, A),)


def test_what_a_transaction_has_changed_so_far():
    db = database(A, B)
    with db.write(Pods) as txn:
        pods = txn[Pods]
        assert pods.staged() == ()
        pods.insert(A2)
        pods.insert(Pod("c"))
        pods.delete("c")
        pods.delete("b")
        assert pods.staged() == (Change(A2, 3, False, A), Change(B, 6, True, B))
        with pytest.raises(WrongThread):
            in_a_thread(pods.staged)
    with pytest.raises(TransactionClosed):
        pods.staged()


def test_a_snapshot_of_what_is_staged_stays_whatever_becomes_of_it():
    db = database(A)
    txn = db.write(Pods)
    txn[Pods].insert(B)
    first = txn.snapshot()
    txn[Pods].insert(A2)
    txn[Pods].delete("b")
    second = txn.snapshot()
    assert names(first[Pods.by_node]["n1"]) == ["a", "b"]
    txn.commit()
    put(db, Pod("c"))
    delete(db, "a")
    for snapshot, expected in ((first, [A, B]), (second, [A2])):
        assert list(snapshot[Pods].values()) == expected
        assert len(snapshot[Pods]) == len(expected)
        assert snapshot[Accounts].get(1) is None
    aborted = db.write(Pods, Accounts)
    aborted[Accounts].insert(Account(1))
    third = aborted.snapshot()
    aborted.abort()
    assert third[Accounts].get(1) == Account(1)
    assert db.snapshot()[Accounts].get(1) is None
    with pytest.raises(TransactionClosed):
        aborted.snapshot()


def test_a_snapshot_of_what_is_staged_holds_back_no_more_history_than_its_transaction_began_with():
    db = database(A)
    with db.write(Pods) as txn:
        txn[Pods].insert(B)
        staged = txn.snapshot()
    put(db, A2)
    for number in range(600):  # commits that nobody holds, and two compactions
        put(db, Pod("x", f"n{number}"))
    assert db.stats()[0].links_kept < 300
    assert list(staged[Pods].values()) == [A, B]
    held = weakref.ref(staged._pins[Pods])
    del staged, txn
    gc.collect()
    assert held() is None
    assert db.stats()[0].held_states == 0


def test_a_watch_on_what_is_staged_trips_for_what_comes_after_the_state_before():
    db = database(A)
    with db.write(Pods) as txn:
        txn[Pods].insert(B)
        snapshot = txn.snapshot()
        other, own = snapshot[Pods].watch("c"), snapshot[Pods].watch("b")
        assert not own.tripped
    assert own.tripped
    assert not other.tripped
    with pytest.raises(ValueError, match="the staged rows of a transaction"):
        db.changes(Pods, since=snapshot)


# -- indexes ----------------------------------------------------------------------------------------------------------


class Site(msgspec.Struct, frozen=True):
    name: str
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


class Sites(Table[str, Site], name="sites"):
    primary = UniqueIndex[str, Site](lambda site: site.name)
    by_name = UniqueKeysIndex[str, Site](lambda site: site.names)
    by_path = TextPrefixIndex[str, Site](lambda site: site.paths)


def sites(*rows: Site) -> Database:
    db = Database(Sites)
    with db.write(Sites) as txn:
        txn[Sites].insert_all(rows)
    return db


def test_a_row_has_several_keys_of_its_own_in_a_unique_index():
    db = sites(Site("a", ("one", "two", "one")), Site("b", ("three",)), Site("c"))
    by_name = db.snapshot()[Sites.by_name]
    assert by_name.keys() == ("one", "three", "two")
    assert by_name["one"] is by_name["two"]
    with db.write(Sites) as txn:
        with pytest.raises(DuplicateKey, match="'two' belongs to row 'a'"):
            txn[Sites].insert(Site("c", ("four", "two")))
        txn[Sites].insert(Site("a", ("one", "five")))
        txn[Sites].insert(Site("c", ("two",)))
        assert txn[Sites.by_name]["two"].name == "c"
    assert db.snapshot()[Sites.by_name].keys() == ("five", "one", "three", "two")
    assert by_name.get("five") is None
    assert by_name["two"].name == "a"
    with pytest.raises(IndexFunctionError, match="may have several keys"):
        Sites.by_name(Site("a"))
    with pytest.raises(InvalidTable, match="needs a unique primary index"):

        class Wrong(Table[str, str], name="wrong"):
            primary = UniqueKeysIndex[str, str](lambda row: (row,))


def test_the_longest_key_that_a_text_begins_with():
    db = sites(Site("root", paths=("/",)), Site("api", paths=("/api", "/v1/api")), Site("web", paths=("/api",)))
    by_path = db.snapshot()[Sites.by_path]
    assert names(by_path.longest("/api/x")) == ["api", "web"]
    assert names(by_path.longest("/ap")) == ["root"]
    assert by_path.longest("x") == ()
    assert names(by_path.covering("/api")) == ["root", "api", "web"]
    assert names(by_path.prefix("/v1")) == ["api"]
    assert names(by_path["/api"]) == ["api", "web"]
    watch, other = by_path.watch_longest("/api/x"), by_path.watch_longest("/b")
    db.insert(Sites, Site("x", paths=("/api/",)))
    assert watch.tripped
    assert not other.tripped
    assert names(db.snapshot()[Sites.by_path].longest("/api/x")) == ["x"]
    assert names(by_path.longest("/api/x")) == ["api", "web"]
    for wrong in (by_path.longest, by_path.covering, by_path.watch_longest):
        with pytest.raises(InvalidKey, match="neither text nor bytes"):
            wrong(7)  # type: ignore[operator]


def test_tables_made_by_name():
    east, west = Pods.named("pods-east"), Pods.named("pods-west")
    db = Database(east, west)
    db.insert(east, Pod("a", "n7"))
    assert names(db.snapshot()[east.by_node]["n7"]) == ["a"]
    assert list(db.snapshot()[west]) == []
    assert db.table("pods-west") is west
    assert list(east.indexes) == list(Pods.indexes)
    assert east.row_type is Pod
    assert isinstance(east.by_node, Index)
    with pytest.raises(UnknownTable, match=r"no table is called 'pods'.*pods-east, pods-west"):
        db.table("pods")
    with pytest.raises(UnknownTable):
        db.snapshot()[Pods]
    with pytest.raises(InvalidTable, match="is not valid"):
        Pods.named("No Name")
    with pytest.raises(InvalidTable, match="derive a class"):
        Table.named("anything")
