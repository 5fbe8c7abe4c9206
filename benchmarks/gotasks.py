"""What is measured beside the Go original: tasks, targets, and what all of it works on.

Knows neither engine. Both do the same tasks and digest what they found in the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import msgspec

from .harness import Size
from .limit import Row, make_rows

AGES = (1, 100, 10_000)


class Task(msgspec.Struct, frozen=True):
    """One piece of work, for either side. ``revision`` is that of the rows which it writes; ``age`` is how many
    transactions of one row come after the snapshot that is asked; ``bulk``: we insert each batch with one call."""

    name: str
    kind: str
    batch: int = 0
    revision: int = 0
    age: int = 0
    bulk: bool = False


class Done(msgspec.Struct, frozen=True):
    """What an operation took in nanoseconds (every sample, where a task takes many; bytes for each row, where the task
    is memory), and a digest of the result."""

    name: str
    samples: list[float]
    answer: str


TASKS = (
    Task("insert in order in 1s", "insert in order", 1),
    Task("insert in order in 100s", "insert in order", 100),
    Task("insert in order in 1000s", "insert in order", 1000),
    Task("insert in order in 1000s by insert_all", "insert in order", 1000, bulk=True),
    Task("insert in 100s by insert_all", "insert", 100, bulk=True),
    Task("insert in 1000s by insert_all", "insert", 1000, bulk=True),
    Task("insert in 1s", "insert", 1),
    Task("insert in 100s", "insert", 100),
    Task("insert in 1000s", "insert", 1000),
    Task("get", "get"),
    Task("miss", "miss"),
    Task("list by node, the first time", "list by node"),
    Task("list by node", "list by node"),
    Task("list by identity, the first time", "list by identity"),
    Task("list by identity", "list by identity"),
    Task("iterate, the first time", "iterate"),
    Task("iterate", "iterate"),
    Task("prefix", "prefix"),
    Task("snapshot", "snapshot"),
    Task("empty commit", "empty commit"),
    Task("replace in 1s", "replace", 1),
    Task("replace in 100s", "replace", 100),
    Task("replace in 1000s", "replace", 1000),
    Task("replace that moves an index key in 1s", "move", 1),
    Task("replace that moves an index key in 100s", "move", 100),
    Task("replace that moves an index key in 1000s", "move", 1000),
    Task("delete in 1s", "delete", 1),
    Task("delete in 100s", "delete", 100),
    Task("delete in 1000s", "delete", 1000),
    Task("get by a second unique key", "get by name"),
    *(Task(f"get, {age} commit{'s' * (age > 1)} old", "get old", age=age) for age in AGES),
    *(Task(f"list by node, {age} commit{'s' * (age > 1)} old", "list old", age=age) for age in AGES),
    Task("changes, all at once", "changes", 100),
    Task("changes, followed while writing in 100s", "follow", 100),
    Task("two writers and four readers, on one table", "together", 1),
    Task("two writers and four readers, on two tables", "together", 2),
    Task("insert prefixes in 1s", "insert prefixes", 1),
    Task("insert prefixes in 100s", "insert prefixes", 100),
    Task("insert prefixes in 1000s", "insert prefixes", 1000),
    Task("longest prefix", "longest"),
    Task("longest prefix of text", "longest of text"),
    Task("wake", "wake"),
)
"""Everything that is measured, in this order: readers find what the last task that inserted has left. No reader holds a
snapshot while a writer is timed, but where the task is about that. Of tasks with readers and writers at once, ``batch``
is the number of tables."""

AT_LEAST = {
    "insert in order in 1s": 0.65,
    "insert in order in 100s": 0.65,
    "insert in order in 1000s": 0.65,
    "insert in order in 1000s by insert_all": 0.65,
    "insert in 100s by insert_all": 1.2,
    "insert in 1000s by insert_all": 1.2,
    "insert in 1s": 1.2,
    "insert in 100s": 1.2,
    "insert in 1000s": 1.2,
    "get": 1.0,
    "list by node": 0.4,
    "list by identity": 0.4,
    "iterate": 0.5,
    "replace in 1s": 1.2,
    "replace in 100s": 1.2,
    "replace in 1000s": 1.2,
    "insert prefixes in 1s": 1.0,
    "insert prefixes in 100s": 1.0,
    "insert prefixes in 1000s": 1.0,
    "longest prefix": 0.7,
    "wake, p50": 0.25,
}
"""How many times as fast as the original we want to be."""

_WRITING = {"insert in order", "insert", "replace"}
MILLION = tuple(
    task for task in TASKS if task.kind in {*_WRITING, "get", "list by node", "list by identity", "iterate"}
)
"""What is measured at a million rows."""

AT_LEAST_MILLION = {task.name: 1.0 for task in MILLION if task.kind in _WRITING}
"""How many times as fast as the original we want to be there."""


class Work:
    """What both sides work on."""

    def __init__(self, size: Size, tasks: Iterable[Task]) -> None:
        """Rows as everywhere; 50 000 networks at full size, a fifth of them /24, the others addresses in these."""
        self.rows = make_rows(size.rows)
        self.keys = [row.id for row in self.rows]
        self.sorted_keys = sorted(self.keys)
        self.wakes = size.wakes
        self.networks = list[str]()
        self.addresses = list[str]()
        if any(task.kind == "insert prefixes" for task in tasks):
            self._add_networks(size)

    def _add_networks(self, size: Size) -> None:
        wide = [f"10.{n >> 8 & 255}.{n & 255}" for n in range(max(1, size.rows // 4))]
        networks = [f"{each}.0/24" for each in wide] + [f"{each}.{n * 50}/32" for each in wide for n in range(4)]
        self.networks = [networks[n] for n in _shuffled(len(networks))]
        addresses = [f"{each}.{n * 50 + n % 2}" for each in wide for n in range(5)]
        self.addresses = [addresses[n] for n in _shuffled(len(addresses))]

    def as_input(self) -> dict[str, Any]:
        """What the Go program is told before its tasks (Any: JSON)."""
        rows = [(row.id, row.node, row.identity) for row in self.rows]
        return {"rows": rows, "networks": self.networks, "addresses": self.addresses, "wakes": self.wakes}


def _shuffled(count: int) -> list[int]:
    """The numbers up to a count, in the order of `make_rows`."""
    return [int(row.id.removeprefix("pod-")) for row in make_rows(count)]


class Side(Protocol):
    """Who does tasks."""

    def do(self, task: Task) -> Done:
        """Do a task, and say what it took and gave."""
        ...


def done(task: Task, seconds: float, operations: int, lines: Iterable[str]) -> Done:
    """What a task took that did so many operations, and what it found."""
    return Done(task.name, [seconds / operations * 1e9], digest_of(lines))


def digest_of(lines: Iterable[str]) -> str:
    """As the Go program makes it."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def lines_of(rows: Iterable[Row]) -> Iterator[str]:
    """A line for each row."""
    return (f"{row.id} {row.node} {row.identity} {row.revision} {row.state}" for row in rows)
