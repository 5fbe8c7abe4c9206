"""Change streams, and what they do not keep."""

import threading

import pytest

from statedb import StreamClosed
from tests.statedb.tables import Accounts, Pod, Pods, database, delete, names, put


def told(batch) -> list[tuple[str, bool]]:
    return [(change.row.name, change.deleted) for change in batch]


def test_it_begins_with_the_rows_that_are_there_in_revision_order():
    db = database(Pod("b"), Pod("a"))
    put(db, Pod("b", "n2"))
    delete(db, "x")
    with db.changes(Pods) as stream:
        assert told(stream.next()) == [("a", False), ("b", False)]
        assert stream.next(0) is None


def test_the_first_batch_comes_at_once_also_of_nothing():
    db = database()
    with db.changes(Pods) as stream:
        assert told(stream.next()) == []
        assert stream.next(0) is None


def test_past_deletions_are_not_told():
    db = database(Pod("a"), Pod("b"))
    delete(db, "a")
    with db.changes(Pods) as stream:
        assert told(stream.next()) == [("b", False)]


def test_updates_and_deletions_interleave():
    db = database(Pod("a"), Pod("b"), Pod("c"))
    with db.changes(Pods) as stream:
        stream.next()
        delete(db, "a")
        put(db, Pod("b", "n2"))
        delete(db, "c")
        put(db, Pod("a", "n3"))
        assert told(stream.next()) == [("b", False), ("c", True), ("a", False)]


def test_a_deletion_carries_the_deleted_row_and_its_own_revision():
    db = database(Pod("a", "n9"))
    with db.changes(Pods) as stream:
        stream.next()
        delete(db, "a")
        (change,) = stream.next()
        assert (change.row, change.revision, change.deleted) == (Pod("a", "n9"), 2, True)


def test_one_that_was_created_and_deleted_unread_is_no_change():  # upstream tells the deletion of a row never told
    db = database()
    with db.changes(Pods) as stream:
        stream.next()
        put(db, Pod("a"))
        delete(db, "a")
        with db.write(Pods) as txn:
            txn[Pods].insert(Pod("b"))
            txn[Pods].delete("b")
        assert stream.next(0) is None


def test_streams_are_independent():
    db = database(Pod("a"))
    with db.changes(Pods) as first, db.changes(Pods) as second:
        first.next()
        put(db, Pod("b"))
        assert told(first.next()) == [("b", False)]
        assert told(second.next()) == [("a", False), ("b", False)]


def test_a_batch_leads_to_its_snapshot():
    db = database(Pod("a"))
    with db.changes(Pods) as stream:
        batch = stream.next()
        put(db, Pod("b"))
        assert names(batch.snapshot[Pods].values()) == ["a"]
        assert batch.snapshot[Accounts].revision == 0
        assert list(batch) == list(batch)
        assert len(batch) == 1


def test_a_closed_stream_says_so_and_may_be_closed_again():
    db = database(Pod("a"))
    stream = db.changes(Pods)
    stream.close()
    stream.close()
    with pytest.raises(StreamClosed):
        stream.next()
    put(db, Pod("b"))
    with pytest.raises(StreamClosed):  # upstream dereferences nil here
        stream.next()
    assert list(stream) == []


def test_closing_wakes_who_waits():
    db = database()
    stream = db.changes(Pods)
    stream.next()
    batches = []
    thread = threading.Thread(target=lambda: batches.extend(stream))
    thread.start()
    stream.close()
    thread.join(20)
    assert not thread.is_alive()
    assert batches == []


def test_iteration_follows():
    db = database(Pod("a"))
    seen = []
    with db.changes(Pods) as stream:
        for batch in stream:
            seen += told(batch)
            if len(seen) == 1:
                put(db, Pod("b"))
            elif len(seen) == 2:
                delete(db, "a")
            else:
                break
    assert seen == [("a", False), ("b", False), ("a", True)]


def test_nothing_is_kept_where_nobody_reads():
    db = database(Pod("a"))
    for number in range(1000):
        put(db, Pod("a", f"n{number}"))
    store = db._stores[Pods]
    assert store.pin.commit.link is None
    assert all(weak() is None or weak() is store.pin for weak in store.replaced)
