"""The newest state of one secondary index: index key -> primary key, or a Bucket of them from the second on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, TypeAlias

from .bucket import Bucket, bucket_of
from .networks import Steps, length_of, nearest, steps_of
from .order import Order
from .schema import AnyIndex, Keys, PrefixIndex, TextPrefixIndex
from .shape import KeyShape
from .states import Key, Redo, Row, State

_NO_STEPS: tuple[int, Steps] = (0, ())
Moves: TypeAlias = dict[Key, State]
"""Rows that leave index keys, or that enter them, by primary key: those that the state names."""


class IndexStore:
    """One secondary index, newest state."""

    __slots__ = (
        "as_tuple",
        "entries",
        "index",
        "keys_of",
        "length_of",
        "lengths",
        "order",
        "place",
        "position",
        "shape",
        "steps",
        "unique",
    )

    def __init__(self, index: AnyIndex[Any, Any]) -> None:
        """An empty index."""
        self.index = index
        self.keys_of, self.as_tuple = index.extractor()
        self.position = index.position
        self.place = index.position - 1
        self.unique = index.unique
        self.entries: dict[Key, Any] = {}
        self.order = Order(self.entries)
        self.shape = KeyShape(index.position)
        # The prefix lengths ever present, of networks at most 129. Only for indexes of prefixes.
        self.lengths: dict[int, None] | None = {} if isinstance(index, (PrefixIndex, TextPrefixIndex)) else None
        self.length_of: Callable[[Any], int] = len if isinstance(index, TextPrefixIndex) else length_of
        self.steps: dict[int, tuple[int, Steps]] = {}  # by size of key: for how many lengths, and how to try them

    def nearest(self, packed: bytes) -> Any:
        """What stands under the longest network that contains this one, or None. Only for prefix indexes."""
        entry = self.entries.get(packed)
        if entry is not None:
            return entry
        assert self.lengths is not None
        size = len(packed)
        count, steps = self.steps.get(size, _NO_STEPS)
        if count != len(self.lengths):
            present = tuple(self.lengths)  # they only become more
            steps = steps_of(present, size)
            self.steps[size] = (len(present), steps)
        return nearest(packed, steps, self.entries)

    def primary_keys(self, key: Key, limit: int | None = None, *, reverse: bool = False) -> list[Key]:
        """The primary keys under an index key, in order or from the end, at most ``limit``; do not change the list."""
        entry = self.entries.get(key)
        if type(entry) is Bucket:
            return entry.some(limit, reverse=reverse)
        return [] if entry is None else [entry]

    def names(self, key: Key, primary: Key) -> bool:
        """Whether the entry of an index key names this row."""
        entry = self.entries.get(key)
        if type(entry) is Bucket:
            return primary in entry
        return entry is not None and bool(entry == primary)

    def known_column_of(self, rows: list[Row], shape: KeyShape) -> list[Keys] | None:
        """The keys of each row, or None where not all have the shape. Raises what the index function does."""
        column = list(map(self.keys_of, rows))
        if set(map(type, column)) != {tuple}:
            column = [keys if type(keys) is tuple else self.as_tuple(keys) for keys in column]
        return column if shape.all_fit(list(chain.from_iterable(column))) else None

    def leave(self, moves: Moves) -> None:
        """Take rows out from under keys. Idempotent.

        A row leaves a key only where it still stands there: with a unique key another may have taken its place.
        """
        entries, place = self.entries, self.place
        for primary, state in moves.items():
            for key in state[3][place]:
                entry = entries.get(key)
                if type(entry) is Bucket:
                    entry.take(primary)
                    if not entry:
                        entries.pop(key, None)
                elif entry is not None and entry == primary:
                    entries.pop(key, None)

    def enter(self, moves: Moves) -> None:
        """Put rows under keys, after all that leave have left. Idempotent."""
        entries, place = self.entries, self.place
        if self.unique:
            for primary, state in moves.items():
                for key in state[3][place]:
                    entries[key] = primary
        else:
            for primary, state in moves.items():
                for key in state[3][place]:
                    entry = entries.setdefault(key, primary)
                    if type(entry) is Bucket:
                        entry.add(primary)
                        if entry.order is not None:
                            entry.order.note([primary], entry)
                    elif entry is not primary and entry != primary:
                        entries[key] = bucket_of((entry, primary))
        if self.lengths is not None:
            for state in moves.values():
                for key in state[3][place]:
                    self.lengths[self.length_of(key)] = None

    def note(self, leave: Moves, enter: Moves) -> None:
        """Remember for the order which keys may have come or gone."""
        place = self.place
        moved = (*leave.values(), *enter.values())
        self.order.note([key for state in moved for key in state[3][place]], self.entries)


def difference(undo: Moves, redo: Redo) -> tuple[Moves, Moves]:
    """What rows leave which keys of the indexes, and what rows enter which; a row whose keys stay does neither.

    ``undo`` has the rows that were there.
    """
    leave: Moves = {}
    enter: Moves = {}
    for key, state in redo.items():
        before = undo.get(key)
        if before is None:
            if not state[2]:
                enter[key] = state
        elif state[2]:
            leave[key] = before
        elif before[3] != state[3]:
            leave[key] = (*before[:3], _without(before[3], state[3]))
            enter[key] = (*state[:3], _without(state[3], before[3]))
    return leave, enter


def _without(keys: tuple[Keys, ...], others: tuple[Keys, ...]) -> tuple[Keys, ...]:
    """The keys, of each index, that are not among the others."""
    return tuple(
        [() if own == other else tuple([key for key in own if key not in other]) for own, other in zip(keys, others)]
    )
