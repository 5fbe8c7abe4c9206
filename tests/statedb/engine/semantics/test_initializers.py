"""When a table is initialized."""

import asyncio
import threading

import pytest

from statedb import InitializerError

from ..tables import Accounts, Pod, Pods, database, put


def begin(db, *wanted: str):
    with db.write(Pods) as txn:
        return [txn[Pods].begin_initializer(name) for name in wanted]


def finish(db, *tokens) -> None:
    with db.write(Pods) as txn:
        for token in tokens:
            txn[Pods].finish_initializer(token)


def test_a_table_without_one_is_initialized():
    db = database()
    view = db.snapshot()[Pods]
    assert (view.initialized, view.pending_initializers) == (True, ())
    assert db.wait_initialized(Pods, timeout=0)


def test_it_is_initialized_when_all_are_done():
    db = database()
    first, second = begin(db, "a", "b")
    before = db.snapshot()[Pods]
    assert (before.initialized, before.pending_initializers) == (False, ("a", "b"))
    finish(db, first)
    assert db.snapshot()[Pods].pending_initializers == ("b",)
    finish(db, second)
    assert db.snapshot()[Pods].initialized
    assert not before.initialized  # old snapshots keep saying what they said


def test_a_finish_is_visible_in_its_transaction_and_to_others_at_the_commit():
    db = database()
    (token,) = begin(db, "a")
    with db.write(Pods) as txn:
        txn[Pods].finish_initializer(token)
        assert txn[Pods].initialized
        assert not db.snapshot()[Pods].initialized
    assert db.snapshot()[Pods].initialized


def test_a_finish_in_an_aborted_transaction_counts_for_nothing_and_may_be_repeated():
    db = database()
    (token,) = begin(db, "a")
    txn = db.write(Pods)
    txn[Pods].finish_initializer(token)
    txn.abort()
    assert not db.snapshot()[Pods].initialized
    finish(db, token)
    assert db.snapshot()[Pods].initialized


def test_one_of_another_database_is_an_error():
    db, other = database(), database()
    (token,) = begin(db, "a")
    begin(other, "a")
    with other.write(Pods) as txn, pytest.raises(InitializerError, match="begun in another database"):
        txn[Pods].finish_initializer(token)
    assert not other.snapshot()[Pods].initialized


def test_a_second_finish_does_no_harm_and_that_of_another_table_is_an_error():
    db = database()
    (token,) = begin(db, "a")
    finish(db, token, token)
    with db.write(Pods, Accounts) as txn:
        txn[Pods].finish_initializer(token)
        with pytest.raises(InitializerError, match="another table"):
            txn[Accounts].finish_initializer(token)
    assert db.snapshot()[Pods].initialized


def test_a_name_that_is_pending_cannot_be_begun_again():
    db = database()
    begin(db, "a")
    with db.write(Pods) as txn, pytest.raises(InitializerError, match="'a' is pending"):
        txn[Pods].begin_initializer("a")


def test_after_initialization_more_may_come():
    db = database()
    finish(db, *begin(db, "a"))
    done = db.snapshot()[Pods]
    (again,) = begin(db, "b")
    assert done.initialized
    assert not db.snapshot()[Pods].initialized
    finish(db, again)
    assert db.snapshot()[Pods].initialized


def test_finishing_the_last_one_trips_the_tables_watch_and_nothing_else():
    db = database(Pod("a"))
    first, second = begin(db, "a", "b")
    view = db.snapshot()[Pods]
    table, row = view.watch(), view.watch("a")
    finish(db, first, second)
    assert table.tripped
    assert not row.tripped


def test_a_stream_tells_with_an_empty_batch():
    db = database(Pod("a"))
    (token,) = begin(db, "a")
    with db.changes(Pods) as stream:
        assert not stream.next().initialized
        finish(db, token)
        batch = stream.next()
        assert (len(batch), batch.initialized) == (0, True)


def test_waiting():
    db = database()
    (token,) = begin(db, "a")
    assert not db.wait_initialized(Pods, timeout=0.01)
    thread = threading.Timer(0.02, lambda: finish(db, token))
    thread.start()
    assert db.wait_initialized(timeout=20)
    thread.join()
    put(db, Pod("a"))


