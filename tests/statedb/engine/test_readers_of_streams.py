"""One stream has one reader at a time: a second one is told so, and spoils nothing."""

import asyncio
import gc
import threading

import pytest

from statedb.engine.streams import ChangeStream, _Stream

from ...waiting import eventually
from ._helpers import in_a_thread, in_the_gap
from .tables import Accounts, Pod, Pods, database, names, put


@pytest.mark.parametrize("tables", [(Pods,), (Pods, Accounts)], ids=["one table", "two"])
def test_a_second_thread_that_reads_is_refused_while_the_first_one_waits(tables):
    db = database(Pod("a"))
    stream = db.changes(*tables)
    stream.next()
    told = []
    first = threading.Thread(target=lambda: told.append(stream.next(timeout=60)))
    first.start()
    eventually(lambda: stream._waiting, "the first reader")
    with pytest.raises(RuntimeError, match="another thread or task is reading this change stream of pods"):
        stream.next(timeout=0)
    put(db, Pod("b"))
    first.join()
    assert len(told) == 1
    assert told[0] is not None
    assert stream.next(timeout=0) is None  # both batches were told to one reader each, and once


def test_two_threads_are_never_given_the_same_batch():
    """The second one comes in between the batch that is made and the step that moves on."""
    stream = (db := database(Pod("a"))).changes(Pods)
    refused = []

    def second() -> None:
        with pytest.raises(RuntimeError) as error:
            stream.next(timeout=0)
        refused.append(error)

    batch = in_the_gap(_Stream._take, "self._pins = pins", lambda: in_a_thread(second), lambda: stream.next(timeout=0))
    assert names([change.row for change in batch]) == ["a"]
    assert len(refused) == 1
    put(db, Pod("b"))
    assert [change.row.name for change in in_a_thread(lambda: stream.next(timeout=0))] == ["b"]


def test_a_second_task_is_refused_and_the_stream_can_be_read_after_a_cancelled_one():
    db = database(Pod("a"))

    async def scenario() -> None:
        stream: ChangeStream[str, Pod] = db.changes(Pods)
        await stream.__anext__()
        waiting = asyncio.ensure_future(stream.__anext__())
        while not stream._waiting:
            await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another thread or task"):
            await stream.__anext__()
        waiting.cancel()
        await asyncio.wait([waiting])
        put(db, Pod("b"))
        assert [change.row.name for change in await stream.__anext__()] == ["b"]

    asyncio.run(scenario())


def test_a_stream_that_is_dropped_without_being_closed_leaves_nothing_behind():
    db = database(Pod("a"))
    streams = [db.changes(Pods) for _ in range(3)]
    followers = db._stores[Pods].streams
    assert len(followers) == db.stats()[0].streams == 3
    streams.pop().close()
    assert db.stats()[0].streams == 2
    streams.clear()
    gc.collect()
    assert not followers
