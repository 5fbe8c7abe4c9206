"""Streams over several tables, and streams since a snapshot: consistent cuts, nothing lost, deletions included."""

import asyncio
import threading

import pytest
from hypothesis import given, strategies as st

from statedb import Database, Snapshot, StreamClosed, UnknownTable

from .tables import Account, Accounts, Pod, Pods, database, delete, put

steps = st.lists(
    st.tuples(
        st.sampled_from(["pod", "account", "both", "unpod", "unaccount", "read"]),
        st.integers(0, 4),
        st.integers(0, 3),
    ),
    max_size=40,
)


def act(db: Database, what: str, number: int, value: int) -> None:
    tables = {"pod": (Pods,), "unpod": (Pods,), "account": (Accounts,), "unaccount": (Accounts,)}
    with db.write(*tables.get(what, (Pods, Accounts))) as txn:
        if what in ("pod", "both"):
            txn[Pods].insert(Pod(f"p{number}", f"n{value}"))
        if what in ("account", "both"):
            txn[Accounts].insert(Account(number, value))
        if what == "unpod":
            txn[Pods].delete(f"p{number}")
        if what == "unaccount":
            txn[Accounts].delete(number)


def fold(batch, folded: dict) -> None:
    for table, changes in batch.items():
        revisions = [change.revision for change in changes]
        assert revisions == sorted(set(revisions))
        for change in changes:
            if change.deleted:
                del folded[table][table.key_of(change.row)]
            else:
                folded[table][table.key_of(change.row)] = change.row


def rows(snapshot: Snapshot) -> dict:
    return {table: dict(snapshot[table].items()) for table in (Pods, Accounts)}


@given(steps, steps)
def test_folded_batches_are_the_snapshots_that_come_with_them(before, after):
    db = database()
    for what, number, value in before:
        if what != "read":
            act(db, what, number, value)
    since = db.snapshot()
    folded, folded_since = {Pods: {}, Accounts: {}}, rows(since)
    with db.changes(Pods, Accounts) as stream, db.changes(Pods, Accounts, since=since) as later:
        for what, number, value in [*after, ("read", 0, 0)]:
            if what != "read":
                act(db, what, number, value)
                continue
            for follower, state in ((stream, folded), (later, folded_since)):
                while (batch := follower.next(0)) is not None:
                    assert list(batch) == [Pods, Accounts]
                    fold(batch, state)
                    assert state == rows(batch.snapshot)
                assert state == rows(db.snapshot())


def test_a_batch_holds_both_halves_of_every_transaction():
    db = database()
    stop = 300

    def write() -> None:
        for number in range(1, stop + 1):
            with db.write(Pods, Accounts) as txn:
                txn[Pods].insert(Pod("p", f"n{number}"))
                txn[Accounts].insert(Account(1, number))

    writer = threading.Thread(target=write)
    with db.changes(Accounts, Pods) as stream:
        writer.start()
        for batch in stream:
            if batch[Pods]:
                (pod,), (account,) = batch[Pods], batch[Accounts]
                assert pod.row.node == f"n{account.row.balance}"
                if account.row.balance == stop:
                    break
    writer.join()


def test_a_table_without_changes_has_none_in_the_batch():
    db = database(Pod("a"))
    with db.changes(Pods, Accounts) as stream:
        batch = stream.next()
        assert (len(batch), len(batch[Pods]), batch[Accounts]) == (2, 1, ())
        assert stream.next(0) is None
        put(db, Pod("b"))
        assert [change.row.name for change in stream.next()[Pods]] == ["b"]
        assert "pods: 0" in repr(batch) or "pods: 1" in repr(batch)


def test_since_a_snapshot_tells_deletions_and_nothing_twice():
    db = database(Pod("a"), Pod("b"))
    since = db.snapshot()
    delete(db, "a")
    put(db, Pod("b", "n2"), Pod("c"))
    delete(db, "c")
    with db.changes(Pods, since=since) as stream:
        told = [(change.row.name, change.deleted) for change in stream.next()]
        assert told == [("a", True), ("b", False)]
        assert stream.next(0) is None


def test_since_now_begins_with_the_next_change():
    db = database(Pod("a"))
    with db.changes(Pods, since=db.snapshot()) as stream:
        assert stream.next(0) is None
        put(db, Pod("b"))
        assert [change.row.name for change in stream.next()] == ["b"]


def test_since_a_very_old_snapshot():
    db = database(Pod("a"))
    since = db.snapshot()
    for number in range(2000):
        put(db, Pod(f"p{number % 10}", f"n{number}"))
    with db.changes(Pods, since=since) as stream:
        assert sorted(change.row.name for change in stream.next()) == [f"p{number}" for number in range(10)]


def test_all_must_be_initialized():
    db = database()
    with db.write(Pods, Accounts) as txn:
        first, second = txn[Pods].begin_initializer("x"), txn[Accounts].begin_initializer("x")
    with db.changes(Pods, Accounts) as stream:
        assert not stream.next().initialized
        with db.write(Pods) as txn:
            txn[Pods].finish_initializer(first)
        assert stream.next(0) is None
        with db.write(Accounts) as txn:
            txn[Accounts].finish_initializer(second)
        batch = stream.next()
        assert batch.initialized
        assert not any(batch.values())


@pytest.mark.parametrize("table", [Pods, Accounts])
def test_a_change_of_either_table_wakes_a_thread_and_a_task(table):
    db = database()

    def change() -> None:
        act(db, table.name.removesuffix("s"), 1, 1)

    with db.changes(Pods, Accounts) as stream:
        stream.next()
        timer = threading.Timer(0.01, change)
        timer.start()
        assert len(stream.next(20)[table]) == 1
        timer.join()

    async def main() -> int:
        with db.changes(Pods, Accounts, since=db.snapshot()) as stream:
            asyncio.get_running_loop().call_later(0.01, act, db, table.name.removesuffix("s"), 2, 2)
            async for batch in stream:
                return len(batch[table])
        raise AssertionError

    assert asyncio.run(main()) == 1


def test_closing_wakes_who_waits_for_several():
    db = database()
    stream = db.changes(Pods, Accounts)
    stream.next()
    ended = []
    thread = threading.Thread(target=lambda: ended.append(list(stream)))
    thread.start()
    stream.close()
    thread.join(20)
    assert ended == [[]]
    with pytest.raises(StreamClosed, match="pods, accounts"):
        stream.next()


def test_a_snapshot_of_another_database_is_refused():
    with pytest.raises(UnknownTable):
        database().changes(Pods, since=database().snapshot())
    late = Database(Pods)
    before = late.snapshot()
    late.register(Accounts)
    with pytest.raises(UnknownTable, match="'accounts'"):
        late.changes(Pods, Accounts, since=before)
    with pytest.raises(ValueError, match="at least one table"):
        late.changes()  # type: ignore[call-overload]


def test_one_table_named_twice_is_one_table_of_a_stream_of_tables():
    db = database(Pod("a"))
    with db.changes(Pods, Pods) as stream:
        assert list(stream.next()) == [Pods]
