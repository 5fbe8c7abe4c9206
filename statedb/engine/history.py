"""History: commits linked by their undo and redo, the pins that keep them, and how to merge several of them.

Knows commits, and nothing of the meaning of rows. Uses shallow binding (H. Baker, "Shallow binding makes functional
arrays fast", 1991; Conchon & Filliâtre, "A persistent union-find data structure", 2007): the newest state is in plain
dicts, and an older state is the newest with the undo of every later commit applied on top.

    root ─▶ Pin ─▶ Commit 7          link = None: the newest
    snapshot ─▶ Pin ─▶ Commit 5 ──link──▶ (undo, redo, Commit 6) ──▶ Commit 6 ──link──▶ (undo, redo, Commit 7)

Links refer to Commits and never to Pins, so reference counting alone frees what nobody has pinned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import pairwise
from typing import Any, cast
from weakref import ref

from .layers import Layer, stacked
from .locks import SafeLock
from .states import Redo, Row, Undo


class Initializer:
    """A named promise that a source will fill the table. The table is initialized when none is pending.

    Made by ``TableWriter.begin_initializer`` and passed to ``finish_initializer``. Compared by identity.
    """

    __slots__ = ("name", "store", "table")

    def __init__(self, name: str, table: Any = None, store: Any = None) -> None:
        """Not made by users. ``table`` is the table that it was made for, and ``store`` that table in its database."""
        self.name = name
        self.table = table
        self.store = store

    def __repr__(self) -> str:
        """``<Initializer kvstore>``."""
        return f"<Initializer {self.name}>"


_MERGED_MIN = 65_536
_DROPPED = -1000
"""After its layers were dropped, so many rows of a state are read from the links before layers are merged again."""


class Commit:
    """One committed state of a table: immutable facts, and the link that a later commit sets once.

    ``compact`` may replace the link by an equivalent one that skips commits. The link is one attribute, so a reader
    sees either the old or the new one.
    """

    __slots__ = ("count", "link", "pending", "revision", "sequence")

    def __init__(self, sequence: int, revision: int, count: int, pending: tuple[Initializer, ...]) -> None:
        """The newest state: it has no link yet."""
        self.sequence = sequence
        self.revision = revision
        self.count = count
        self.pending = pending
        self.link: tuple[Undo, Redo, Commit] | None = None


class Pin:
    """A reference to one Commit, and so to the path to the newest state.

    The root, snapshots, views and streams hold pins. ``ordered`` caches the rows in key order after the first ordered
    read. ``layers`` caches the merged undo of an old state, together with the Pin at which it ends: one tuple, replaced
    as a whole and never changed.
    """

    __slots__ = ("__weakref__", "commit", "layers", "ordered", "origins", "traversals")

    def __init__(self, commit: Commit) -> None:
        """Pin a commit."""
        self.commit = commit
        self.ordered: list[Row] | None = None
        self.layers: tuple[tuple[Layer, ...], Pin] | None = None
        self.traversals = 0
        """How many reads have followed the links one by one, before the undo is merged into layers."""
        self.origins: dict[str, None] | None = None
        """Where the state was taken, if `Database.observe` was told to record that."""


class StagedPin(Pin):
    """The staged rows of a transaction at one moment, over the state that it started from. No commit has made this
    state.

    It is read like every old state. Its commit is one step before ``base``, and the staged rows are its undo. It refers
    to ``base``, so that the chain after it can be compacted.
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

    ``end`` must be pinned, and not older than ``start``: compaction never skips a pinned commit.
    """
    commit = start
    while commit is not end:
        link = commit.link
        if link is None:
            return
        yield link
        commit = link[2]


def merged_undo(start: Commit, end: Commit | None) -> Undo:
    """The undo of several commits as one: the older commit wins. A new dict, never changed after it is published."""
    undo: Undo = {}
    for step, _, _ in reversed(list(links(start, end))):
        undo.update(step)
    return undo


class Root:
    """The newest state of all tables of a database: table -> Pin, a mapping that is replaced as a whole and never
    changed.
    """

    __slots__ = ("lock", "pins")

    def __init__(self) -> None:
        """No tables yet."""
        self.lock = SafeLock()
        self.pins: dict[Any, Pin] = {}


class Merged:
    """Limits the memory of the merged layers of all old states of one table.

    Each old state that is read often has merged layers of its own, with everything that changed since. If all of them
    together hold more rows than the table, plus a constant, the oldest are dropped. Their states are then read from the
    links of the commits again, which stay as long as the pin does. Each step is atomic.
    """

    __slots__ = ("_rows", "_sizes")

    def __init__(self, rows: Sized) -> None:
        """``rows`` is the dict of the newest rows."""
        self._rows = rows
        self._sizes: dict[ref[Pin], int] = {}

    def keep(self, pin: Pin, layers: tuple[Layer, ...], end: Pin) -> None:
        """Replace the layers of ``pin`` by these, which end at the pin ``end``."""
        pin.layers = (layers, end)
        sizes, mine = self._sizes, ref(pin)
        sizes.pop(mine, None)  # so that the newest is the last
        sizes[mine] = sum([len(layer.states) for layer in layers])
        surplus = sum(list(sizes.values())) - len(self._rows) - _MERGED_MIN
        if surplus > 0:
            self._drop(surplus, mine)

    def _drop(self, surplus: int, mine: ref[Pin]) -> None:
        for weak in sorted(self._sizes.copy(), key=lambda weak: weak() is not None):  # first those of dead pins
            if surplus <= 0:
                return
            if weak is not mine:  # a single state may use what it needs
                surplus -= self._sizes.pop(weak, 0)
                pin = weak()
                if pin is not None:
                    pin.traversals = _DROPPED
                    pin.layers = None


def layers_over(pin: Pin, root: Root, table: Any, merged: Merged) -> tuple[Layer, ...]:
    """The layers to apply over the newest rows to read the state of ``pin``. The first has priority.

    Call it *after* reading the newest rows. The part up to the root's pin is merged and cached. It ends at that Pin, so
    that the cache keeps no unpinned commits alive. The undo of a commit that is in progress comes after that Pin.
    """
    layers, end = pin.layers or ((), pin)
    newest = root.pins[table]  # read after ``end``, so never older
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
    """The rows written between two states, as they were at the first and as they are at the second.

    Do not change the dicts: if only one commit lies between the two states, they are its own.
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
    """Shorten the links between neighbouring live pins, and remove the dead ones from the list.

    The writer calls this while it holds the table. The last pin is the one about to be replaced. History is then
    bounded by live pins times changed keys, and not by the number of commits.
    """
    alive = [(weak, pin) for weak in replaced if (pin := weak()) is not None]
    for (_, older), (_, newer) in pairwise(alive):
        _shorten(older.commit, newer.commit)
    return [weak for weak, _ in alive]


