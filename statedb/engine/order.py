"""The keys of an index in order, brought up to date lazily. Knows keys, and the dict that says which are there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sized
from threading import Lock
from typing import Any

from sortedcontainers import SortedList

_REBUILD_SHARE = 8
_KEPT_MIN = 4096


class Order:
    """A sorted list of the keys of one dict, which writers change and readers sort.

    A writer only appends the keys it added or removed (``note``) after it changed the dict; it never waits. A reader
    drains them under the order's own lock, and membership in the dict decides whether a key came or went, so that
    repeated and outdated notes do no harm. Until somebody reads in order nothing is kept at all.
    """

    __slots__ = ("_keys", "_lock", "_sorted", "noted")

    def __init__(self, keys: Any) -> None:
        """``keys`` is the dict whose keys are ordered."""
        self._keys = keys
        self._lock = Lock()
        self.noted: deque[list[Any]] | None = None
        """What is still to be sorted in; None where nobody has read in order, and writers need note nothing."""
        self._sorted: Any = None

    def note(self, keys: list[Any], total: Sized) -> None:
        """Remember keys that may have come or gone, after the dict was changed.

        More notes than rows, and the order is forgotten instead.

        Cost: O(1). The reader that holds the forgotten notes still drains them: its answer stays right.
        """
        noted = self.noted
        if noted is None:
            return
        if len(noted) > len(total) + _KEPT_MIN:
            self.noted = None
        else:
            noted.append(keys)

    def between(self, low: Any = None, high: Any = None, *, limit: int | None = None) -> list[Any]:
        """A copy of the keys in ``low <= key < high``, ascending; None leaves that side open.

        Cost: O(log n + result) once the order is up to date.
        """
        with self._lock:
            ordered = self._fresh()
            start = 0 if low is None else ordered.bisect_left(low)
            stop = len(ordered) if high is None else ordered.bisect_left(high)
            if limit is not None:
                stop = min(stop, start + limit)
            if start == 0 and stop == len(ordered):
                return list(ordered)
            return list(ordered[start:stop])

    def at(self, position: int) -> Any:
        """The key that stands there in order, from 0. Raises IndexError beyond the last. Cost: O(log n)."""
        with self._lock:
            return self._fresh()[position]

    def _fresh(self) -> Any:
        """The sorted list, up to date with every note that was there at this moment."""
        noted = self.noted
        if noted is None:
            self._sorted = None
            noted = self.noted = deque()  # first collect notes, then copy: nothing falls between
        try:
            if self._sorted is None:
                noted.clear()
                self._sorted = SortedList(list(self._keys))
            self._drain(noted)
        except BaseException:
            self._sorted = None  # a half-updated sorted list is corrupt: the next reader builds it afresh
            raise
        return self._sorted

    def _drain(self, noted: deque[list[Any]]) -> None:
        changed: dict[Any, None] = {}
        while noted:
            changed.update(dict.fromkeys(noted.popleft()))
        if not changed:
            return
        if len(changed) * _REBUILD_SHARE > len(self._sorted):
            self._sorted = SortedList(list(self._keys))
            return
        self._place(changed, self._sorted.add, self._sorted.remove)

    def _place(self, changed: dict[Any, None], add: Callable[[Any], None], remove: Callable[[Any], None]) -> None:
        keys, ordered = self._keys, self._sorted
        for key in changed:
            if key in keys:
                if key not in ordered:
                    add(key)
            elif key in ordered:
                remove(key)

    def check(self) -> None:
        """Raise AssertionError where the order, if there is one, is not that of the dict. For tests; no writer."""
        with self._lock:
            if self.noted is not None and self._sorted is not None:
                ordered = self._fresh()
                ordered._check()
                assert list(ordered) == sorted(self._keys), f"order {list(ordered)!r} is not that of the keys"
