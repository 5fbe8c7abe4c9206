"""The rows of a table in key order, as one list that readers update."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from .turn import Turn

_REBUILD_SHARE = 8
_FEW = 256


def patched(ordered: list[Any], rows: Mapping[Any, Any], key_of: Callable[[Any], Any]) -> list[Any]:
    """A copy of a list of rows in key order, with these rows put in. A key with None has its row removed.

    Cost: a copy at C speed, and O(log n) for each key.
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
    """The newest rows in key order. As in `Order`, writers only record the keys that they changed.

    A writer calls ``touch`` after it has changed the dict. A reader copies the list and updates the copy. Lists that
    were returned are never changed. There is no list until somebody reads all rows in order, or after many changes.
    """

    __slots__ = ("_key_of", "_list", "_rows", "_touched_keys", "_turn", "touched")

    def __init__(self, rows: dict[Any, Any], key_of: Callable[[Any], Any]) -> None:
        """``rows`` is the dict of rows."""
        self._rows = rows
        self._key_of = key_of
        self._turn = Turn()
        self._list: list[Any] | None = None
        self.touched: deque[list[Any]] | None = None
        """Keys of rows that were added, removed or replaced since. None if there is no list."""
        self._touched_keys = 0

    def touch(self, keys: list[Any]) -> None:
        """Record keys that were written. If there are many, the list is dropped instead. Cost: O(1)."""
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
        """All rows in key order; do not change the list.

        As in every read of the newest rows, it may include a later commit. One reader at a time updates the list. A
        finalizer or signal handler that calls this while keys are compared does not get the turn, and sorts a copy.
        """
        touched = self.touched
        if touched is not None and not touched:
            ordered = self._list  # in this order, and without the turn: see `between`
            if ordered is not None:
                return ordered
        found = self._turn.run(self._fresh)
        return sorted(self._rows.copy().values(), key=self._key_of) if found is None else found

    def _fresh(self) -> list[Any]:
        ordered, touched = self._list, self.touched
        if ordered is None or touched is None:
            self._touched_keys = 0
            self._list = None
            touched = self.touched = deque()  # first record changes, then copy, so that no key is missed
            ordered = sorted(self._rows.copy().values(), key=self._key_of)
        elif touched:
            self._list = None  # if the rest raises, keys taken from ``touched`` are lost, so the list must be too
            changed: dict[Any, None] = {}
            while touched:
                changed.update(dict.fromkeys(touched.popleft()))
            self._touched_keys = 0
            ordered = patched(ordered, dict(zip(changed, map(self._rows.get, changed))), self._key_of)
        if self.touched is touched:  # otherwise a writer has dropped it meanwhile
            self._list = ordered
        return ordered

    def between(self, low: Any, high: Any) -> list[Any] | None:
        """The rows with ``low <= key < high``, or None if the list is not up to date. Cost: O(log n + result).

        Takes no lock: a published list is never changed. The order of the two reads matters:

            this reader                     a reader that updates the list
            sees that nothing is touched    removes the list
            reads the list                  takes the touched keys
                                            publishes the new list

        So keys that are no longer in ``touched`` are in the list that is read afterwards. In the other order, this
        could combine an old list with a ``touched`` that is already empty. A commit that comes in between has a link
        before it touches keys.
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
        """In a child process: a thread of the parent that was in the middle of a change does not continue.

        It has removed the list, so the next reader sorts all rows.
        """
        self._turn.after_fork()

    def check(self) -> None:
        """Raise AssertionError if the list does not match the rows. For tests, while nobody writes."""
        if self._list is not None and self.touched is not None:
            rows = self._rows.copy()
            assert self.all() == [rows[key] for key in sorted(rows)], "the list of rows in order is wrong"