def _shorten(start: Commit, end: Commit) -> None:
    """Merge neighbouring links until each is more than twice as large as the next.

    With sizes in geometric order each change costs amortised O(log n), even if one old snapshot of a large table is
    held over millions of commits. The links that go together are chosen first, so that each row is copied only once:
    beside an idle stream, that takes 0.8 of the time of merging link by link. The size of a group is the sum of its
    links, so a row that changed in two of them counts twice until the next call.
    """
    groups: list[tuple[int, list[tuple[Commit, Undo, Redo]]]] = []
    commit = start
    for undo, redo, following in links(start, end):
        size, steps = len(redo), [(commit, undo, redo)]
        while groups and groups[-1][0] <= 2 * size:
            earlier_size, earlier = groups.pop()
            size += earlier_size
            earlier += steps
            steps = earlier
        groups.append((size, steps))
        commit = following
    ends = [*[steps[0][0] for _, steps in groups[1:]], end]
    for (_, steps), following in zip(groups, ends):
        if len(steps) > 1:
            steps[0][0].link = (*_merged(steps), following)


def _merged(steps: list[tuple[Commit, Undo, Redo]]) -> tuple[Undo, Redo]:
    """The undo and redo of several links as one. New dicts."""
    undo: Undo = {}
    redo: Redo = {}
    for _, _, newer in steps:
        redo.update(newer)
    for _, older, _ in reversed(steps):
        undo.update(older)
    return undo, redo