def test_rows_and_initialization_become_visible_together():
    db = database()
    (token,) = begin(db, "a")
    with db.write(Pods) as txn:
        txn[Pods].insert(Pod("a"))
        txn[Pods].finish_initializer(token)
    view = db.snapshot()[Pods]
    assert view.initialized
    assert "a" in view


def test_more_may_be_begun_while_others_are_pending_and_they_are_named_in_that_order():
    db = database()
    (first,) = begin(db, "b")
    (second,) = begin(db, "a")
    finish(db, first)
    (third,) = begin(db, "b")  # a name that is done may be used again
    assert db.snapshot()[Pods].pending_initializers == ("a", "b")
    finish(db, second)
    assert not db.wait_initialized(Pods, timeout=0)
    finish(db, third)
    assert db.wait_initialized(Pods, timeout=0)


def test_one_that_was_begun_in_an_aborted_transaction_does_not_hold_the_table_back():
    db = database()
    txn = db.write(Pods)
    token = txn[Pods].begin_initializer("a")
    assert not txn[Pods].initialized
    txn.abort()
    assert db.snapshot()[Pods].initialized
    finish(db, token)  # finishing what never was counts for nothing
    begin(db, "a")
    assert db.snapshot()[Pods].pending_initializers == ("a",)


def test_one_that_is_begun_and_finished_in_one_transaction_leaves_the_table_initialized():
    db = database()
    with db.write(Pods) as txn:
        txn[Pods].finish_initializer(txn[Pods].begin_initializer("a"))
    assert db.snapshot()[Pods].initialized


def test_another_table_is_not_concerned():
    db = database()
    begin(db, "a")
    assert db.snapshot()[Accounts].initialized
    assert db.wait_initialized(Accounts, timeout=0)
    assert not db.wait_initialized(timeout=0)


def test_a_finish_takes_no_revision():
    db = database(Pod("a"))
    finish(db, *begin(db, "a"))
    assert db.snapshot()[Pods].revision == 1


def test_a_watch_on_initializers_alone():
    db = database()
    watch = db.snapshot()[Pods].watch_initializers()
    put(db, Pod("a"))
    assert not watch.tripped
    (token,) = begin(db, "a")
    assert watch.tripped
    waiting = db.snapshot()[Pods].watch_initializers()
    put(db, Pod("b"))
    assert not waiting.tripped
    finish(db, token)
    assert waiting.tripped


def test_a_task_waits_for_initializers():
    db = database()
    (token,) = begin(db, "a")

    async def main() -> None:
        assert not await db.wait_initialized_async(Pods, timeout=0)
        waiting = asyncio.create_task(db.wait_initialized_async(timeout=30))
        await asyncio.sleep(0)
        assert not waiting.done()
        finish(db, token)
        assert await waiting
        async with db.changes(Pods) as stream:
            assert await anext(stream) is not None
        assert stream.closed

    asyncio.run(main())


@pytest.mark.parametrize("tables", [(Pods,), (Pods, Accounts)], ids=["one table", "several"])
def test_a_stream_tells_only_of_the_last_one_that_is_done(tables):
    """A batch without changes says that the tables are initialized now, and nothing else."""
    db = database()
    tokens = begin(db, "a", "b")
    with db.changes(*tables) as stream:
        assert not stream.next(0).initialized
        finish(db, tokens[0])
        assert stream.next(0) is None
        finish(db, tokens[1])
        batch = stream.next(0)
        assert (batch.initialized, list(batch.snapshot[Pods])) == (True, [])
        assert stream.next(0) is None


@pytest.mark.parametrize("tables", [(Pods,), (Pods, Accounts)], ids=["one table", "several"])
def test_a_stream_of_an_initialized_table_tells_nothing_of_a_commit_that_changes_no_row(tables):
    db = database(Pod("a"))
    with db.changes(*tables) as stream:
        assert stream.next(0).initialized
        tokens = begin(db, "later")
        assert stream.next(0) is None
        finish(db, *tokens)
        assert stream.next(0).initialized
        put(db, Pod("a"))
        assert stream.next(0) is None
