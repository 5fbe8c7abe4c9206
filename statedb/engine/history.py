"""History: commits chained by what they undo and redo, the pins that hold them, and the folding of both.

Knows commits, and nothing of rows' meaning. Shallow binding (H. Baker, "Shallow binding makes functional arrays
fast", 1991; Conchon & Filliâtre, "A persistent union-find data structure", 2007): the newest state lives in plain
dicts, an older one is the newest with the undo of every later commit laid over it.

    root ─▶ Pin ─▶ Commit 7          link = None: the newest
    snapshot ─▶ Pin ─▶ Commit 5 ──link──▶ (undo, redo, Commit 6) ──▶ Commit 6 ──link──▶ (undo, redo, Commit 7)

Links hold Commits only, never Pins: what nobody pins is freed by reference counting alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import pairwise
from threading import RLock
from typing import Any, cast
from weakref import ref

from .layers import Layer, stacked
from .states import Redo, Row, Undo


class Initializer:
    """A named promise that a source will fill the table; the table is initialized when none is pending.

    Made by ``TableWriter.begin_initializer``, handed to ``finish_initializer``. Compared by identity.
    """

    __slots__ = ("name", "store", "table")

    def __init__(self, name: str, table: Any = None, store: Any = None) -> None:
        """Users do not make these. ``table`` is what it was made for, and ``store`` that table in its database."""
        self.name = name
        self.table = table
        self.store = store

    def __repr__(self) -> str:
        """``<Initializer kvstore>``."""
        return f"<Initializer {self.name}>"


_MERGED_MIN = 65_536
_DROPPED = -1000
"""So many more rows are looked for link by link in a state whose layers were dropped, before they are merged again."""


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

    ``ordered`` keeps the state's rows in key order, once somebody read them so; ``layers`` the merged undo of a
    stale one together with the Pin at which it ends: one tuple, replaced whole, never changed.
    """

    __slots__ = ("__weakref__", "commit", "layers", "ordered", "origins", "traversals")

    def __init__(self, commit: Commit) -> None:
        """Pin a commit."""
        self.commit = commit
        self.ordered: list[Row] | None = None
        self.layers: tuple[tuple[Layer, ...], Pin] | None = None
        self.traversals = 0
        """How often a row was looked for link by link, before the undo was merged into layers."""
        self.origins: dict[str, None] | None = None
        """Where the state was taken, if `Database.observe` was told to remember that."""


class StagedPin(Pin):
    """A state that no commit has made: what a transaction had staged at one moment, over the state that it began with.

    It is read as every old state is. Its commit is one in front of ``base``: what has to be undone to come back to it
    are the staged rows. It keeps ``base``, so that the chain behind it can be shortened.
    """

    __slots__ = ("base",)

    def __init__(self, base: Pin, staged: Redo, revision: int, count: int, pending: tuple[Initializer, ...]) -> None:
        """``staged`` is a copy that nobody changes."""
        commit = Commit(base.commit.sequence, revision, count, pending)
        commit.link = (cast("Undo", staged), {}, base.commit)
        super().__init__(commit)
        self.base = base
        self.layers = ((Layer(cast("Undo", staged)),), base)


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


class Root:
    """The one head of the database: table -> Pin, a mapping that is replaced whole, never changed."""

    __slots__ = ("lock", "pins")

    def __init__(self) -> None:
        """No tables yet."""
        self.lock = RLock()
        self.pins: dict[Any, Pin] = {}


class Merged:
    """What the merged layers of old states of one table may take together.

    Each old state that is read often has layers of its own, with all that changed since: of two thousand snapshots they
    took 1.1 GiB. Where they hold more than the table and a little, those that were merged first are dropped, and their
    states are read link by link again. Nothing is lost: the links are there as long as the pin. Each step is atomic.
    """

    __slots__ = ("_rows", "_sizes")

    def __init__(self, rows: Sized) -> None:
        """``rows`` is the dict of the newest rows."""
        self._rows = rows
        self._sizes: dict[ref[Pin], int] = {}

    def keep(self, pin: Pin, layers: tuple[Layer, ...], end: Pin) -> None:
        """Keep the layers of a pin up to another one, which take the place of those it has."""
        pin.layers = (layers, end)
        sizes, mine = self._sizes, ref(pin)
        sizes.pop(mine, None)  # the last merged stands last
        sizes[mine] = sum([len(layer.states) for layer in layers])
        left = sum(list(sizes.values())) - len(self._rows) - _MERGED_MIN
        if left > 0:
            self._drop(left, mine)

    def _drop(self, left: int, mine: ref[Pin]) -> None:
        for weak in sorted(self._sizes.copy(), key=lambda weak: weak() is not None):  # those first that nobody holds
            if left <= 0:
                return
            if weak is not mine:  # one alone may take what it needs
                left -= self._sizes.pop(weak, 0)
                pin = weak()
                if pin is not None:
                    pin.traversals = _DROPPED
                    pin.layers = None


def layers_over(pin: Pin, root: Root, table: Any, merged: Merged) -> tuple[Layer, ...]:
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
        merged.keep(pin, layers, newest)
    under_way = merged_undo(newest.commit, None)
    return (*layers, Layer(under_way)) if under_way else layers


def fold(start: Commit, end: Commit) -> tuple[Undo, Redo]:
    """The rows written between two states: what they were at the first, and what they are at the second.

    Do not change the dicts: where one commit lies between the two states, they are its own.
    """
    steps = list(links(start, end))
    if len(steps) == 1:
        return steps[0][0], steps[0][1]
    undo: Undo = {}
    redo: Redo = {}
    for _, newer, _ in steps:
        redo.update(newer)
    for older, _, _ in reversed(steps):
        undo.update(older)
    return undo, redo


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
