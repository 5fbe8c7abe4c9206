"""Reading: one rule for every query and every age of snapshot, also while a commit is in progress.

A reader waits for no transaction. It reads the newest structure first, in single atomic steps, and only then checks
whether its commit has a link. Without a link the result is correct. With a link, the rows that have changed since are
removed from the candidates, and the older states of those rows that match are added (``layers_over``).

Atomic steps are ``dict.get``, ``list(set)``, ``list(dict)`` and ``dict.copy``. Never use ``.items()``, a comprehension
or a loop over a shared container: the garbage collector can run Python code, and with it a writer, in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from operator import itemgetter
from typing import Any, Generic, NamedTuple, cast

from .concern import Concern, range_concern
from .errors import InvalidKey
from .history import Commit, Pin, StagedPin, layers_over, links
from .index_store import IndexStore
from .keys import KeyEdge
from .layers import Layer
from .schema import R
from .shape import describe, shape_of
from .states import Key, Row
from .store import TableStore
from .watch import Watch

_REVISION = itemgetter(1)


_TRAVERSALS_MAX = 8


class Entry(NamedTuple, Generic[R]):
    """A row, and the revision of the table at which it was written."""

    row: R
    revision: int


class Source:
    """What a view reads from: the newest state of a table and the layers over it. One for each view."""

    __slots__ = ("pin", "store")

    def __init__(self, store: TableStore, pin: Pin) -> None:
        """The state of ``store`` at ``pin``."""
        self.store = store
        self.pin = pin

    def layers(self) -> tuple[Layer, ...]:
        """The layers over the newest rows, the one with priority first. Call it after reading the newest rows."""
        if self.pin.commit.link is None:
            return ()
        return layers_over(self.pin, self.store.root, self.store.table, self.store.merged)

    @property
    def commit(self) -> Commit:
        """Views check it to learn whether the newest rows are the result: not if it has a link."""
        return self.pin.commit

    def check_open(self) -> None:
        """Raise if nothing may be read any more. Snapshots can be read forever."""

    def not_comparable(self, index: str, error: TypeError) -> InvalidKey:
        """The error for a bound or prefix that has another type than the keys."""
        if isinstance(error, InvalidKey):
            return error
        return InvalidKey(
            f"table {self.store.name!r}, index {index!r}: {error}; give bounds and prefixes of the keys' own type"
        )

    # -- by primary key --------------------------------------------------------------------------------------

    def row(self, key: Key, row: Row | None) -> Row | None:
        """The row under a primary key. ``row`` is the newest one, which the caller has read before."""
        pin = self.pin
        merged = pin.layers
        # Merging the undo costs memory, and pays only after several reads.
        if merged is None and pin.traversals < _TRAVERSALS_MAX:
            pin.traversals += 1
            for undo, _, _ in links(pin.commit, None):
                if key in undo:
                    state = undo[key]
                    return None if state is None or state[2] else state[0]
            return row
        # Up to date if no commit follows the one at which they end. Then `layers`, two calls, would take as long again
        # as the rest of this function.
        up_to_date = merged is not None and merged[1].commit.link is None
        for layer in merged[0] if merged is not None and up_to_date else self.layers():
            states = layer.states
            if key in states:
                state = states[key]
                return None if state is None or state[2] else state[0]
        return row

    def entry(self, key: Key) -> Entry[Any] | None:
        """The row and its revision."""
        row = self.store.rows.get(key)
        revision = self.store.revisions.get(key)
        for layer in self.layers():
            if key in layer.states:
                state = layer.states[key]
                return None if state is None or state[2] else Entry(state[0], state[1])
        return None if row is None or revision is None else Entry(row, revision)

    # -- several rows ----------------------------------------------------------------------------------------

    def resolve(self, keys: list[Key], matching: Callable[[Layer], Iterable[Key]]) -> dict[Key, Row]:
        """The rows of candidates of the newest structure, corrected by the layers; in no order.

        ``matching`` returns the keys of a layer's rows that belong to the result.
        """
        rows = list(map(self.store.rows.get, keys))
        layers = self.layers()
        if not layers:
            return dict(zip(keys, rows))
        found: dict[Key, Row] = {key: row for key, row in zip(keys, rows) if row is not None}
        for layer in layers:
            for key in found.keys() & layer.states.keys():  # at C speed, over the smaller of the two
                del found[key]
        for depth, layer in enumerate(layers):
            for key in matching(layer):
                row = layer.row(key)
                if row is not None and not shadowed(key, layers[:depth]):
                    found[key] = row
        return found

    def all_in_order(self) -> list[Row]:
        """All rows in key order; do not change the list."""
        rows = self.store.row_list.all()
        return rows if not self.layers() else self.ordered()

    def ordered(
        self, low: Any = None, high: Any = None, limit: int | None = None, *, reverse: bool = False
    ) -> list[Row]:
        """The rows with ``low <= primary key < high``, in ascending or descending order, at most ``limit``."""
        if limit is None:
            at_hand = self.store.row_list.between(low, high)
            if at_hand is not None and not self.layers():
                if reverse:
                    at_hand.reverse()
                return at_hand
        wanted = limit
        while True:
            keys = self.store.order.between(low, high, limit=wanted, reverse=reverse)
            rows = list(map(self.store.rows.get, keys))
            if not self.layers():
                return cast("list[Row]", rows)
            # If the limit cut the candidates off, there may be more rows beyond the last one.
            last = keys[-1] if keys and len(keys) == wanted else None
            limits = {"low": low if last is None or not reverse else last, "last": None if reverse else last}
            found = self.resolve(keys, partial(Layer.between, position=0, high=high, **limits))
            in_order = sorted(found, reverse=reverse)[:limit]
            if limit is None or last is None or len(in_order) == limit:
                return [found[key] for key in in_order]
            wanted = 2 * len(keys)

    def with_revisions(self) -> tuple[Iterable[Row], Iterable[int]]:
        """All rows, and the revision of each, in no order. Cost: O(n)."""
        rows = self.store.rows.copy()
        revisions = self.store.revisions.copy()
        layers = self.layers()
        if not layers and list(rows) == list(revisions):  # always, and 4 times as fast as a lookup for each row
            return rows.values(), revisions.values()
        for layer in reversed(layers):
            for key in list(layer.states):
                state = layer.states[key]
                if state is None or state[2]:
                    rows.pop(key, None)
                else:
                    rows[key], revisions[key] = state[0], state[1]
        return rows.values(), map(revisions.__getitem__, rows)  # each row has one, or is in a layer

    def since(self, revision: int) -> list[tuple[Row, int]]:
        """The rows written after a revision, each with its own, in revision order. Cost: O(n), there is no revision
        index.
        """
        found = list(zip(*self.with_revisions()))
        if revision > 0:
            found = [each for each in found if each[1] > revision]
        found.sort(key=_REVISION)
        return found

    # -- by a secondary index --------------------------------------------------------------------------------

    def first_listed(self, index: IndexStore, key: Key, limit: int | None, *, reverse: bool) -> dict[Key, Row]:
        """The first rows under one index key, or the last: at least ``limit`` of them if there are so many."""
        if limit is not None:
            keys = index.primary_keys(key, limit, reverse=reverse)
            rows = map(self.store.rows.get, keys)
            found = dict(zip(keys, rows))
            if not self.layers():
                return found
        return self.listed(index, key)

    def listed(self, index: IndexStore, key: Key) -> dict[Key, Row]:
        """The rows under one index key, in primary key order."""
        keys = index.primary_keys(key)
        return self.corrected(index, key, keys, map(self.store.rows.get, keys))

    def unchanged(self, index: IndexStore, key: Key, keys: Iterable[Key]) -> bool:
        """Whether the newest rows under an index key are those of this state. The caller has read both before.

        Half of the time of `corrected`, if it is so.
        """
        for layer in self.layers():
            if layer.index(index.position).get(key) or not layer.states.keys().isdisjoint(keys):
                return False
        return True

    def corrected(self, index: IndexStore, key: Key, keys: Iterable[Key], rows: Iterable[Row]) -> dict[Key, Row]:
        """The rows under one index key, in primary key order.

        ``keys`` and ``rows`` are the newest ones, which the caller has read before. Each row that has changed since is
        put right in its place, so that nothing is sorted unless a row left the key: 40 rows, of which 10 have changed,
        take half the time of `resolve`, which collects the changed rows at the end.
        """
        found: dict[Key, Row] = dict(zip(keys, rows))
        layers = self.layers()
        in_order = True
        for depth, layer in enumerate(layers):
            states, older = layer.states, layers[:depth]
            for primary in found.keys() & states.keys():  # at C speed, over the smaller of the two
                if older and shadowed(primary, older):
                    continue
                if layer.has(primary, index.position, key):
                    found[primary] = layer.row(primary)
                else:
                    del found[primary]
            for primary in layer.index(index.position).get(key, ()):
                if primary in found or not layer.has(primary, index.position, key) or shadowed(primary, older):
                    continue
                found[primary] = layer.row(primary)
                in_order = False
        return found if in_order else {primary: found[primary] for primary in sorted(found)}

    def index_keys(
        self, index: IndexStore, low: Any, high: Any, limit: int | None = None, *, reverse: bool = False
    ) -> list[Key]:
        """The index keys of a range that may have rows, in ascending or descending order. Some may have none.

        On the newest state every key has a row, and there are at most ``limit``.
        """
        keys = index.order.between(low, high, limit=limit, reverse=reverse)
        layers = self.layers()
        if not layers:
            return keys
        if limit is not None:
            keys = index.order.between(low, high)
        more = {key for layer in layers for key in layer.between(index.position, low, high)}
        return sorted(more.union(keys), reverse=reverse)

    def watch_range(self, position: int, edges: tuple[Any, Any]) -> Watch:
        """A watch on a range of an index. Raises InvalidKey for a bound that cannot be compared with the keys."""
        shape = self.store.index_shapes[position - 1].shape if position else self.store.key_shape.shape
        for edge in edges:
            bound = edge.key if isinstance(edge, KeyEdge) else edge
            if bound is not None and shape_of(bound) != shape and shape is not None:
                raise InvalidKey(
                    f"table {self.store.name!r}: the bound {bound!r} is {describe(shape_of(bound))}, "
                    f"but the keys are {describe(shape)}"
                )
        return self.watch(range_concern(position, *edges))

    def watch(self, concern: Concern) -> Watch:
        """A watch on what this view shows. It is registered first, and then tested against the commits since.

        Most states are the newest, and have no link to test. No change is missed then either:

            this reader                     a commit
            registers the watch             sets the link
            finds no link, and returns      changes the rows, swaps the root
                                            looks in the registry, and trips the watch
        """
        self.check_open()
        store, pin = self.store, self.pin
        commit = pin.base.commit if isinstance(pin, StagedPin) else pin.commit  # staged rows are not part of it
        watch = store.registry.add(concern, commit.sequence)
        if commit.link is None:
            return watch
        head = store.pin  # keeps the pin alive: compaction must not skip its commit, or the walk would pass it
        for undo, redo, following in links(commit, head.commit):
            if concern.matches_change(undo, redo) or (
                concern.includes_initializers and commit.pending != following.pending
            ):
                watch.trip()
                break
            commit = following
        return watch


def shadowed(key: Key, layers: Iterable[Layer]) -> bool:
    """Whether one of these layers has the key."""
    return any(key in layer.states for layer in layers)


def check_limit(limit: int | None) -> None:
    if limit is not None and limit < 0:
        raise ValueError(f"a limit must be 0 or more, or None for no limit, not {limit}")
    if limit is not None and not isinstance(limit, int):
        raise TypeError(f"a limit must be a whole number, not {limit!r}")
