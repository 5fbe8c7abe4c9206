"""History: commits chained by what they undo and redo, the pins that hold them, and the folding of both.

Knows commits, and nothing of rows' meaning. Shallow binding (H. Baker, "Shallow binding makes functional arrays
fast", 1991; Conchon & Filliâtre, "A persistent union-find data structure", 2007): the newest state lives in plain
dicts, an older one is the newest with the undo of every later commit laid over it.

    root ─▶ Pin ─▶ Commit 7          link = None: the newest
    snapshot ─▶ Pin ─▶ Commit 5 ──link──▶ (undo, redo, Commit 6) ──▶ Commit 6 ──link──▶ (undo, redo, Commit 7)

Links hold Commits only, never Pins: what nobody pins is freed by reference counting alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from operator import itemgetter
from threading import Lock
from typing import Any, TypeAlias
from weakref import ref

from .schema import Keys

_REVISION = itemgetter(1)
Row: TypeAlias = Any  # rows and keys are the user's; the typed door is in front of the engine
Key: TypeAlias = Any

State: TypeAlias = tuple[Row, int, bool, tuple[Keys, ...]]
"""One row as it stood: (row, revision, deleted, its keys in every secondary index)."""

Undo: TypeAlias = dict[Key, State | None]
"""What the rows changed by a commit were before it; None where there was no row."""

Redo: TypeAlias = dict[Key, State]
"""What a commit made of the rows; a deletion carries the deleted row and the deletion's own revision."""


class Initializer:
    """A named promise that a source will fill the table; the table is initialized when none is pending.

    Made by ``TableWriter.begin_initializer``, handed to ``finish_initializer``. Compared by identity.
    """

    __slots__ = ("name", "table")

    def __init__(self, name: str, table: Any = None) -> None:
        """Users do not make these; ``table`` is the table that it was made for."""
        self.name = name
        self.table = table

    def __repr__(self) -> str:
        """``<Initializer kvstore>``."""
        return f"<Initializer {self.name}>"


class Commit:
    """Immutable facts about one committed state of a table, and the link that a later commit sets, once.

    The link may be replaced by an equivalent one that reaches further (``compact``); it is one attribute, so a
    reader sees the one or the other.
    """

    __slots__ = ("count", "link", "pending", "revision", "sequence")

    def __init__(self, sequence: int, revision: int, count: int, pending: tuple[Initializer, ...]) -> None:
        """A newest state: nothing follows it yet."""
        self.sequence = sequence
        self.revision = revision
        self.count = count
        self.pending = pending
        self.link: tuple[Undo, Redo, Commit] | None = None


class Pin:
    """What the root, snapshots, views and streams hold: keeps one Commit, and so the way to the newest state.

    ``ordered`` caches the rows in key order while the commit is the newest; ``layers`` the merged undo of a
    stale one together with the Pin at which it ends: one tuple, replaced whole, never changed.
    """

    __slots__ = ("__weakref__", "commit", "layers", "ordered")

    def __init__(self, commit: Commit) -> None:
        """Pin a commit."""
        self.commit = commit
        self.ordered: list[Row] | None = None
        self.layers: tuple[tuple[Layer, ...], Pin] | None = None


class Layer:
    """A set of row states that lies over the newest rows: merged undo, or what a transaction has staged.

    ``states`` says of each key it holds what the row is, or that there is none. Its own index by secondary key is
    built on first use and then kept; for a growing overlay it is brought up to date from ``log``.
    """

    __slots__ = ("_done", "_indexes", "_log", "_ordered", "states")

    def __init__(self, states: dict[Key, State | None], log: list[Key] | None = None) -> None:
        """``log`` names every key at each change of its state, where the layer still grows (one thread only)."""
        self.states = states
        self._log = log
        self._indexes: dict[int, dict[Key, list[Key]]] = {}
        self._done: dict[int, int] = {}
        self._ordered: dict[int, list[Key]] = {}

    def row(self, key: Key) -> Row | None:
        """The row under a key that this layer holds; None where the layer says there is none."""
        state = self.states[key]
        return None if state is None or state[2] else state[0]

    def index(self, position: int) -> dict[Key, list[Key]]:
        """Secondary key -> primary keys, of the index at this position. Lists may repeat or hold outdated keys."""
        if self._log is None:
            return self._indexes.get(position) or self._indexes.setdefault(position, self._built(position, self.states))
        index = self._indexes.setdefault(position, {})
        self._add(index, position, self._log[self._done.get(position, 0) :])
        self._done[position] = len(self._log)
        return index

    def between(self, position: int, low: Any, high: Any, last: Any = None) -> Iterable[Key]:
        """The keys with ``low <= key < high`` that the layer holds: primary ones at position 0, else of that index.

        None leaves a side open; of those beyond ``last`` none.

        In no order; some may have no row. Cost: O(log n + result) once sorted, and O(n) in a layer that still grows.
        """
        keys: Iterable[Key] = self.index(position) if position else self.states
        if self._log is not None:
            keys = [key for key in list(keys) if (low is None or not key < low) and (high is None or key < high)]
            return keys if last is None else [key for key in keys if not last < key]
        ordered = self._ordered.get(position) or self._ordered.setdefault(position, sorted(keys))
        start = 0 if low is None else bisect_left(ordered, low)
        stop = len(ordered) if high is None else bisect_left(ordered, high)
        if last is not None:
            stop = min(stop, bisect_right(ordered, last))
        return ordered[start:stop]

    def _built(self, position: int, keys: Iterable[Key]) -> dict[Key, list[Key]]:
        index: dict[Key, list[Key]] = {}
        self._add(index, position, keys)
        return index

    def _add(self, index: dict[Key, list[Key]], position: int, keys: Iterable[Key]) -> None:
        for key in keys:
            state = self.states[key]
            if state is not None and not state[2]:
                for secondary in state[3][position - 1]:
                    index.setdefault(secondary, []).append(key)

    def has(self, key: Key, position: int, secondary: Key) -> bool:
        """Whether the row under ``key`` is there, and stands under ``secondary`` in the index."""
        state = self.states[key]
        return state is not None and not state[2] and secondary in state[3][position - 1]


