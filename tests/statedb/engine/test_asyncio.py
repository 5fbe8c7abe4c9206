"""Tasks that wait: for watches, for sets of them, for batches of a stream; cancelled, or in several loops."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from statedb import ChangeStream, Database, NestedWrite, WatchSet

from ._helpers import Host, Hosts, Ports, fold_into, in_a_thread

SOON = 20.0


def run(task: Coroutine[Any, Any, Any]) -> Any:
    """Run a task in a loop of its own; one that hangs fails."""

    async def bounded() -> Any:
        return await asyncio.wait_for(task, SOON)

    return asyncio.run(bounded())


def put(db: Database, name: str, amount: int = 0) -> None:
    with db.write(Hosts) as txn:
        txn[Hosts].insert(Host(name, f"address of {name}", ("red",), amount=amount))


def waiting(db: Database) -> int:
    """How many watches somebody waits on."""
    return db._stores[Hosts].registry.waiting()


async def until(condition: Callable[[], bool]) -> None:
    """Let the other tasks run until something holds."""
    while not condition():
        await asyncio.sleep(0)


@pytest.fixture
def db() -> Database:
    db = Database(Hosts, Ports)
    put(db, "a")
    return db


# -- one watch --------------------------------------------------------------------------------------------------------


def test_a_watch_that_tripped_is_awaited_at_once(db):
    async def scenario() -> None:
        watch = db.snapshot()[Hosts].watch("b")
        put(db, "b")
        await watch
        await watch

    run(scenario())
    assert waiting(db) == 0


def test_a_commit_of_one_task_resumes_another(db):
    async def scenario() -> None:
        watch = db.snapshot()[Hosts].watch("b")
        waiter = asyncio.ensure_future(wait(watch))
        await until(lambda: waiting(db) == 1)
        put(db, "a", 5)
        await asyncio.sleep(0)
        assert not waiter.done()
        put(db, "b")
        await waiter
        assert watch.tripped

    run(scenario())
    assert waiting(db) == 0


async def wait(awaitable: Any) -> Any:
    return await awaitable


def test_a_commit_of_another_thread_resumes_many_tasks(db):
    async def scenario() -> None:
        snap = db.snapshot()
        watches = [snap[Hosts].watch("b"), snap[Hosts].watch(), snap[Hosts.by_tag].watch("red")]
        waiters = [asyncio.ensure_future(wait(watch)) for watch in watches for _ in range(20)]
        await until(lambda: sum(len(watch._wakers) for watch in watches) == 60)
        await asyncio.to_thread(put, db, "b")
        await asyncio.gather(*waiters)

    run(scenario())
    assert waiting(db) == 0


def test_a_cancelled_task_leaves_no_waker_and_the_watch_works_on(db):
    async def scenario() -> None:
        watch = db.snapshot()[Hosts].watch("b")
        first, second = asyncio.ensure_future(wait(watch)), asyncio.ensure_future(wait(watch))
        await until(lambda: len(watch._wakers) == 2)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert len(watch._wakers) == 1
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert not watch._wakers
        assert waiting(db) == 0
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wait(watch), 0.01)
        third = asyncio.ensure_future(wait(watch))
        await until(lambda: waiting(db) == 1)
        put(db, "b")
        await third

    run(scenario())
    assert waiting(db) == 0


def test_a_task_cancelled_as_its_watch_trips_is_cancelled_and_nothing_else_happens(db):
    async def scenario() -> None:
        watch = db.snapshot()[Hosts].watch("b")
        task = asyncio.ensure_future(wait(watch))
        await until(lambda: waiting(db) == 1)
        put(db, "b")  # has the loop resume the task in a moment
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert watch.tripped
        await asyncio.sleep(0)

    run(scenario())
    assert waiting(db) == 0


# -- sets of watches --------------------------------------------------------------------------------------------------


def test_a_set_gives_what_tripped_and_keeps_the_rest(db):
    async def scenario() -> None:
        view = db.snapshot()[Hosts]
        b, c = view.watch("b"), view.watch("c")
        watches = WatchSet(b, c)
        task = asyncio.ensure_future(wait(watches))
        await until(lambda: waiting(db) == 2)
        put(db, "b")
        assert await task == {b}
        assert list(watches) == [c]
        assert waiting(db) == 0

    run(scenario())


def test_a_set_settles_what_trips_a_little_later(db):
    async def scenario() -> None:
        view = db.snapshot()[Hosts]
        b, c, d = view.watch("b"), view.watch("c"), view.watch("d")
        watches = WatchSet(b, c, d, settle=0.2)
        task = asyncio.ensure_future(wait(watches))
        await until(lambda: waiting(db) == 3)
        put(db, "b")
        await asyncio.sleep(0.02)
        assert not task.done()
        await asyncio.to_thread(put, db, "c")
        assert await task == {b, c}
        assert d in watches

    run(scenario())


@pytest.mark.parametrize("settling", [False, True])
def test_a_cancelled_wait_for_a_set_loses_no_watch(db, settling):
    async def scenario() -> None:
        view = db.snapshot()[Hosts]
        b, c = view.watch("b"), view.watch("c")
        watches = WatchSet(b, c, settle=5.0 if settling else 0.0)
        task = asyncio.ensure_future(wait(watches))
        await until(lambda: waiting(db) == 2)
        if settling:
            put(db, "b")
            await until(lambda: waiting(db) == 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waiting(db) == 0
        if not settling:
            put(db, "b")
        watches._settle = 0.0
        assert await watches == {b}
        assert c in watches

    run(scenario())


def test_a_watch_added_from_a_thread_resumes_the_task_that_waits_for_the_set(db):
    async def scenario() -> None:
        watches = WatchSet(db.snapshot()[Hosts].watch("never"))
        task = asyncio.ensure_future(wait(watches))
        await until(lambda: waiting(db) == 1)
        late = db.snapshot()[Hosts].watch("b")
        await asyncio.to_thread(watches.add, late)
        await asyncio.to_thread(put, db, "b")
        assert await task == {late}

    run(scenario())


# -- streams ----------------------------------------------------------------------------------------------------------


async def fold(stream: ChangeStream[str, Host], rows: dict[Any, Any], seen: list[int]) -> None:
    async for batch in stream:
        fold_into(rows, batch, Hosts.primary)
        seen.append(len(batch))


def test_a_stream_is_followed_while_a_thread_and_a_task_commit(db):
    async def scenario() -> None:
        rows: dict[Any, Any] = {}
        with db.changes(Hosts) as stream:
            task = asyncio.ensure_future(fold(stream, rows, []))
            for number in range(50):
                await asyncio.to_thread(put, db, f"thread {number}")
                put(db, f"task {number % 7}", number)
            await until(lambda: rows == dict(db.snapshot()[Hosts]))
            stream.close()
            await task

    run(scenario())
    assert waiting(db) == 0


def test_a_stream_closed_from_a_thread_ends_the_iteration(db):
    async def scenario() -> None:
        with db.changes(Hosts) as stream:
            seen: list[int] = []
            task = asyncio.ensure_future(fold(stream, {}, seen))
            await until(lambda: waiting(db) == 1)
            await asyncio.to_thread(stream.close)
            await task
            assert seen == [1]

    run(scenario())
    assert waiting(db) == 0


def test_a_cancelled_follower_can_be_followed_by_another(db):
    async def scenario() -> None:
        rows: dict[Any, Any] = {}
        with db.changes(Hosts) as stream:
            for number in range(20):
                task = asyncio.ensure_future(fold(stream, rows, []))
                await until(lambda: waiting(db) == 1)
                put(db, f"host {number}")
                if number % 2:
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert waiting(db) == 0
            batch = stream.next(timeout=0)
            if batch is not None:
                fold_into(rows, batch, Hosts.primary)
            assert rows == dict(db.snapshot()[Hosts])

    run(scenario())


# -- loops and threads ------------------------------------------------------------------------------------------------


def test_a_closed_loop_with_a_waiting_task_does_not_disturb_the_committer(db):
    loop = asyncio.new_event_loop()
    watch = db.snapshot()[Hosts].watch("b")
    task = loop.create_task(wait(watch))
    loop.run_until_complete(asyncio.sleep(0.01))
    assert waiting(db) == 1
    loop.close()
    other = db.snapshot()[Hosts].watch("b")
    thread = threading.Thread(target=other.wait, args=(SOON,))
    thread.start()
    put(db, "b")
    thread.join(SOON)
    assert not thread.is_alive()
    assert watch.tripped
    assert waiting(db) == 0
    task._log_destroy_pending = False  # it never ends, and that is the point


def test_several_loops_in_several_threads_are_all_woken(db):
    ready = threading.Barrier(5, timeout=SOON)
    snap = db.snapshot()

    async def scenario(number: int) -> None:
        mine = [asyncio.ensure_future(wait(snap[Hosts].watch("b"))) for _ in range(5)]
        own = asyncio.ensure_future(wait(snap[Hosts].watch(f"loop {number}")))
        await asyncio.sleep(0)
        await asyncio.to_thread(ready.wait)
        put(db, f"loop {number}")
        await asyncio.gather(own, *mine)

    results: list[Any] = []
    threads = [threading.Thread(target=lambda n=n: results.append(run(scenario(n))), daemon=True) for n in range(4)]
    for thread in threads:
        thread.start()
    ready.wait()
    put(db, "b")
    for thread in threads:
        thread.join(SOON)
    assert results == [None] * 4
    assert waiting(db) == 0


def test_a_task_that_writes_inside_anothers_transaction_is_refused(db):
    """Both run in one thread: waiting for the other would be waiting for oneself."""

    async def scenario() -> None:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def holds() -> None:
            with db.write(Hosts) as txn:
                txn[Hosts].insert(Host("held", "9"))
                entered.set()
                await leave.wait()

        holder = asyncio.ensure_future(holds())
        await entered.wait()
        with pytest.raises(NestedWrite, match="hosts"):
            put(db, "b")
        with db.write(Ports):
            pass
        blocked = asyncio.ensure_future(asyncio.to_thread(put, db, "from a thread"))
        await asyncio.sleep(0.01)
        assert not blocked.done()
        leave.set()
        await asyncio.gather(holder, blocked)
        put(db, "b")

    run(scenario())
    assert {"held", "from a thread", "b"} <= set(db.snapshot()[Hosts])


def test_a_cancelled_task_aborts_its_transaction(db):
    async def scenario() -> None:
        entered = asyncio.Event()

        async def holds() -> None:
            with db.write(Hosts) as txn:
                txn[Hosts].insert(Host("held", "9"))
                entered.set()
                await asyncio.sleep(SOON)

        task = asyncio.ensure_future(holds())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario())
    assert "held" not in db.snapshot()[Hosts]
    in_a_thread(lambda: put(db, "b"))
