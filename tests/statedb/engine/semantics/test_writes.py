"""Insert, replace, modify, delete, compare-and-swap."""

import pytest

from statedb import (
    Database,
    DuplicateKey,
    Index,
    IndexFunctionError,
    InvalidRow,
    RevisionMismatch,
    RowNotFound,
    StateDBError,
    Table,
    UniqueIndex,
)

from ..tables import Pod, Pods, database, delete, names, put


def test_insert_gives_the_replaced_row_or_none():
    db = database()
    with db.write(Pods) as txn:
        first = Pod("a")
        assert txn[Pods].insert(first) is None
        assert txn[Pods].insert(Pod("a", "n2")) is first


def test_an_equal_row_is_not_written_unless_forced():  # upstream the same pointer panics and an equal one is written
    db = database(Pod("a"))
    with db.write(Pods) as txn:
        assert txn[Pods].insert(Pod("a")) == Pod("a")
        assert txn[Pods].modify("a", lambda row: Pod("a")) == Pod("a")
        txn[Pods].replace(Pod("a"), at=1)
        assert txn[Pods].revision == 1
        txn[Pods].insert(Pod("a"), force=True)
        assert txn[Pods].revision == 2


def test_modify_reads_changes_and_writes():
    db = database(Pod("a", tags=("t",)))
    with db.write(Pods) as txn:
        new = txn[Pods].modify("a", lambda row: Pod(row.name, "n2", (*row.tags, "u")))
        assert new == Pod("a", "n2", ("t", "u"))
    snapshot = db.snapshot()
    assert names(snapshot[Pods.by_tag]["t"]) == names(snapshot[Pods.by_tag]["u"]) == ["a"]
    assert snapshot[Pods.by_node]["n1"] == ()


def test_modify_and_replace_of_a_missing_row_raise():  # upstream Modify inserts
    db = database()
    with db.write(Pods) as txn:
        for use in (lambda: txn[Pods].modify("x", lambda row: row), lambda: txn[Pods].replace(Pod("x"))):
            with pytest.raises(RowNotFound) as raised:
                use()
            assert isinstance(raised.value, KeyError)
            assert isinstance(raised.value, StateDBError)
        assert len(txn[Pods]) == 0


def test_delete_needs_only_the_key_and_gives_the_stored_row():
    db = database(Pod("a", "n7"))
    with db.write(Pods) as txn:
        assert txn[Pods].delete("a") == Pod("a", "n7")
        assert txn[Pods].delete("a") is None
        assert txn[Pods].revision == 2


@pytest.mark.parametrize("size", [3, 5], ids=["few rows", "many rows"])
def test_clear_deletes_every_row_under_revisions_of_their_own(size):
    pods = [Pod(name) for name in "abcde"[:size]]
    db = database(*pods)
    with db.changes(Pods) as stream:
        stream.next()
        with db.write(Pods) as txn:
            assert txn[Pods].clear() == size
        changes = [(change.row, change.deleted, change.revision) for change in stream.next()]
        assert changes == [(pod, True, size + 1 + place) for place, pod in enumerate(pods)]
    assert len(db.snapshot()[Pods]) == 0


@pytest.mark.parametrize("before", ["replaced", "deleted", "inserted"])
def test_many_rows_are_deleted_of_which_one_was_written_before_in_the_same_transaction(before):
    pods = [Pod(name) for name in "abcde"]
    db = database(*pods)
    with db.changes(Pods) as stream:
        stream.next()
        with db.write(Pods) as txn:
            if before == "deleted":
                txn[Pods].delete("c")
            else:
                txn[Pods].insert(Pod("c" if before == "replaced" else "x", "n2"))
            assert names(txn[Pods.by_node]["n2"]) == {"replaced": ["c"], "deleted": [], "inserted": ["x"]}[before]
            deleted = 4 if before == "deleted" else 5
            assert txn[Pods].delete_all(pods[::-1]) == deleted
            assert txn[Pods].revision == 6 + deleted
            assert len(txn[Pods]) == (before == "inserted")
            assert names(txn[Pods.by_node]["n1"]) == []
        changes = stream.next()
        assert sorted(names([change.row for change in changes if change.deleted])) == list("abcde")
        assert [change.old for change in changes if change.deleted] == [
            pods["abcde".index(change.row.name)] for change in changes if change.deleted
        ]
    assert names(db.snapshot()[Pods].values()) == (["x"] if before == "inserted" else [])
    db.check()


def test_the_unique_keys_of_many_deleted_rows_are_free_in_the_same_transaction():
    pods = [Pod(name, address=f"10.0.0.{number}") for number, name in enumerate("abcde")]
    db = database(*pods)
    with db.write(Pods) as txn:
        assert txn[Pods].delete_all(pods[:4]) == 4
        with pytest.raises(DuplicateKey):
            txn[Pods].insert(Pod("f", address="10.0.0.4"))
        txn[Pods].insert(Pod("f", address="10.0.0.0"))
        assert list(txn[Pods]) == ["e", "f"]
    assert db.snapshot()[Pods.by_address]["10.0.0.0"] == Pod("f", address="10.0.0.0")
    db.check()


