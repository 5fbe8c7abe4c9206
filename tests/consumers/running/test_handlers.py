"""Handlers: what they are told folds to the table, and nothing is told twice, whatever fails in between."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from consumers import handle
from consumers.running.handlers import _HandledRows
from statedb import Database, Table, UniqueIndex


class Row(msgspec.Struct, frozen=True):
    name: str
    value: int = 0


class Rows(Table[str, Row], name="rows"):
    primary = UniqueIndex[str, Row](lambda row: row.name)


class Folded:
    """What handlers were told, as a dict; each call must fit what was told before."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.fails = 0

    def on_add(self, row: Row) -> None:
        self._perhaps_fail()
        assert row.name not in self.rows
        self.rows[row.name] = row

    def on_update(self, old: Row, new: Row) -> None:
        self._perhaps_fail()
        assert self.rows[old.name] == old
        self.rows[new.name] = new

    def on_delete(self, row: Row) -> None:
        self._perhaps_fail()
        assert self.rows.pop(row.name) == row

    def _perhaps_fail(self) -> None:
        self.fails -= 1
        if self.fails >= 0:
            raise RuntimeError("this one fails")


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 3), st.booleans(), st.integers(0, 2)), max_size=20
)


@given(STEPS)
def test_what_is_told_folds_to_the_table(steps: list[tuple[str, int | None, bool, int]]):
    db, folded = Database(Rows), Folded()
    known = _HandledRows(Rows, folded.on_add, folded.on_update, folded.on_delete)
    with db.changes(Rows) as stream:
        for name, value, looks, fails in steps:
            with db.write(Rows) as txn:
                if value is not None:
                    txn[Rows].insert(Row(name, value))
                elif name in txn[Rows]:
                    txn[Rows].delete(name)
            if looks and (batch := stream.next(timeout=0)) is not None:
                folded.fails = fails
                for _ in range(fails + 1):
                    try:
                        known.apply(batch)
                    except RuntimeError:
                        continue
                    break
                assert folded.rows == dict(db.snapshot()[Rows].items())


def test_in_a_thread():
    db, folded = Database(Rows), Folded()
    write(db, Row("a"))
    folded.fails = 2
    with handle(db, Rows, on_add=folded.on_add, on_update=folded.on_update, retry_min_s=0.001) as follower:
        assert follower.wait_applied(timeout=30)
        assert folded.rows == {"a": Row("a")}
        write(db, Row("a", 1))
        assert follower.wait_applied(timeout=30)
    assert folded.rows == {"a": Row("a", 1)}


def test_asynchronous_handlers_run_in_a_task():
    db, folded = Database(Rows), Folded()

    async def on_add(row: Row) -> None:
        await asyncio.sleep(0)
        folded.on_add(row)

    async def main() -> None:
        follower = handle(db, Rows, on_add=on_add, on_delete=folded.on_delete, retry_min_s=0.001)
        task = asyncio.create_task(follower.run_async())
        write(db, Row("a"))
        folded.fails = 1
        assert await asyncio.to_thread(follower.wait_applied, timeout=30)
        assert folded.rows == {"a": Row("a")}
        with db.write(Rows) as txn:
            txn[Rows].delete("a")
        assert await asyncio.to_thread(follower.wait_applied, timeout=30)
        assert folded.rows == {}
        follower.stop()
        await task

    asyncio.run(main())


def write(db: Database, row: Row) -> None:
    with db.write(Rows) as txn:
        txn[Rows].insert(row)


@pytest.mark.parametrize("handlers", [{}, {"on_add": None}])
def test_without_a_handler_it_is_a_mistake(handlers: dict[str, Any]):
    with pytest.raises(ValueError, match="at least one"):
        handle(Database(Rows), Rows, **handlers)
