"""Revisions: one counter a table, one step a write that did something."""

import pytest

from statedb import RevisionMismatch

from ..tables import Account, Accounts, Pod, Pods, database, delete, names, put


def test_every_write_that_does_something_takes_one_revision():
    db = database()
    with db.write(Pods) as txn:
        pods = txn[Pods]
        revisions = [pods.revision]
        for step in (
            lambda: pods.insert(Pod("a")),
            lambda: pods.insert(Pod("a")),
            lambda: pods.replace(Pod("a", "n2")),
            lambda: pods.delete("x"),
            lambda: pods.modify("a", lambda row: Pod("a", "n3")),
            lambda: pods.delete("a"),
        ):
            step()
            revisions.append(pods.revision)
    assert revisions == [0, 1, 1, 2, 2, 3, 4]
    assert db.snapshot()[Pods].revision == 4


def test_every_table_counts_for_itself():
    db = database(Pod("a"), Pod("b"))
    with db.write(Pods, Accounts) as txn:
        txn[Accounts].insert(Account(1))
        txn[Pods].delete("a")
    assert (db.snapshot()[Pods].revision, db.snapshot()[Accounts].revision) == (3, 1)


def test_a_rows_revision_is_the_tables_at_its_write():
    db = database(Pod("a"), Pod("b"))
    put(db, Pod("a", "n2"))
    view = db.snapshot()[Pods]
    assert [(entry.row.name, entry.revision) for entry in view.since(0)] == [("b", 2), ("a", 3)]
    assert view.entry("a").revision == 3
    assert view.entry("x") is None


def test_since_gives_each_row_once_at_its_newest_revision_and_no_deleted_one():
    db = database(Pod("a"), Pod("b"), Pod("c"))
    put(db, Pod("a", "n2"))
    put(db, Pod("a", "n3"))
    delete(db, "c")
    view = db.snapshot()[Pods]
    assert [(entry.row, entry.revision) for entry in view.since(0)] == [(Pod("b"), 2), (Pod("a", "n3"), 5)]
    assert names(entry.row for entry in view.since(2)) == ["a"]
    assert view.since(5) == ()
    assert view.revision == 6  # the deletion's


def test_an_aborted_transaction_takes_no_revision():
    db = database(Pod("a"))
    txn = db.write(Pods)
    txn[Pods].insert(Pod("b"))
    assert (txn[Pods].revision, db.snapshot()[Pods].revision) == (2, 1)
    txn.abort()
    put(db, Pod("c"))
    assert db.snapshot()[Pods].entry("c").revision == 2


def test_in_a_transaction_revisions_are_those_that_the_commit_makes_visible():
    db = database(Pod("a"))
    with db.write(Pods) as txn:
        txn[Pods].insert(Pod("b"))
        txn[Pods].insert(Pod("a", "n2"))
        inside = [(entry.row.name, entry.revision) for entry in txn[Pods].since(0)]
    assert inside == [("b", 2), ("a", 3)]
    assert [(entry.row.name, entry.revision) for entry in db.snapshot()[Pods].since(0)] == inside


def test_the_revision_of_ones_own_write_can_be_compared_with_in_the_same_transaction():
    db = database()
    with db.write(Pods) as txn:
        txn[Pods].insert(Pod("a"))
        assert txn[Pods].replace(Pod("a", "n2"), at=1) == Pod("a")
        with pytest.raises(RevisionMismatch):
            txn[Pods].delete("a", at=1)
        assert txn[Pods].delete("a", at=2) == Pod("a", "n2")


def test_a_row_that_comes_back_gets_a_new_revision():
    db = database(Pod("a"))
    with db.write(Pods) as txn:
        txn[Pods].delete("a")
        txn[Pods].insert(Pod("a"))
    assert db.snapshot()[Pods].entry("a").revision == db.snapshot()[Pods].revision > 1


def test_a_stale_snapshot_keeps_its_revisions():
    db = database(Pod("a"), Pod("b"))
    view = db.snapshot()[Pods]
    before = (view.revision, view.since(0), view.entry("a"))
    put(db, Pod("a", "n2"), Pod("c"))
    delete(db, "b")
    assert (view.revision, view.since(0), view.entry("a")) == before
