"""The rows of a table in the order of their keys, as one list that readers bring up to date."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Mapping
from threading import get_ident
from typing import Any

from .turn import Token, Turn

_REBUILD_SHARE = 8
_FEW = 256


def patched(ordered: list[Any], rows: Mapping[Any, Any], key_of: Callable[[Any], Any]) -> list[Any]:
    """A copy of a list of rows in key order, with these rows in their places; None for a key takes its row out.

    Cost: a copy at C speed, and O(log n) for each of the keys.
    """
    ordered = ordered.copy()
    added: list[Any] = []
    gone: list[int] = []
    for key, row in rows.items():
        place = bisect_left(ordered, key, key=key_of)
        there = place < len(ordered) and key_of(ordered[place]) == key
        if row is None:
            if there:
                gone.append(place)
        elif there:
            ordered[place] = row
        else:
            added.append(row)
    if len(gone) > _FEW:
        left = set(gone)
        ordered = [row for place, row in enumerate(ordered) if place not in left]
    else:
        for place in sorted(gone, reverse=True):
            del ordered[place]
    if len(added) > _FEW:
        ordered += added
        ordered.sort(key=key_of)  # nearly sorted already
    else:
        for row in added:
            insort(ordered, row, key=key_of)
    return ordered


class RowList:
    """The newest rows in key order. The same bargain as `Order`: writers only name the keys that they touched.

    A writer calls ``touch`` after it changed the dict; a reader copies the list and patches the copy. Lists that were
    handed out are never changed. Until somebody reads all rows in order, or where much changed since, there is none.
    """

    __slots__ = ("_key_of", "_list", "_rows", "_touched_keys", "_turn", "touched")

    def __init__(self, rows: dict[Any, Any], key_of: Callable[[Any], Any]) -> None:
        """``rows`` is the dict of rows."""
        self._rows = rows
        self._key_of = key_of
        self._turn = Turn()
        self._list: list[Any] | None = None
        self.touched: deque[list[Any]] | None = None
        """Keys of rows that came, went or were replaced since; None where there is no list."""
        self._touched_keys = 0

    def touch(self, keys: list[Any]) -> None:
        """Remember keys that were written. Where they are many, the list is forgotten instead. Cost: O(1)."""
        touched = self.touched
        if touched is None:
            return
        self._touched_keys += len(keys)
        if self._touched_keys * _REBUILD_SHARE > len(self._rows):
            self.touched = None
            self._list = None
        else:
            touched.append(keys)

    def all(self) -> list[Any]:
        """All rows in order; do not change the list. Like every answer it may hold what a later commit wrote.

        One thread at a time brings the list up to date; a finalizer or signal handler that comes here while keys are
        compared gets no turn, and sorts for itself.
        """
        touched = self.touched
        if touched is not None and not touched:
            ordered = self._list  # in this order, without a turn: see `between`
            if ordered is not None:
                return ordered
        mine: Token = [get_ident()]
        try:
            if self._turn.take(mine):
                return self._fresh()
        finally:
            self._turn.give_back(mine)
        return sorted(self._rows.copy().values(), key=self._key_of)

    def _fresh(self) -> list[Any]:
        ordered, touched = self._list, self.touched
        if ordered is None or touched is None:
            self._touched_keys = 0
            self._list = None
            touched = self.touched = deque()  # first collect, then copy: no key falls between
            ordered = sorted(self._rows.copy().values(), key=self._key_of)
        elif touched:
            self._list = None  # where the rest raises, the keys taken from ``touched`` are lost, and so is the list
            changed: dict[Any, None] = {}
            while touched:
                changed.update(dict.fromkeys(touched.popleft()))
            self._touched_keys = 0
            ordered = patched(ordered, dict(zip(changed, map(self._rows.get, changed))), self._key_of)
        if self.touched is touched:  # else a writer has forgotten it meanwhile
            self._list = ordered
        return ordered

    def between(self, low: Any, high: Any) -> list[Any] | None:
        """The rows with ``low <= key < high``, or None where the list is not up to date. Cost: O(log n + result).

        Takes no lock: lists are never changed once they are here. What counts is the order of the two reads:

            this reader                     a reader that brings the list up to date
            sees that nothing is touched    takes the list away
            reads the list                  takes the touched keys
                                            puts the new list there

        So keys that are not touched any more are in the list that is read afterwards. The other way round, a list from
        before and touched keys from after it would pass. A commit that comes in between has a link before it touches.
        """
        touched = self.touched
        if touched is None or touched:
            return None
        ordered = self._list
        if ordered is None:
            return None
        start = 0 if low is None else bisect_left(ordered, low, key=self._key_of)
        stop = len(ordered) if high is None else bisect_left(ordered, high, key=self._key_of)
        return ordered[start:stop]

    def after_fork(self) -> None:
        """In a child process: a thread that is not here may have been in the midst of this.

        It has taken the list away then, so that the next reader sorts anew.
        """
        self._turn = Turn()

    def check(self) -> None:
        """Raise AssertionError where the list, if there is one, is not that of the rows. For tests; no writer."""
        if self._list is not None and self.touched is not None:
            rows = self._rows.copy()
            assert self.all() == [rows[key] for key in sorted(rows)], "the list of rows in order is not theirs"
