"""The keys of an index in order, sorted lazily. Knows keys, and the dict or set that has them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sized
from functools import partial
from typing import Any

from sortedcontainers import SortedList

from .turn import Turn

_REBUILD_SHARE = 8
_KEPT_MIN = 4096


class Order:
    """A sorted list of the keys of one dict or set. Writers record changes, and readers sort them in.

    A writer only appends the keys that it added or removed (``touch``), after it has changed the dict. It never waits.
    A reader takes them, one reader at a time (`Turn`). Membership in the dict decides whether a key was added or
    removed, so duplicates and outdated keys do no harm. Nothing is recorded until somebody reads in order.

    Sorting calls the comparison of the keys, during which the garbage collector may run: a finalizer or a signal
    handler of the same thread may call this object again. It does not get the turn, and sorts a copy.
    """

    __slots__ = ("_copied", "_keys", "_sorted", "_touched_keys", "_turn", "touched")

    def __init__(self, keys: Any, copied: Callable[[], list[Any]] | None = None) -> None:
        """``keys`` is the dict or set whose keys are ordered. ``copied`` copies them in one atomic step, `list` by
        default.
        """
        self._keys = keys
        self._copied: Callable[[], list[Any]] = partial(list, keys) if copied is None else copied
        self._turn = Turn()
        self.touched: deque[list[Any]] | None = None
        """Keys that are not sorted in yet. None if nobody has read in order; then writers need not record anything."""
        self._touched_keys = 0
        self._sorted: Any = None

    def touch(self, keys: list[Any], total: Sized) -> None:
        """Record keys that may have been added or removed, after the dict was changed. Cost: O(1).

        If there are more of them than keys in the dict, the order is dropped instead, so the record is bounded by the
        size of the table. A reader that still has the dropped record takes the keys from it, and its result stays
        correct.
        """
        touched = self.touched
        if touched is None:
            return
        self._touched_keys += len(keys)  # a reader may reset it in between: it is a bound, not an exact number
        if self._touched_keys > len(total) + _KEPT_MIN:
            self.touched = None
            self._sorted = None
        else:
            touched.append(keys)

    def between(
        self, low: Any = None, high: Any = None, *, limit: int | None = None, reverse: bool = False
    ) -> list[Any]:
        """A copy of the keys with ``low <= key < high``, in ascending or descending order. None means no bound.

        Cost: O(log n + result) once the order is up to date.
        """
        found = self._turn.run(self._updated, low, high, limit, reverse)
        return _slice(SortedList(self._copied()), low, high, limit, reverse) if found is None else found

    def at(self, position: int) -> Any:
        """The key at a position in order, from 0. Raises IndexError after the last. Cost: O(log n)."""
        found = self._turn.run(self._updated_at, position)
        return SortedList(self._copied())[position] if found is None else found[0]

    def _updated(self, low: Any, high: Any, limit: int | None, reverse: bool) -> list[Any]:
        """As `between`, for the call that has the turn."""
        ordered, touched = self._fresh()
        try:
            found = _slice(ordered, low, high, limit, reverse)
        except TypeError:  # a bound has another type than the keys; no position is half computed
            self._keep(ordered, touched)
            raise
        self._keep(ordered, touched)
        return found

    def _updated_at(self, position: int) -> list[Any]:
        ordered, touched = self._fresh()
        found: list[Any] = ordered[position : position + 1]
        self._keep(ordered, touched)
        return found

    def _fresh(self) -> tuple[Any, deque[list[Any]]]:
        """The sorted list, with every key that was recorded until now, and the record. Read it, then call ``_keep``."""
        touched = self.touched
        if touched is None:
            self._sorted = None
            self._touched_keys = 0
            touched = self.touched = deque()  # first record changes, then copy, so that no change is missed
        # Dropped until it was read: an exception would leave half of an update, or half of the positions that a
        # SortedList computes when it is read.
        ordered, self._sorted = self._sorted, None
        if ordered is None:
            touched.clear()
            ordered = SortedList(self._copied())
        ordered = self._drained(ordered, touched)
        return ordered, touched

    def _keep(self, ordered: Any, touched: deque[list[Any]]) -> None:
        if self.touched is touched:  # otherwise a writer has dropped it meanwhile
            self._sorted = ordered

    def _drained(self, ordered: Any, touched: deque[list[Any]]) -> Any:
        changed: dict[Any, None] = {}
        while touched:
            changed.update(dict.fromkeys(touched.popleft()))
        self._touched_keys = 0
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
        """In a child process: a thread of the parent that was in the middle of a change does not continue.

        It has removed the sorted list, so the next reader sorts all keys.
        """
        self._turn.after_fork()

    def check(self) -> None:
        """Raise AssertionError if the order is not that of the dict. For tests, while nobody writes."""
        self._turn.run(self._check)

    def _check(self) -> None:
        if self.touched is not None and self._sorted is not None:
            ordered, touched = self._fresh()
            self._keep(ordered, touched)
            ordered._check()
            assert list(ordered) == sorted(self._keys), f"order {list(ordered)!r} does not match the keys"


def _slice(ordered: Any, low: Any, high: Any, limit: int | None, reverse: bool) -> list[Any]:
    start = 0 if low is None else ordered.bisect_left(low)
    stop = len(ordered) if high is None else ordered.bisect_left(high)
    if limit is not None and stop - start > limit:
        start, stop = (stop - limit, stop) if reverse else (start, start + limit)
    found = list(ordered) if start == 0 and stop == len(ordered) else list(ordered[start:stop])
    if reverse:
        found.reverse()
    return found
