"""Change streams, and what they do not keep."""

import asyncio
import threading

import pytest

from statedb import Database, Snapshot, StreamClosed

from ..tables import Accounts, Pod, Pods, database, delete, names, put


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


def test_a_with_block_closes_it():
    db = database(Pod("a"))
    with db.changes(Pods) as stream:
        assert not stream.closed
    assert stream.closed

    async def task() -> bool:
        async with db.changes(Pods, Accounts) as streams:
            assert not streams.closed
        return streams.closed

    assert asyncio.run(task())


@pytest.mark.parametrize(
    ("tables", "named"), [((Pods,), "of table 'pods' is"), ((Pods, Accounts), "of tables 'pods, accounts' is")]
)
def test_a_closed_one_reads_nothing_and_names_its_tables(monkeypatch, tables, named):
    db = database(Pod("a"))
    stream = db.changes(*tables)
    stream.close()
    monkeypatch.setattr(type(stream), "_batch", lambda *_: pytest.fail("it reads"))
    with pytest.raises(StreamClosed, match=named):
        stream.next(0)


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


def kept(db) -> int:
    """How many rows the history holds, from the oldest state that anybody still reads."""
    pins = [pin for weak in db._stores[Pods].replaced if (pin := weak()) is not None]
    commit, rows = (pins[0] if pins else db._stores[Pods].pin).commit, 0
    while commit.link is not None:
        undo, _, commit = commit.link
        rows += len(undo)
    return rows


def test_nothing_is_kept_where_nobody_reads():
    db = database(Pod("a"))
    for number in range(1000):
        put(db, Pod("a", f"n{number}"))
    store = db._stores[Pods]
    assert store.pin.commit.link is None
    assert all(weak() is None or weak() is store.pin for weak in store.replaced)


def test_a_deletion_is_kept_until_the_slowest_reader_has_it():
    db = database(*[Pod(f"p{number}") for number in range(50)])
    with db.changes(Pods) as quick, db.changes(Pods) as slow:
        quick.next()
        slow.next()
        with db.write(Pods) as txn:
            assert txn[Pods].clear() == 50
        assert len(quick.next()) == 50
        assert kept(db) == 50
        assert [change.deleted for change in slow.next()] == [True] * 50
        assert kept(db) == 0


@pytest.mark.parametrize("way", ["close", "drop"])
def test_a_slow_reader_that_leaves_frees_what_was_kept_for_it(way: str):
    db = database(Pod("a"), Pod("b"))
    slow = db.changes(Pods)
    slow.next()
    delete(db, "a", "b")
    assert kept(db) == 2
    if way == "close":
        slow.close()
    else:
        del slow
    assert kept(db) == 0


def test_a_new_stream_needs_nothing_from_before_it():
    db = database(Pod("a"))
    delete(db, "a")
    put(db, Pod("b"))
    with db.changes(Pods) as stream:
        assert told(stream.next()) == [("b", False)]
        assert kept(db) == 0


def test_a_row_deleted_inserted_and_deleted_again_is_told_deleted_once_at_the_newest_revision():
    db = database(Pod("a"))
    with db.changes(Pods) as stream:
        stream.next()
        delete(db, "a")
        put(db, Pod("a", "n2"))
        delete(db, "a")
        (change,) = stream.next()
    assert (change.revision, change.deleted) == (4, True)


def test_the_deleted_row_is_told_as_it_was_at_its_end_seen_or_unseen():
    db = database(Pod("a", "n1"))
    with db.changes(Pods) as stream:
        stream.next()
        put(db, Pod("a", "n2"))
        delete(db, "a")
        (change,) = stream.next()
    assert (change.row, change.revision, change.deleted) == (Pod("a", "n2"), 3, True)


def test_writes_of_an_open_transaction_are_not_told():
    db = database(Pod("a"))
    with db.changes(Pods) as stream:
        stream.next()
        with db.write(Pods) as txn:
            txn[Pods].insert(Pod("b"))
            txn[Pods].delete("a")
            assert stream.next(0) is None
        assert told(stream.next()) == [("b", False), ("a", True)]


def test_an_equal_row_is_no_change_and_a_forced_one_is():  # upstream every insert is one
    db = database(Pod("a"))
    with db.changes(Pods) as stream:
        stream.next()
        put(db, Pod("a"))
        assert stream.next(0) is None
        with db.write(Pods) as txn:
            txn[Pods].insert(Pod("a"), force=True)
        assert [change.revision for change in stream.next()] == [2]


def test_a_task_follows_until_the_stream_is_closed():
    db = database(Pod("a"))
    seen = []

    async def follow() -> None:
        async for batch in stream:
            seen.extend(told(batch))
            if len(seen) == 1:
                delete(db, "a")
                put(db, Pod("b"))
            else:
                stream.close()

    with db.changes(Pods) as stream:
        asyncio.run(follow())
    assert seen == [("a", False), ("a", True), ("b", False)]


class Closing(Database):
    """Closes a stream at the very moment when that looks at the database, as another thread may."""

    stream = None

    def snapshot(self) -> Snapshot:
        if self.stream is not None:
            self.stream.close()
        return super().snapshot()


@pytest.mark.parametrize("tables", [(Pods,), (Pods, Accounts)], ids=len)
@pytest.mark.parametrize("news", [False, True], ids=["nothing new", "something new"])
def test_one_that_is_closed_while_it_is_read_says_so_and_keeps_nothing(tables, news: bool):
    db = Closing(Pods, Accounts)
    put(db, Pod("a"))
    stream = db.changes(*tables)
    stream.next()
    if news:
        put(db, Pod("b"))
    db.stream = stream
    with pytest.raises(StreamClosed, match="is closed; open a new one"):
        stream.next(0)
    db.stream = None
    put(db, Pod("c"))
    assert sum(stats.held_states for stats in db.stats()) == 0
