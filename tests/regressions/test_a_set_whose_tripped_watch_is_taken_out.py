"""A watch that trips and is taken out of its set before the waiter has run: the waiter goes on waiting."""

import asyncio

from statedb import Watch, WatchSet

from ..statedb.engine.tables import Pod, Pods, database, put


def test_a_task_is_given_no_empty_set():
    db = database(Pod("a"), Pod("b"))

    async def main() -> tuple[set[Watch], Watch]:
        first, second = (db.snapshot()[Pods].watch(name) for name in "ab")
        watches = WatchSet(first, second)

        async def wait() -> set[Watch]:
            return await watches

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        put(db, Pod("a", "n2"))
        watches.discard(first)
        for _ in range(3):
            await asyncio.sleep(0)
        put(db, Pod("b", "n2"))
        return await task, second

    tripped, second = asyncio.run(main())
    assert tripped == {second}
