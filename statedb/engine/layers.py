"""Layers: row states that are applied over the newest rows. Old snapshots are read through them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any

from .states import KEYS, Key, Row, State


class Layer:
    """Row states that are applied over the newest rows: merged undo, or the staged rows of a transaction.

    ``states`` has the row, or its absence, for each of its keys. Indexes by secondary key are built on first use and
    then cached. In a layer that grows they are updated from ``log``.
    """

    __slots__ = ("_done", "_indexes", "_log", "_ordered", "states")

    def __init__(self, states: dict[Key, State | None], log: list[Key] | None = None) -> None:
        """``log`` has the key of every row that was put into ``states``, for a layer that grows.

        Such a layer is for one thread only.
        """
        self.states = states
        self._log = log
        self._indexes: dict[int, dict[Key, list[Key]]] = {}
        self._done: dict[int, int] = {}
        self._ordered: dict[int, list[Key]] = {}

    def row(self, key: Key) -> Row | None:
        """The row of a key of this layer. None if the layer has it as absent."""
        state = self.states[key]
        return None if state is None or state[2] else state[0]

    def index(self, position: int) -> dict[Key, list[Key]]:
        """Secondary key -> primary keys, for the index at this position. Lists may have duplicates or outdated keys."""
        if self._log is None:
            built = self._indexes.get(position)
            return self._indexes.setdefault(position, self._built(position, self.states)) if built is None else built
        index = self._indexes.setdefault(position, {})
        self._add(index, position, self._log[self._done.get(position, 0) :])
        self._done[position] = len(self._log)
        return index

    def between(self, position: int, low: Any, high: Any, last: Any = None) -> Iterable[Key]:
        """The keys of the layer with ``low <= key < high``: primary keys at position 0, otherwise keys of that index.

        None means no bound. Keys greater than ``last`` are left out. The keys are in no order, and some may have no
        row. Cost: O(log n + result) once sorted, and O(n) in a layer that grows.
        """
        keys: Iterable[Key] = self.index(position) if position else self.states
        if self._log is not None:
            keys = [key for key in list(keys) if (low is None or not key < low) and (high is None or key < high)]
            return keys if last is None else [key for key in keys if not last < key]
        ordered = self._ordered.get(position)
        if ordered is None:
            ordered = self._ordered.setdefault(position, sorted(keys))
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
                for secondary in state[position + KEYS]:
                    index.setdefault(secondary, []).append(key)

    def has(self, key: Key, position: int, secondary: Key) -> bool:
        """Whether the row of ``key`` exists, and is under ``secondary`` in the index."""
        state = self.states[key]
        return state is not None and not state[2] and secondary in state[position + KEYS]


def stacked(layers: tuple[Layer, ...], newest: Layer) -> tuple[Layer, ...]:
    """The layers with one more on top. Each is kept at least twice as large as the one above.

    Small layers are merged for that. As in a log-structured merge tree, reading an old snapshot after every commit
    costs O(log n) amortised per change. A single merged dict would be copied every time.
    """
    stack = list(layers)
    while stack and len(stack[-1].states) <= 2 * len(newest.states):
        newest = Layer({**newest.states, **stack.pop().states})
    return (*stack, newest)
