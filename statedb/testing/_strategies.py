"""Hypothesis strategies for whole histories, and for rows of the sample tables from small pools: keys collide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ImportError as error:
    raise ImportError(
        "the strategies of statedb.testing need the package hypothesis: pip install hypothesis"
    ) from error

from statedb.engine.schema import Table

from ._histories import Ending, Kind, Step, Writes
from ._tables import Host, Hosts, Slot, SlotKey, Slots

AnyTable = type[Table[Any, Any]]

NAMES = ("a", "ab", "abc", "a\U0010ffff", "b", "ba")
TAGS = ("", "blue", "green", "red", "re")
NETWORKS = (
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/16",
    "10.1.2.3/8",  # the same, with host bits
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3",
    "::/0",
    "fd00::/8",
    "fd00::1",
)
ADDRESSES = (b"", b"\x0a\x01\x02\x03", b"\x0a\x01\x02\x04", b"\xfd" + bytes(14) + b"\x01")
PATHS = ("", "/", "/a", "/a/", "/ab", "/a/b")
PORTS = (("tcp", 80), ("tcp", 443), ("udp", 80))

_HOSTS = st.builds(
    Host,
    name=st.sampled_from(NAMES),
    address=st.sampled_from([None, "1", "12", "2"]),
    tags=st.lists(st.sampled_from(TAGS), max_size=3).map(tuple),
    networks=st.lists(st.sampled_from(NETWORKS), max_size=3).map(tuple),
    amount=st.integers(0, 1),
)
_SLOTS = st.builds(
    Slot,
    key=st.builds(SlotKey, zone=st.sampled_from(["x", "y"]), number=st.integers(0, 2)),
    host=st.sampled_from(["", "a", "ab", "b"]),
    ports=st.lists(st.sampled_from(PORTS), max_size=3).map(tuple),
    address=st.sampled_from(ADDRESSES),
    amount=st.integers(0, 1),
    paths=st.lists(st.sampled_from(PATHS), max_size=2).map(tuple),
    aliases=st.lists(st.sampled_from(["one", "two", "three"]), max_size=2).map(tuple),
)


def hosts() -> SearchStrategy[Host]:
    """Rows of ``Hosts``: six names, three addresses, and overlapping tags and networks."""
    return _HOSTS


def slots() -> SearchStrategy[Slot]:
    """Rows of ``Slots``: six keys in two zones."""
    return _SLOTS


def steps(rows: Mapping[AnyTable, SearchStrategy[Any]]) -> SearchStrategy[Step]:
    """One write to one of these tables, with rows from the strategy of the table."""
    return st.one_of([_steps_of(table, strategy) for table, strategy in rows.items()])


def _steps_of(table: AnyTable, rows: SearchStrategy[Any]) -> SearchStrategy[Step]:
    kinds = st.sampled_from(
        [kind for kind in get_args(Kind) if kind not in ("clear", "delete from")] + ["insert", "insert", "delete"]
    )
    write = st.builds(Step, st.just(table), kinds, rows, st.sampled_from([0, 0, 1]))
    clear = st.builds(Step, st.just(table), st.sampled_from(["clear", "delete from"]), rows)
    return st.integers(0, 15).flatmap(lambda number: write if number else clear)


def histories(
    rows: Mapping[AnyTable, SearchStrategy[Any]] | None = None, *, max_size: int = 20
) -> SearchStrategy[list[Writes]]:
    """Lists of transactions on these tables, by default the sample tables; see ``play``.

    About one in four of them ends with an abort or an exception. ``max_size`` is the largest number of transactions.
    """
    samples: Mapping[AnyTable, SearchStrategy[Any]] = {Hosts: _HOSTS, Slots: _SLOTS}
    tables = rows if rows is not None else samples
    endings = st.sampled_from([*cast("tuple[Ending, ...]", get_args(Ending)), *["commit"] * 5])
    writes = st.builds(Writes, st.just(tuple(tables)), st.lists(steps(tables), max_size=8).map(tuple), endings)
    return st.lists(writes, max_size=max_size)