def links(start: Commit, end: Commit | None) -> Iterator[tuple[Undo, Redo, Commit]]:
    """The links from one commit to a later one, or to the end of the chain (None).

    ``end`` must be pinned, and not older than ``start``: compaction never jumps over a pinned commit.
    """
    commit = start
    while commit is not end:
        link = commit.link
        if link is None:
            return
        yield link
        commit = link[2]


def merged_undo(start: Commit, end: Commit | None) -> Undo:
    """The undo of several commits as one: the older wins. A new dict, never changed once it is published."""
    undo: Undo = {}
    for step, _, _ in reversed(list(links(start, end))):
        undo.update(step)
    return undo


def stacked(layers: tuple[Layer, ...], newest: Layer) -> tuple[Layer, ...]:
    """The layers with one more on top, small ones merged, so that their sizes at least double downwards.

    Like a log-structured merge tree: reading an old snapshot once after every commit costs O(log n) amortised for
    each change, where one merged dict would be copied every time.
    """
    stack = list(layers)
    while stack and len(stack[-1].states) <= 2 * len(newest.states):
        newest = Layer({**newest.states, **stack.pop().states})
    return (*stack, newest)


class Root:
    """The one head of the database: table -> Pin, a mapping that is replaced whole, never changed."""

    __slots__ = ("lock", "pins")

    def __init__(self) -> None:
        """No tables yet."""
        self.lock = Lock()
        self.pins: dict[Any, Pin] = {}


def layers_over(pin: Pin, root: Root, table: Any) -> tuple[Layer, ...]:
    """What must be laid over the newest rows to read the state of ``pin``: old layers first, the older wins.

    Called *after* the newest rows were read. The part up to the root's pin is merged and kept, and ends at that Pin,
    so that it holds no bare commits; the undo of a commit that is half done at this moment lies beyond.
    """
    layers, end = pin.layers or ((), pin)
    newest = root.pins[table]  # read after ``end``: never older than it
    if end is newest and newest.commit.link is None:
        return layers
    if end is not newest:
        undo = merged_undo(end.commit, newest.commit)
        if undo:
            layers = stacked(layers, Layer(undo))
        pin.layers = (layers, newest)
    under_way = merged_undo(newest.commit, None)
    return (*layers, Layer(under_way)) if under_way else layers


def fold(start: Commit, end: Commit) -> list[State]:
    """The rows that differ between two states, each once at its newest state, in revision order.

    A key absent at both ends is no change.
    """
    redo: Redo = {}
    for _, newer, _ in links(start, end):
        redo.update(newer)
    gone = [key for key, state in redo.items() if state[2]]
    if gone:
        undo = merged_undo(start, end)
        for key in gone:
            if undo[key] is None:
                del redo[key]
    changes = list(redo.values())
    changes.sort(key=_REVISION)
    return changes


def compact(replaced: list[ref[Pin]]) -> list[ref[Pin]]:
    """Shorten the links between neighbouring live pins, and forget the dead ones.

    Called by the writer under the table's lock; the last pin is the one about to be replaced. Whatever anybody
    holds is then bounded by live pins times keys changed since, not by the number of commits.
    """
    alive = [(weak, pin) for weak in replaced if (pin := weak()) is not None]
    for (_, older), (_, newer) in pairwise(alive):
        _shorten(older.commit, newer.commit)
    return [weak for weak, _ in alive]


def _shorten(start: Commit, end: Commit) -> None:
    """Merge neighbouring links until each is more than twice as large as the next.

    Sizes in geometric order keep the work amortised O(log n) for each change, also where one old snapshot of a
    large table is held over millions of commits.
    """
    groups: list[tuple[Commit, Undo, Redo, bool]] = []
    commit = start
    for undo, redo, following in links(start, end):
        group = (commit, undo, redo, False)
        while groups and len(groups[-1][2]) <= 2 * len(group[2]):
            first, undo_before, redo_before, _ = groups.pop()
            group = (first, {**group[1], **undo_before}, {**redo_before, **group[2]}, True)
        groups.append(group)
        commit = following
    ends = [*[first for first, _, _, _ in groups[1:]], end]
    for (first, undo, redo, changed), following in zip(groups, ends):
        if changed:
            first.link = (undo, redo, following)
