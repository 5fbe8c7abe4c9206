"""Derived rows that their table refuses cost only themselves, and a mistake is told once, however many keys it has."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, strategies as st

from consumers.running.derivation import Derivation, derive
from consumers.running.source_snapshot import SourceSnapshot
from statedb import Database, Index, Table, UniqueIndex
from statedb.testing import Host, Hosts, VirtualClock

from .driving import Driver


class Desk(msgspec.Struct, frozen=True):
    """Of a host; ``phone`` is one host's alone."""

    host: str
    phone: Any


class Desks(Table[str, Desk], name="desks"):
    primary = UniqueIndex[str, Desk](lambda desk: desk.host)
    by_phone = UniqueIndex[str, Desk](lambda desk: desk.phone)
    by_length = Index[int, Desk](lambda desk: (len(desk.phone),))


def desk_of(cut: SourceSnapshot, name: str) -> Any:
    """Tags tell what is wrong: ``other`` gives a row of another type, ``number`` one that an index cannot read."""
    host = cut[Hosts].get(name)
    if host is None:
        return None
    return host if "other" in host.tags else Desk(name, 7 if "number" in host.tags else str(host.amount))


names = st.sampled_from("abc")
hosts = st.builds(Host, names, amount=st.sampled_from([1, 22]), tags=st.sampled_from([(), (), ("other",), ("number",)]))


@given(st.lists(st.one_of(hosts, names, st.integers(1, 2000)), max_size=25))
@example([Host("a", amount=1), Host("b", amount=1), 2000, Host("a", amount=22)])
@example([Host("a", amount=1, tags=("number",)), Host("b", amount=1)])
def test_rows_that_the_table_refuses_cost_only_themselves(history: list[Host | str | int]):
    db, clock = Database(Hosts), VirtualClock(0.0)
    derivation = derive(db, Desks, desk_of, {Hosts: lambda _, host: [host.name]})
    derivation._clock = clock
    driver = Driver(derivation, clock)
    for step in history:
        if isinstance(step, int):
            driver.advance(step)
            continue
        with db.write(Hosts) as txn:
            if isinstance(step, str):
                txn[Hosts].delete(step)
            else:
                txn[Hosts].insert(step)
        driver.settle()
        snapshot = db.snapshot()
        assert not derivation.failure
        wanted = {name: desk_of(SourceSnapshot(snapshot, (Hosts,)), name) for name in snapshot[Hosts]}
        good = {name: row for name, row in wanted.items() if isinstance(row, Desk) and isinstance(row.phone, str)}
        table = dict(snapshot[Desks])
        for name, row in good.items():
            if table.get(name) != row:  # another one has its phone, and it is named
                other = snapshot[Desks.by_phone].get(row.phone)
                assert other is not None
                assert other.host != name
                assert f"key {name!r}" in derivation.set_aside()
        assert table.keys() <= wanted.keys()
        for name in wanted.keys() - good.keys():
            assert f"key {name!r}" in derivation.set_aside()


@pytest.mark.parametrize("count", [1, 500])
def test_a_mistake_is_logged_once_and_counted(count: int, caplog: pytest.LogCaptureFixture):
    db, clock = Database(Hosts), VirtualClock(0.0)
    broken = [True]

    def compute(cut: SourceSnapshot, name: str) -> Desk | None:
        if broken[0]:
            raise TypeError(f"no desk for {name}")
        return desk_of(cut, name)

    derivation = Derivation(
        db, Desks, compute, {Hosts: lambda _, host: [host.name]}, clock=clock, retry_max_s=5.0, retry_for_s=60.0
    )
    with db.write(Hosts) as txn:
        txn[Hosts].insert_all([Host(f"h{number}", amount=number) for number in range(count)])
    driver = Driver(derivation, clock)
    with caplog.at_level(logging.WARNING):
        driver.advance(200)
        assert len(derivation.set_aside()) == count
        assert derivation.health.startswith(f"OK, but {count} set aside: key 'h0': TypeError: no desk for h0")
        warning, error = caplog.records
        assert "key 'h0' is set aside: TypeError: no desk for h0" in warning.getMessage()
        assert "test_set_aside.py:" in warning.getMessage()  # where to look
        assert "is given up until it changes" in error.getMessage()
        broken[0] = False
        with db.write(Hosts) as txn:
            txn[Hosts].insert_all([Host(f"h{number}", amount=number + 1000) for number in range(count)])
        driver.settle()
        assert len(db.snapshot()[Desks]) == count
        broken[0] = True
        with db.write(Hosts) as txn:
            txn[Hosts].insert(Host("h0", amount=-1))
        driver.settle()
        assert len(caplog.records) == 3  # all was well meanwhile: it is news
