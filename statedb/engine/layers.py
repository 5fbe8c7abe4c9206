"""Layers: sets of row states that lie over the newest rows. An old snapshot is read through them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any

from .states import Key, Row, State


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
            built = self._indexes.get(position)
            return self._indexes.setdefault(position, self._built(position, self.states)) if built is None else built
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
                for secondary in state[3][position - 1]:
                    index.setdefault(secondary, []).append(key)

    def has(self, key: Key, position: int, secondary: Key) -> bool:
        """Whether the row under ``key`` is there, and stands under ``secondary`` in the index."""
        state = self.states[key]
        return state is not None and not state[2] and secondary in state[3][position - 1]


def stacked(layers: tuple[Layer, ...], newest: Layer) -> tuple[Layer, ...]:
    """The layers with one more on top, small ones merged, so that their sizes at least double downwards.

    Like a log-structured merge tree: reading an old snapshot once after every commit costs O(log n) amortised for
    each change, where one merged dict would be copied every time.
    """
    stack = list(layers)
    while stack and len(stack[-1].states) <= 2 * len(newest.states):
        newest = Layer({**newest.states, **stack.pop().states})
    return (*stack, newest)
