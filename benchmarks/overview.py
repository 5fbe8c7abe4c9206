"""The first table of docs/performance.md: what a user does, how long it takes, and how long it takes elsewhere.

Knows which figures are worth a line, and nothing of how they were measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from .harness import Figure

Name: TypeAlias = tuple[str, str]
"""The workload and the name of a figure."""

_GO = "the Go statedb"


class Beside(msgspec.Struct, frozen=True):
    """What somebody else takes: a figure that says how many times as fast we are, or a figure of theirs."""

    who: str
    figure: Name
    is_ratio: bool = True


class Line(msgspec.Struct, frozen=True):
    """One line. ``words`` are the second column; each ``{}`` stands for the next of the figures."""

    what: str
    figures: tuple[Name, ...]
    beside: tuple[Beside, ...] = ()
    words: str = "{}"


def _go(name: str, workload: str = "go") -> Beside:
    return Beside(_GO, (workload, f"{name}, times as fast as the Go statedb"))


def _peer(name: str, peer: str) -> Beside:
    return Beside(peer, ("peers", f"{name}, times as fast as {peer}"))


def _theirs(who: str, workload: str, name: str) -> Beside:
    return Beside(who, (workload, name), is_ratio=False)


LINES = (
    Line("take a snapshot of all tables", (("go", "snapshot"),), (_peer("snapshot", "immutables"),)),
    Line("look up a row by its key", (("go", "get"),), (_peer("get", "sqlite3"), _go("get"))),
    Line(
        "look up a row in a snapshot that is 10 000 commits old",
        (("go", "get, 10000 commits old"),),
        (_peer("get, 10000 commits old", "immutables"), _go("get, 10000 commits old")),
    ),
    Line("list the 4 rows of an index key", (("go", "list by identity"),), (_go("list by identity"),)),
    Line(
        "list the 40 rows of an index key",
        (("go", "list by node"),),
        (_peer("list by node", "sqlite3"), _go("list by node")),
        "{}, from the second time on",
    ),
    Line("find the longest prefix of an address", (("go", "longest prefix"),), (_go("longest prefix"),)),
    Line(
        "read all rows in order",
        (("go", "iterate"), ("go", "iterate, the first time")),
        (_peer("iterate", "sqlite3"), _go("iterate")),
        "{} a row; {} the first time",
    ),
    Line("insert a row in a transaction of its own", (("go", "insert in 1s"),), (_go("insert in 1s"),)),
    Line(
        "insert rows, 100 in a transaction",
        (("go", "insert in 100s"),),
        (_peer("insert in 100s", "littletable"), _peer("insert in 100s", "sqlite3")),
        "{} a row",
    ),
    Line(
        "insert rows with `insert_all`, 1 000 in a transaction",
        (("go", "insert in 1000s by insert_all"),),
        (_go("insert in 1000s by insert_all"),),
        "{} a row",
    ),
    Line(
        "replace rows, 100 in a transaction",
        (("go", "replace in 100s"),),
        (_peer("replace in 100s", "immutables"), _peer("replace in 100s", "sqlite3")),
        "{} a row",
    ),
    Line(
        "delete rows, 100 in a transaction",
        (("go", "delete in 100s"),),
        (_peer("delete in 100s", "sqlite3"), _go("delete in 100s")),
        "{} a row",
    ),
    Line("wake a thread that waits for a row", (("wake", "thread"),), (_go("wake, p50"),)),
    Line("wake an asyncio task", (("wake", "task"),)),
    Line(
        "follow changes, 100 in a batch",
        (("changes", "folded into a dict, batches of 100"),),
        words="{} a change",
    ),
    Line(
        "keep 10 000 idle watches of rows, or of index keys",
        (("watches", "10000 key watches"), ("watches", "10000 index watches")),
        words="commits take {}, or {} longer",
    ),
    Line(
        "keep a row in memory",
        (("memory", "ours"),),
        tuple(
            _theirs(who, "memory", name)
            for who, name in (
                ("plain dicts", "plain dicts"),
                ("sqlite3", "sqlite3"),
                ("immutables", "immutables"),
                (_GO, _GO),
            )
        ),
    ),
    Line(
        "fill tables from an etcd with 40 000 keys",
        (("kvstore", "into the table"),),
        (_theirs("a bare client that only decodes", "kvstore", "bare client, list and decode"),),
    ),
    Line(
        "bring a change in an etcd to a consumer",
        (("kvstore-propagation", "a consumer of the table, p50"),),
        (_theirs("a bare client", "kvstore-propagation", "bare client, p50"),),
        "{} (median)",
    ),
    Line(
        "run an agent on 40 000 keys of an etcd",
        (("agent-memory", "kvstore, resident memory of the agent"),),
        words="{} of memory",
    ),
)


def table(figures: Mapping[Name, Figure]) -> str:
    """The table in Markdown. A line whose own figures are missing is left out, and so is a missing comparison."""
    rows = ["| what you do | it takes | elsewhere |", "|---|---|---|"]
    for line in LINES:
        if all(name in figures for name in line.figures):
            shown = line.words.format(*[_amount(figures[name]) for name in line.figures])
            rows.append(f"| {line.what} | {shown} | {'; '.join(_compared(line.beside, figures))} |")
    return "\n".join(rows)


def _compared(beside: Iterable[Beside], figures: Mapping[Name, Figure]) -> list[str]:
    found = [(each, figures[each.figure]) for each in beside if each.figure in figures]
    return [_ratio(each.who, one.value) if each.is_ratio else f"{each.who}: {_amount(one)}" for each, one in found]


def _ratio(who: str, times_as_fast: float) -> str:
    if 0.95 <= times_as_fast <= 1.05:
        return f"{who} takes as long"
    if times_as_fast > 1:
        return f"{who} takes {times_as_fast:.2g} times as long"
    return f"{who} takes {100 * times_as_fast:.2g} percent of that"


_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_UNITS = {"%": "percent", "B": "bytes"}


def _amount(figure: Figure) -> str:
    """The value with two digits that count, in a unit in which it is between 0.1 and 1 000."""
    unit = figure.unit.partition("/")[0]
    if unit not in _SECONDS:
        return f"{figure.value:.3g} {_UNITS.get(unit, unit)}"
    seconds = figure.value * _SECONDS[unit]
    for name, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds > scale / 10:
            return f"{seconds / scale:.2g} {name}"
    return f"{seconds * 1e9:.2g} ns"