@pytest.mark.parametrize("named", ["aabcde", "abcdeabcde", "abcdex", "abxcda"])
def test_rows_that_are_named_twice_or_are_not_there_are_deleted_once_or_not_at_all(named):
    db = database(*[Pod(name) for name in "abcde"])
    deleted = len(set(named) - {"x"})
    with db.write(Pods) as txn:
        assert txn[Pods].delete_all([Pod(name) for name in named]) == deleted
        assert txn[Pods].revision == 5 + deleted
        assert len(txn[Pods]) == 5 - deleted
    db.check()


def test_compare_and_swap():
    db = database(Pod("a"))
    with db.write(Pods) as txn:
        with pytest.raises(RowNotFound):
            txn[Pods].replace(Pod("x"), at=1)
        with pytest.raises(RevisionMismatch, match="'pods'"):
            txn[Pods].replace(Pod("a", "n2"), at=7)
        assert txn[Pods].revision == 1  # a failed comparison takes no revision
        assert txn[Pods].replace(Pod("a", "n2"), at=1) == Pod("a")
        with pytest.raises(RevisionMismatch):
            txn[Pods].replace(Pod("a", "n3"), at=1)
        assert txn[Pods]["a"] == Pod("a", "n2")


def test_compare_and_delete():
    db = database(Pod("a"))
    with db.write(Pods) as txn:
        assert txn[Pods].delete("x", at=1) is None
        with pytest.raises(RevisionMismatch):
            txn[Pods].delete("a", at=2)
        assert "a" in txn[Pods]
        assert txn[Pods].delete("a", at=1) == Pod("a")


def test_revision_nothing_is_a_revision_like_any_other():  # upstream 0 means unconditional
    db = database(Pod("a"))
    with db.write(Pods) as txn, pytest.raises(RevisionMismatch):
        txn[Pods].delete("a", at=0)


def test_a_replaced_row_leaves_the_keys_that_it_has_no_more():
    db = database(Pod("a", "n1", ("t", "u"), "10.0.0.1"))
    put(db, Pod("a", "n2", ("u", "v")))
    snapshot = db.snapshot()
    assert [len(snapshot[Pods.by_tag][tag]) for tag in "tuv"] == [0, 1, 1]
    assert snapshot[Pods.by_address].get("10.0.0.1") is None
    assert list(snapshot[Pods.by_node].keys()) == ["n2"]


def test_a_second_row_under_a_unique_key_is_refused_naming_both():
    db = database(Pod("a", address="10.0.0.1"))
    with db.write(Pods) as txn:
        with pytest.raises(DuplicateKey, match=r"'10\.0\.0\.1'.*'a'.*'b'"):
            txn[Pods].insert(Pod("b", address="10.0.0.1"))
        txn[Pods].delete("a")
        txn[Pods].insert(Pod("b", address="10.0.0.1"))
        txn[Pods].insert(Pod("a"))
    assert db.snapshot()[Pods.by_address]["10.0.0.1"].name == "b"
    with db.write(Pods) as txn:  # two rows swap their unique keys
        txn[Pods].insert(Pod("b"))
        txn[Pods].insert(Pod("a", address="10.0.0.1"))
        txn[Pods].insert(Pod("b", address="10.0.0.2"))
    assert db.snapshot()[Pods.by_address]["10.0.0.1"].name == "a"
    db.check()


def test_rows_of_another_type_are_refused():
    db = database()
    with db.write(Pods) as txn:
        for row in ("a", None, {"name": "a"}):
            with pytest.raises(InvalidRow):
                txn[Pods].insert(row)


def test_an_index_function_that_raises_is_named():
    class Broken(Table[str, str], name="broken"):
        primary = UniqueIndex[str, str](lambda row: row)
        by_number = Index[int, str](lambda row: (int(row),))

    db = Database(Broken)
    with db.write(Broken) as txn:
        with pytest.raises(IndexFunctionError, match=r"'broken', index 'by_number': ValueError"):
            txn[Broken].insert("x")
        txn[Broken].insert("7")
    assert list(db.snapshot()[Broken]) == ["7"]


def test_deleting_and_inserting_again_in_one_transaction():
    db = database(Pod("a", "n1"))
    with db.write(Pods) as txn:
        txn[Pods].delete("a")
        txn[Pods].insert(Pod("a", "n2"))
    assert db.snapshot()[Pods.by_node]["n1"] == ()
    delete(db, "a")
    assert db.snapshot()[Pods.by_node]["n2"] == ()
    db.check()


def test_a_row_that_is_inserted_only_if_its_key_is_free():
    db = database(Pod("a"))
    with db.write(Pods) as txn:
        assert txn[Pods].insert_new(Pod("a", "n2")) == Pod("a")
        assert txn[Pods].insert_new(Pod("b")) is None
        assert txn[Pods].insert_new(Pod("b", "n2")) == Pod("b")
    assert list(db.snapshot()[Pods].values()) == [Pod("a"), Pod("b")]


def test_what_a_query_gives_is_deleted_all_or_none():
    db = database(Pod("a", "n1"), Pod("b", "n2"), Pod("c", "n1"), Pod("d", "n3"))
    with db.write(Pods) as txn:
        pods = txn[Pods]
        assert pods.delete_all(txn[Pods.by_node]["n1"]) == 2
        assert pods.delete_all([Pod("a"), Pod("nobody")]) == 0
        with pytest.raises(InvalidRow):
            pods.delete_all([Pod("b"), 5])
        assert list(pods) == ["b", "d"]
        assert pods.delete_all(pods.range("c")) == 1
    assert list(db.snapshot()[Pods]) == ["b"]
