"""What a user could pick instead, on the same rows in the same run: sqlite3 in memory, persistent maps, littletable.

They do not offer the same: sqlite3 has transactions and indexes, and no snapshots without copying; persistent maps have
snapshots for nothing, and their indexes are kept by hand; littletable has indexes, and neither transactions nor
snapshots. None has watches or change streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from .harness import Figure, Outcome, Size, digest, median, require, rounds, timed, workload
from .limit import OtherRows, Row, changes_of, make_rows, moved
from .stores import Engine, Guarded, State, Store, make_names, others
from .together import at_once, fill

_ROUNDS = 3
_AGES = (1, 100, 10_000)
_DELETED = 10  # all but every tenth row is deleted

_OLD = {f"{what}, {age} commit{'s' * (age > 1)} old" for what in ("get", "list by node") for age in _AGES}
_TOGETHER = {f"two writers and four readers, on {where}" for where in ("one table", "two tables")}
_ORDERED = {"prefix"}

CANNOT: dict[str, dict[str, str]] = {
    "sqlite3": dict.fromkeys(("snapshot", *_OLD), "it has one state; an older one is a copy"),
    "immutables": dict.fromkeys(_ORDERED, "its keys have no order: it would look through all of them"),
    "pyrsistent": dict.fromkeys(_ORDERED, "its keys have no order: it would look through all of them"),
    "littletable": {
        **dict.fromkeys(
            ("replace in 1s", "replace in 100s", "replace that moves an index key in 100s", "delete in 100s"),
            "to remove a row it looks through all of them",
        ),
        **dict.fromkeys(("snapshot", *_OLD), "it has one state; an older one is a copy"),
        **dict.fromkeys(_ORDERED, "its indexes have no order: it would look through all rows"),
        **dict.fromkeys(("empty commit", *_TOGETHER), "it has no transactions"),
    },
}
"""What each is not asked, and why."""

NOISE = 0.95
_NOBODY_FOLLOWS = "rows have no revisions there, and nobody can wait for a change or follow it"
_NO_REVISIONS = f"{_NOBODY_FOLLOWS}; of two writers one is lost without a word"
_NOTHING_DONE = "a reference to a map is its snapshot, and to write nothing is to do nothing: nobody is kept out"
_NO_PROMISES = "it has no transactions: a reader sees half a batch, and an error leaves half of one"

LESS: dict[tuple[str, str], str] = {
    **{
        (f"replace {how}", "immutables"): _NO_REVISIONS
        for how in ("in 1s", "in 100s", "that moves an index key in 100s")
    },
    ("delete in 100s", "immutables"): _NO_REVISIONS,
    **{(what, peer): _NOTHING_DONE for what in ("snapshot", "empty commit") for peer in ("immutables", "pyrsistent")},
    **{(what, "immutables"): _NOBODY_FOLLOWS for what in _TOGETHER},
}
"""Where a peer may be faster because it offers less, and what. Littletable offers less everywhere. In every other
workload the guarantees are the same, and ours must not be slower, give or take the noise."""


def offers_less(what: str, peer: str) -> str:
    """What a peer does not offer in a workload; empty where its guarantees are ours."""
    return _NO_PROMISES if peer == "littletable" else LESS.get((what, peer), "")


Measured: TypeAlias = dict[str, tuple[float, str]]
"""Seconds and the answer's digest, by workload."""


