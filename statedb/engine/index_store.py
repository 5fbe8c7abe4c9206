"""The newest state of one secondary index: index key -> primary key, or a Bucket if several rows have the key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from .bucket import Bucket, bucket_of
from .networks import Steps, length_of, nearest, steps_of
from .order import Order
from .schema import AnyIndex, Keys, PrefixIndex, TextPrefixIndex
from .shape import KeyShape
from .states import FIRST_KEYS, KEYS, Key, Redo, Row, State

_NO_STEPS: tuple[int, Steps] = (0, ())
Moves: TypeAlias = dict[Key, State]
"""Rows, by primary key, that leave or enter the index keys in their state."""


class IndexStore:
    """The newest state of one secondary index."""

    __slots__ = (
        "as_tuple",
        "entries",
        "given_of",
        "index",
        "keys_of",
        "length_of",
        "lengths",
        "order",
        "packed",
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
        self.packed: Callable[[Any], Keys] | None = None
        """Makes keys of what the function of a prefix index gave."""
        self.given_of: Callable[[Row], Any] = self.keys_of
        """What the function gave: keys, but for a prefix index networks."""
        if isinstance(index, PrefixIndex):
            self.packed, self.given_of = index.packed, index.networks
        self.position = index.position
        self.place = index.position - 1
        self.unique = index.unique
        self.entries: dict[Key, Any] = {}
        self.order = Order(self.entries)
        self.shape = KeyShape(index.position)
        # All prefix lengths that ever occurred (at most 129 for networks). Only for prefix indexes.
        self.lengths: dict[int, None] | None = {} if isinstance(index, (PrefixIndex, TextPrefixIndex)) else None
        self.length_of: Callable[[Any], int] = len if isinstance(index, TextPrefixIndex) else length_of
        self.steps: dict[int, tuple[int, Steps]] = {}  # by size of key: the number of lengths, and the lookups to try

    def nearest(self, packed: bytes) -> Any:
        """The entry of the longest network that contains this one, or None. Only for prefix indexes."""
        entry = self.entries.get(packed)
        if entry is not None:
            return entry
        assert self.lengths is not None
        size = len(packed)
        count, steps = self.steps.get(size, _NO_STEPS)
        if count != len(self.lengths):
            present = list(self.lengths)  # added and never removed; ``tuple`` is no atomic copy without the GIL
            steps = steps_of(present, size)
            self.steps[size] = (len(present), steps)
        return nearest(packed, steps, self.entries)

    def primary_keys(self, key: Key, limit: int | None = None, *, reverse: bool = False) -> list[Key]:
        """The primary keys under an index key, at most ``limit``, in ascending or descending order. Do not change the
        list.
        """
        entry = self.entries.get(key)
        if type(entry) is Bucket:
            return entry.first_keys(limit, reverse=reverse)
        return [] if entry is None else [entry]

    def has(self, key: Key, primary: Key) -> bool:
        """Whether this row is under an index key."""
        entry = self.entries.get(key)
        if type(entry) is Bucket:
            return primary in entry
        return entry is not None and bool(entry == primary)

    def known_column_of(self, rows: list[Row], shape: KeyShape) -> list[Keys] | None:
        """The keys of each row, or None if not all have the given type. Raises what the index function raises."""
        column = self.column_of(rows)
        return column if shape.all_fit_in(column) else None

    def column_of(self, rows: list[Row]) -> list[Keys]:
        """The keys of each row. Raises what the index function raises."""
        return self._column(list(map(self.given_of, rows)))

    def columns_of(self, rows: list[Row], olds: list[Row]) -> tuple[list[Keys], list[Keys]]:
        """The keys of rows, and of those that they replace; the same list twice if no key changes.

        Networks are packed only once then: 1.1 us a row in place of 2.0. Raises what the index function raises.
        """
        given, before = list(map(self.given_of, rows)), list(map(self.given_of, olds))
        old_column = self._column(before)
        if given == before:
            return old_column, old_column
        column = self._column(given)
        return (old_column if column == old_column else column), old_column

    def _column(self, given: list[Any]) -> list[Keys]:
        """The keys of each row from what the index function gave for it."""
        if self.packed is not None:
            return list(map(self.packed, given))
        if set(map(type, given)) != {tuple}:
            return [keys if type(keys) is tuple else self.as_tuple(keys) for keys in given]
        return given

    def all_stand(self, column: list[Keys], old_column: list[Keys], primaries: list[Key]) -> bool:
        """Whether each row that is to leave a key is there. It is, if the index function is pure."""
        for keys, old, primary in zip(column, old_column, primaries):
            if keys != old and False in [self.has(key, primary) for key in old]:
                return False
        return True

    def leave(self, moves: Moves) -> None:
        """Remove rows from index keys. Idempotent.

        A row is removed from a key only if it is still there: with a unique index another row may have replaced it.
        """
        entries, at = self.entries, self.position + KEYS
        for primary, state in moves.items():
            for key in state[at]:
                entry = entries.get(key)
                if type(entry) is Bucket:
                    entry.discard_key(primary)
                    if not entry:
                        entries.pop(key, None)
                elif entry is not None and entry == primary:
                    entries.pop(key, None)

    def enter(self, moves: Moves) -> None:
        """Add rows to index keys, after all removals. Idempotent."""
        entries, at = self.entries, self.position + KEYS
        if self.unique:
            for primary, state in moves.items():
                for key in state[at]:
                    entries[key] = primary
        else:
            for primary, state in moves.items():
                for key in state[at]:
                    entry = entries.setdefault(key, primary)
                    if type(entry) is Bucket:
                        entry.add(primary)
                        if entry.order is not None:
                            entry.order.touch([primary], entry)
                    elif entry is not primary and entry != primary:
                        entries[key] = bucket_of((entry, primary))
        if self.lengths is not None:
            for state in moves.values():
                for key in state[at]:
                    self.lengths[self.length_of(key)] = None

    def touch(self, leave: Moves, enter: Moves) -> None:
        """Record for the order which keys may have been added or removed."""
        at = self.position + KEYS
        moved = (*leave.values(), *enter.values())
        self.order.touch([key for state in moved for key in state[at]], self.entries)


def difference(undo: Moves, redo: Redo) -> tuple[Moves, Moves]:
    """Which rows leave which index keys, and which rows enter which. A row whose keys stay the same does neither.

    ``undo`` has the rows that existed before.
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
        elif (olds := before[FIRST_KEYS:]) != (news := state[FIRST_KEYS:]):
            left, entered = _exchanged(olds, news)
            leave[key] = (before[0], before[1], False, *left)
            enter[key] = (state[0], state[1], False, *entered)
    return leave, enter


def _exchanged(olds: tuple[Keys, ...], news: tuple[Keys, ...]) -> tuple[list[Keys], list[Keys]]:
    """The keys that a row leaves, and those that it enters, in each index."""
    left: list[Keys] = []
    entered: list[Keys] = []
    for old, new in zip(olds, news):
        if old is new or old == new:
            left.append(())
            entered.append(())
        elif len(old) == 1 and len(new) == 1:  # most: 0.8 us for a row of four indexes, 2.4 us by the general form
            left.append(old)
            entered.append(new)
        else:
            left.append(tuple([key for key in old if key not in new]))
            entered.append(tuple([key for key in new if key not in old]))
    return left, entered
