"""The keys of an index in order, brought up to date lazily. Knows keys, and the dict that says which are there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sized
from functools import partial
from threading import get_ident
from typing import Any

from sortedcontainers import SortedList

from .turn import Token, Turn

_REBUILD_SHARE = 8
_KEPT_MIN = 4096


class Order:
    """A sorted list of the keys of one dict or set, which writers change and readers sort.

    A writer only appends the keys it added or removed (``note``) after it changed the dict; it never waits. A reader
    drains them, one at a time (`Turn`), and membership in the dict decides whether a key came or went, so that
    repeated and outdated notes do no harm. Until somebody reads in order nothing is kept at all.

    Sorting calls the keys' own comparisons, and the collector may run meanwhile: a finalizer or a signal handler of
    this same thread may come back here. It gets no turn, and sorts for itself.
    """

    __slots__ = ("_copied", "_keys", "_noted_keys", "_sorted", "_turn", "noted")

    def __init__(self, keys: Any, copied: Callable[[], list[Any]] | None = None) -> None:
        """``keys`` is the dict or set whose keys are ordered; ``copied`` copies them in one step, by default `list`."""
        self._keys = keys
        self._copied: Callable[[], list[Any]] = partial(list, keys) if copied is None else copied
        self._turn = Turn()
        self.noted: deque[list[Any]] | None = None
        """What is still to be sorted in; None where nobody has read in order, and writers need note nothing."""
        self._noted_keys = 0
        self._sorted: Any = None

    def note(self, keys: list[Any], total: Sized) -> None:
        """Remember keys that may have come or gone, after the dict was changed.

        More noted keys than rows, and the order is forgotten instead: notes are bounded by the size of the table.

        Cost: O(1). The reader that holds the forgotten notes still drains them: its answer stays right.
        """
        noted = self.noted
        if noted is None:
            return
        self._noted_keys += len(keys)  # a reader may set it to 0 in between: it is a bound, and no exact number
        if self._noted_keys > len(total) + _KEPT_MIN:
            self.noted = None
            self._sorted = None
        else:
            noted.append(keys)

    def between(
        self, low: Any = None, high: Any = None, *, limit: int | None = None, reverse: bool = False
    ) -> list[Any]:
        """A copy of the keys in ``low <= key < high``, ascending, or descending; None leaves that side open.

        Cost: O(log n + result) once the order is up to date.
        """
        mine: Token = [get_ident()]
        try:
            if self._turn.take(mine):
                return _slice(self._fresh(), low, high, limit, reverse)
        finally:
            self._turn.give_back(mine)
        return _slice(SortedList(self._copied()), low, high, limit, reverse)

    def at(self, position: int) -> Any:
        """The key that stands there in order, from 0. Raises IndexError beyond the last. Cost: O(log n)."""
        mine: Token = [get_ident()]
        try:
            if self._turn.take(mine):
                return self._fresh()[position]
        finally:
            self._turn.give_back(mine)
        return SortedList(self._copied())[position]

    def _fresh(self) -> Any:
        """The sorted list, up to date with every note that was there at this moment."""
        noted = self.noted
        if noted is None:
            self._sorted = None
            self._noted_keys = 0
            noted = self.noted = deque()  # first collect notes, then copy: nothing falls between
        ordered, self._sorted = self._sorted, None  # half updated it is corrupt: where this raises, it is gone
        if ordered is None:
            noted.clear()
            ordered = SortedList(self._copied())
        ordered = self._drained(ordered, noted)
        if self.noted is noted:  # else a writer has forgotten it meanwhile
            self._sorted = ordered
        return ordered

    def _drained(self, ordered: Any, noted: deque[list[Any]]) -> Any:
        changed: dict[Any, None] = {}
        while noted:
            changed.update(dict.fromkeys(noted.popleft()))
        self._noted_keys = 0
        if not changed:
            return ordered
        if len(changed) * _REBUILD_SHARE > len(ordered):
            return SortedList(self._copied())
        keys = self._keys
        for key in changed:
            if key in keys:
                if key not in ordered:
                    ordered.add(key)
            elif key in ordered:
                ordered.remove(key)
        return ordered

    def after_fork(self) -> None:
        """In a child process: a thread that is not here may have been in the midst of this.

        It has taken the sorted list away then, so that the next reader sorts anew.
        """
        self._turn = Turn()

    def check(self) -> None:
        """Raise AssertionError where the order, if there is one, is not that of the dict. For tests; no writer."""
        mine: Token = [get_ident()]
        try:
            if self._turn.take(mine) and self.noted is not None and self._sorted is not None:
                ordered = self._fresh()
                ordered._check()
                assert list(ordered) == sorted(self._keys), f"order {list(ordered)!r} is not that of the keys"
        finally:
            self._turn.give_back(mine)


def _slice(ordered: Any, low: Any, high: Any, limit: int | None, reverse: bool) -> list[Any]:
    start = 0 if low is None else ordered.bisect_left(low)
    stop = len(ordered) if high is None else ordered.bisect_left(high)
    if limit is not None and stop - start > limit:
        start, stop = (stop - limit, stop) if reverse else (start, start + limit)
    found = list(ordered) if start == 0 and stop == len(ordered) else list(ordered[start:stop])
    if reverse:
        found.reverse()
    return found