class _Work:
    """What all stores work on."""

    def __init__(self, size: Size) -> None:
        """Rows in an order that is nobody's friend."""
        self.rows, self.changed = make_rows(size.rows), make_rows(size.rows, 1)
        self.moved = moved(make_rows(size.rows, 2), 1)
        self.keys = [row.id for row in self.rows]
        self.missing = [f"{key}-not" for key in self.keys]
        self.nodes = sorted({row.node for row in self.rows})
        self.names = make_names(self.rows)
        self.asked = [row.name for row in self.names]
        self.prefixes = sorted({key[:-2] for key in self.keys})
        self.deleted = [key for number, key in enumerate(self.keys) if number % _DELETED]
        self.times = max(1, size.rows // 4)
        for key in (*self.missing, *self.asked):
            hash(key)  # once for all: whoever asks first has no disadvantage


@workload("peers")
def compare(size: Size) -> Iterator[Outcome]:
    """How many times as fast we are as what could be picked instead; below 1 we are slower."""
    work, answers = _Work(size), dict[str, str]()
    for name, make in others():
        ratios: dict[str, list[float]] = {}
        for number in rounds(min(size.repeats, _ROUNDS), f"peers, {name}"):
            sides = {"ours": Engine, name: make}
            found = {
                each: _round(sides[each], work, CANNOT.get(name, {}))
                for each in (sides if number % 2 else reversed(sides))
            }
            for what, (seconds, answer) in found["ours"].items():
                other, theirs = found[name][what]
                require(theirs == answer, f"{name} has our answer to {what!r}")
                answers[what] = answer
                ratios.setdefault(what, []).append(other / seconds)
        for what, values in ratios.items():
            least = None if offers_less(what, name) else NOISE
            yield Figure(f"{what}, times as fast as {name}", median(values), "x", at_least=least)
    yield digest(sorted(answers.items()))


def _round(make: Callable[[], Any], work: _Work, cannot: dict[str, str]) -> Measured:
    """Everything that both sides can do, in this order: readers find what the writer before them has left."""
    store: Store = make()
    measured: Measured = {}

    def measure(what: str, do: Callable[..., Any], *arguments: Any, then: Callable[[], Any] | None = None) -> None:
        """Time a piece of work, unless a side cannot do it; its answer is what it returns, or the rows then."""
        if what in cannot:
            return
        found: list[Any] = []
        seconds = timed(lambda: found.append(do(*arguments)))
        measured[what] = seconds, digest(found[0] if then is None else then()).value

    measure("insert in 100s", store.write, work.rows, 100, then=store.iterate)
    measure("get", store.get, work.keys)
    measure("miss", store.get, work.missing)
    measure("list by node", store.of_nodes, work.nodes)
    measure("iterate", store.iterate)
    if "prefix" not in cannot:
        measure("prefix", store.prefix, work.prefixes)
    store.write_names(work.names)
    measure("get by a second unique key", store.by_name, work.asked)
    if "snapshot" not in cannot:
        measure("snapshot", store.take_snapshots, work.times, then=lambda: ())
    if "empty commit" not in cannot:
        measure("empty commit", store.commit_nothing, work.times, then=store.iterate)
    measure("replace in 1s", store.write, work.changed, 1, then=store.iterate)
    measure("replace in 100s", store.write, work.rows, 100, then=store.iterate)
    measure("replace that moves an index key in 100s", store.write, work.moved, 100, then=store.iterate)
    if "delete in 100s" not in cannot:
        measure("delete in 100s", store.delete, work.deleted, 100, then=store.iterate)
    if not cannot.keys() >= _OLD:
        _ask_old(make, work, measure)
    if not cannot.keys() >= _TOGETHER:
        _all_at_once(make, work, measure)
    return measured


def _ask_old(make: Callable[[], Any], work: _Work, measure: Callable[..., None]) -> None:
    """Keys and lists of a state that was held while so many transactions of one row came after it."""
    for age in _AGES:
        store: Store = make()
        store.write(work.rows, 100)
        held: State = store.hold()
        for changed in changes_of(len(work.rows), age):
            store.write(changed, 1)
        when = f"{age} commit{'s' * (age > 1)} old"
        measure(f"get, {when}", held.get, work.keys)
        measure(f"list by node, {when}", held.of_nodes, work.nodes)


def _all_at_once(make: Callable[[], Any], work: _Work, measure: Callable[..., None]) -> None:
    for where, count in (("one table", 1), ("two tables", 2)):
        tables = _tables(make, count)
        fill(tables, work.rows)
        what = f"two writers and four readers, on {where}"
        measure(what, at_once, tables, work.changed, then=lambda tables=tables: _rows_of(tables))


def _tables(make: Callable[[], Any], count: int) -> list[Any]:
    """So many tables which several threads may use (Stores, or as much of one as can be had): ours as they are."""
    first = make()
    if isinstance(first, Engine):
        return [first, Engine(first.db, OtherRows)][:count]
    readers_too = not hasattr(first, "hold")
    return [Guarded(store, readers_too=readers_too) for store in (first, make())[:count]]


def _rows_of(tables: list[Any]) -> list[Row]:
    return sorted((row for table in tables for row in table.iterate()), key=lambda row: row.id)
