"""Tables that only their owner writes; waiting for a table for so long and no longer; waiting in a task."""

from __future__ import annotations

import asyncio

import pytest

from statedb import Database, NestedWrite, TableOwned, UnknownTable, WriteTimeout
from statedb.engine.reserve import Reservation

from ._helpers import Host, Hosts, Interrupted, Lines, Port, Ports, in_a_thread, in_the_gap, lines_of


def test_an_owned_table_is_written_by_its_owner_alone():
    db = Database(Hosts, Ports)
    owner = db.own(Hosts, name="source kvstore")
    with pytest.raises(TableOwned, match="only the owner of table 'hosts', 'source kvstore', may write it"):
        db.write(Hosts)
    with pytest.raises(TableOwned):
        db.write(Ports, Hosts)
    with owner.write() as txn:
        txn[Hosts].insert(Host("a", "1"))
    with db.write(Hosts, Ports, owner=owner) as txn:
        txn[Hosts].insert(Host("b", "2"))
        txn[Ports].insert(Port(1, "b"))
    with db.write(Ports) as txn:  # nothing was left taken by those that were refused
        txn[Ports].insert(Port(2, "b"))
    assert list(db.snapshot()[Hosts]) == ["a", "b"]


def test_an_owner_gives_its_tables_back():
    db = Database(Hosts)
    with db.own(Hosts, name="first") as first:
        assert repr(first) == "<Owner first of hosts>"
        with pytest.raises(TableOwned, match="first"):
            db.own(Hosts, name="second")
    db.write(Hosts).abort()
    second = db.own(Hosts, name="second")
    first.release()  # not first's any more
    with pytest.raises(TableOwned, match="second"):
        first.write()
    second.write().abort()


@pytest.mark.filterwarnings("ignore:a write transaction on .* was dropped while open:ResourceWarning")
def test_tables_that_an_exception_kept_from_being_owned_can_be_written_and_owned():
    """The caller has no owner that could release them."""
    first = Database(Hosts, Ports)
    for line in lines_of(lambda: first.own(Hosts, Ports, name="first")):
        db = Database(Hosts, Ports)
        breaking = Lines(line)
        with pytest.raises(Interrupted):
            breaking.run(lambda db=db: db.own(Hosts, Ports, name="first"))
        in_a_thread(lambda db=db: db.write(Hosts, Ports, timeout=5).abort())
        db.own(Ports, Hosts, name="second").write().abort()
        with pytest.raises(TableOwned, match="second"):
            db.write(Hosts)


def test_an_owner_waits_for_another_table_that_nobody_owns():
    db = Database(Hosts, Ports)
    owner = db.own(Hosts, name="source")
    with db.write(Ports):

        def wait() -> None:
            with pytest.raises(WriteTimeout, match="'ports'"):
                db.write(Hosts, Ports, owner=owner, timeout=0.01)

        in_a_thread(wait)
    db.write(Hosts, Ports, owner=owner, timeout=0.01).abort()


def test_owning_waits_for_an_open_transaction_and_refuses_one_that_was_about_to_begin():
    db = Database(Hosts)
    refused = []

    def late() -> None:
        with pytest.raises(TableOwned):
            db.write(Hosts)
        refused.append(True)

    owner = db.own(Hosts, name="owner")
    txn = owner.write()
    in_a_thread(late)  # at once, although the table is taken
    txn.abort()
    assert refused == [True]
    owner.release()

    owners = []
    held = db.write(Hosts)  # whoever began before the table was owned is refused when it gets the table
    reservation = db._stores[Hosts].reservation

    def own_when_free() -> None:
        held.abort()
        owners.append(db.own(Hosts, name="owner"))

    def begin() -> None:
        in_the_gap(Reservation._wait, "gate = Lock()", lambda: in_a_thread(own_when_free), lambda: db.write(Hosts))

    with pytest.raises(TableOwned):
        in_a_thread(begin)
    assert not reservation.holder


def test_what_cannot_be_owned():
    db = Database(Hosts)
    with pytest.raises(ValueError, match="at least one table"):
        db.own(name="nobody")
    with pytest.raises(UnknownTable):
        db.own(Ports, name="nobody")


def test_waiting_for_a_table_ends_with_the_timeout():
    db = Database(Hosts, Ports)
    with db.write(Ports) as txn:
        with pytest.raises(WriteTimeout, match="'ports' is still being written by another transaction"):
            in_a_thread(lambda: db.write(Hosts, Ports, timeout=0.01))
        txn[Ports].insert(Port(1, "a"))
    with db.write(Hosts, Ports, timeout=0) as txn:
        txn[Hosts].insert(Host("a", "1"))
    assert isinstance(WriteTimeout(""), TimeoutError)


def test_a_waiter_that_gives_up_when_its_turn_comes_passes_it_on():
    db = Database(Hosts)
    holder = db.write(Hosts)
    reservation = db._stores[Hosts].reservation
    opened = []

    class Gate:
        def release(self) -> None:
            opened.append(True)

    def give_up() -> None:
        def free() -> None:  # the release opens the gate of the one that is giving up
            holder.abort()
            reservation.waiting[Gate()] = None

        with pytest.raises(WriteTimeout):
            in_the_gap(Reservation.timed_out, "return", free, lambda: db.write(Hosts, timeout=0))

    in_a_thread(give_up)
    assert opened


def test_a_task_that_waits_for_a_table_does_not_stop_the_loop():
    db = Database(Hosts)

    async def main() -> list[str]:
        order = []
        first = db.write(Hosts)  # of this thread: a task waits for it all the same

        async def second() -> None:
            async with db.write_async(Hosts) as txn:
                txn[Hosts].insert(Host("b", "2"))
                order.append("second")

        task = asyncio.create_task(second())
        await asyncio.sleep(0)
        order.append("the loop goes on")
        first[Hosts].insert(Host("a", "1"))
        first.commit()
        await task
        return order

    assert asyncio.run(main()) == ["the loop goes on", "second"]
    assert list(db.snapshot()[Hosts]) == ["a", "b"]


def test_waiting_in_a_task_ends_with_the_timeout_or_the_cancellation_and_leaves_nothing_taken():
    db = Database(Hosts, Ports)

    async def main() -> None:
        with db.write(Ports):
            with pytest.raises(WriteTimeout):
                async with db.write_async(Hosts, Ports, timeout=0.01):
                    raise AssertionError("never")
            task = asyncio.create_task(db.write_async(Hosts, Ports).__aenter__())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            db.write(Hosts).abort()
        async with db.write_async(Hosts) as txn:
            txn[Hosts].insert(Host("a", "1"))
            with pytest.raises(NestedWrite):
                async with db.write_async(Hosts):
                    raise AssertionError("never")

    asyncio.run(main())
    assert list(db.snapshot()[Hosts]) == ["a"]
    assert not db._stores[Hosts].reservation.waiting


def test_an_owner_writes_from_a_task():
    db = Database(Hosts)
    owner = db.own(Hosts, name="source")

    async def main() -> None:
        async with owner.write_async() as txn:
            txn[Hosts].insert(Host("a", "1"))
        with pytest.raises(TableOwned):
            async with db.write_async(Hosts):
                raise AssertionError("never")

    asyncio.run(main())
    assert list(db.snapshot()[Hosts]) == ["a"]
