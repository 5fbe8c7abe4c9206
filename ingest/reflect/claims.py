"""Which object holds which key of one table, and which objects wait for it. Pure: knows no tables and no clock.

Two objects may claim one key. An address that moves between two slices is in both for a moment, and a reused address is
claimed by the new pod before the object of the old pod is gone. Which object holds the key depends on the objects
alone, so neither the order of events nor a restart matters: objects whose deletes are not withheld come first, then
those whose row is preferred, then the first by name. The others wait. When the holder is gone, the next one takes the
key. The row of a key is deleted only when no object claims it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Generic, TypeAlias, TypeVar

K = TypeVar("K")
R = TypeVar("R")

Preference: TypeAlias = Callable[[R], Any]
"""The sort key of rows that claim the same key; the lowest one holds it (Any: something that can be compared)."""


class Claims(Generic[K, R]):
    """The claims of one source on one table.

    Each method adds changes of the table to ``changes``: key -> the new row, or None. Later changes of a key replace
    earlier ones, so several steps may share one mapping. Only waiting rows are kept here; the others are in the table.
    """

    __slots__ = ("_current_row", "_doubtful", "_holders", "_key_of", "_keys", "_preference", "_waiting")

    def __init__(
        self,
        key_of: Callable[[R], K],
        current: Callable[[K], R | None],
        preference: Preference[R] | None = None,
    ) -> None:
        """``key_of`` returns the primary key of a row, ``current`` the row that the table has, or should have."""
        self._key_of = key_of
        self._current_row = current
        self._preference = preference
        self._holders: dict[K, str] = {}
        self._waiting: dict[K, dict[str, R]] = {}
        self._keys: dict[str, dict[str, tuple[K, ...]]] = {}
        self._doubtful: dict[str, str] = {}

    def __len__(self) -> int:
        """The number of held keys, which is the number of rows from this source."""
        return len(self._holders)

    def __contains__(self, key: object) -> bool:
        """Whether any object claims this key."""
        return key in self._holders

    def holder(self, key: K) -> str | None:
        """The object that holds this key."""
        return self._holders.get(key)

    def holds(self, feed: str, name: str) -> bool:
        """Whether the object holds any key."""
        return any(self._holders[key] == name for key in self._keys.get(feed, {}).get(name, ()))

    def names(self, feed: str) -> Collection[str]:
        """The objects of a feed that hold or wait for a key."""
        return self._keys.get(feed, {}).keys()

    def claim(self, feed: str, name: str, rows: Collection[R], changes: dict[K, R | None]) -> None:
        """Set all rows of an object. Of two rows with one key the first counts.

        Cost: O(new and old rows of the object, and the claimants of each).
        """
        keys = self._keys.get(feed)
        if keys is None:
            keys = self._keys[feed] = {}
        before = keys.get(name)
        if len(rows) == 1:  # the common cases: 0.9 us each, 2.2 us by what follows
            (row,) = rows
            key = self._key_of(row)
            if before is None:
                if self._holders.setdefault(key, name) is name:  # no other object claims it
                    keys[name] = (key,)
                    changes[key] = row
                    return
            elif len(before) == 1 and key == before[0] and key not in self._waiting:  # it holds the key alone
                changes[key] = row
                return
        claimed: dict[K, R] = {}
        for row in rows:
            claimed.setdefault(self._key_of(row), row)
        for key in before or ():
            if key not in claimed:
                self._release(key, name, changes)
        if claimed:
            keys[name] = tuple(claimed)
        elif before:
            del keys[name]
        for key, row in claimed.items():
            self._take(key, name, row, changes)

    def doubt(self, feed: str, names: Iterable[str], changes: dict[K, R | None]) -> None:
        """Exactly these objects of the feed are in doubt: other claimants of their keys take them. Cost: O(rows)."""
        keys = self._keys.get(feed, {})
        before = {name for name, of in self._doubtful.items() if of == feed}
        doubted = {name for name in names if name in keys}
        for name in before - doubted:
            del self._doubtful[name]
        self._doubtful.update(dict.fromkeys(doubted, feed))
        for name in before ^ doubted:
            for key in keys.get(name, ()):
                self._settle(key, changes)

    def settle(self, changes: dict[K, R | None]) -> None:
        """The preference has changed for some rows. Cost: O(keys that several objects claim)."""
        for key in tuple(self._waiting):
            self._settle(key, changes)

    def withdraw(self, feed: str, name: str, changes: dict[K, R | None]) -> None:
        """Remove an object. Unknown ones are ignored. Cost: O(its rows)."""
        self._doubtful.pop(name, None)
        for key in self._keys.get(feed, {}).pop(name, ()):
            self._release(key, name, changes)

    def leave(self, feed: str, changes: dict[K, R | None]) -> list[K]:
        """Remove all objects of a feed. The rows that no other object claims stay: returns their keys. O(its rows)."""
        left: dict[K, R | None] = {}
        for name in tuple(self.names(feed)):
            self.withdraw(feed, name, left)
        changes.update({key: row for key, row in left.items() if row is not None})
        return [key for key, row in left.items() if row is None]

    def relist(
        self,
        feed: str,
        gone: Iterable[str],
        listed: Iterable[tuple[str, Collection[R]]],
        changes: dict[K, R | None],
    ) -> None:
        """Remove the objects ``gone`` of a feed, and set the rows of the listed ones."""
        for name in gone:
            self.withdraw(feed, name, changes)
        for name, rows in listed:
            self.claim(feed, name, rows, changes)

    def _take(self, key: K, name: str, row: R, changes: dict[K, R | None]) -> None:
        if self._holders.setdefault(key, name) == name:
            changes[key] = row
        else:
            self._waiting.setdefault(key, {})[name] = row
        self._settle(key, changes)

    def _settle(self, key: K, changes: dict[K, R | None]) -> None:
        """Give the key to the first of its claimants."""
        waiting = self._waiting.get(key)
        if not waiting:
            return
        holder, successor = self._holders[key], self._first(waiting)
        row = changes[key] if key in changes else self._current_row(key)
        if row is not None and self._place(successor, waiting[successor]) < self._place(holder, row):
            self._promote(key, successor, changes)
            waiting[holder] = row

    def _release(self, key: K, name: str, changes: dict[K, R | None]) -> None:
        waiting = self._waiting.get(key)
        if self._holders[key] != name:
            assert waiting is not None
            del waiting[name]
        elif waiting:
            self._promote(key, self._first(waiting), changes)
        else:
            del self._holders[key]
            changes[key] = None
        if waiting is not None and not waiting:
            del self._waiting[key]

    def _promote(self, key: K, successor: str, changes: dict[K, R | None]) -> None:
        self._holders[key] = successor
        changes[key] = self._waiting[key].pop(successor)

    def _first(self, waiting: dict[str, R]) -> str:
        return min(waiting, key=lambda name: self._place(name, waiting[name]))

    def _place(self, name: str, row: R) -> tuple[bool, Any, str]:
        """The sort key of a claimant; the lowest one holds the key."""
        return name in self._doubtful, None if self._preference is None else self._preference(row), name
