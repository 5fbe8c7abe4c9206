"""Who holds which key of one table, and who waits for it. Pure: knows keys and rows, no tables and no clock.

Two objects may claim one key: an address that moves between two slices is in both for a moment, a reused one is
claimed by the new pod before the old pod's object is gone. The first claimant holds the key, the others wait in
order, the next is promoted when the holder goes; the key's row is deleted only when nobody claims it.

An object in doubt (its delete is withheld) yields: what the server says now of another object takes the key at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Generic, TypeVar

K = TypeVar("K")
R = TypeVar("R")


class Claims(Generic[K, R]):
    """The claims of one source on one table.

    Every method adds what its step means for the table to ``changes``: key -> the row to stand there, or None. The
    last word per key is what counts, so one mapping may go through many steps. Only waiting rows are kept here, the
    others are in the table.
    """

    __slots__ = ("_doubtful", "_holders", "_key_of", "_keys", "_waiting")

    def __init__(self, key_of: Callable[[R], K]) -> None:
        """``key_of`` gives a row's primary key."""
        self._key_of = key_of
        self._holders: dict[K, str] = {}
        self._waiting: dict[K, dict[str, R]] = {}
        self._keys: dict[str, dict[str, tuple[K, ...]]] = {}
        self._doubtful: dict[str, str] = {}

    def __len__(self) -> int:
        """How many keys are held: the rows that the table owes to this source."""
        return len(self._holders)

    def __contains__(self, key: object) -> bool:
        """Whether anybody claims this key."""
        return key in self._holders

    def holder(self, key: K) -> str | None:
        """The object whose row stands under this key."""
        return self._holders.get(key)

    def names(self, feed: str) -> Collection[str]:
        """The objects of a feed that claim anything, whether they hold it or wait."""
        return self._keys.get(feed, {}).keys()

    def claim(self, feed: str, name: str, rows: Collection[R], changes: dict[K, R | None]) -> None:
        """These are all rows of the object now. Of two rows under one key the first counts.

        Cost: O(rows the object has and had).
        """
        keys = self._keys.setdefault(feed, {})
        before = keys.get(name)
        if before is None and len(rows) == 1:
            (row,) = rows
            key = self._key_of(row)
            if self._holders.setdefault(key, name) is name:  # nobody else claims it: the way most objects take
                keys[name] = (key,)
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
        """These objects may be gone: they yield to whoever waits for their keys, and to all who come. Cost: O(rows)."""
        keys = self._keys.get(feed, {})
        doubted = [name for name in names if name in keys]
        self._doubtful.update(dict.fromkeys(doubted, feed))
        for name in doubted:
            for key in keys[name]:
                live = [each for each in self._waiting.get(key, ()) if each not in self._doubtful]
                if live and self._holders[key] == name:
                    self._depose(key, name)
                    self._promote(key, live[0], changes)

    def trust(self, names: Iterable[str]) -> None:
        """The server spoke of these objects: they do not yield any more. Cheap where no object is in doubt."""
        if self._doubtful:
            for name in names:
                self._doubtful.pop(name, None)

    def withdraw(self, feed: str, name: str, changes: dict[K, R | None]) -> None:
        """The object is gone. Unknown ones are ignored. Cost: O(its rows)."""
        self._doubtful.pop(name, None)
        for key in self._keys.get(feed, {}).pop(name, ()):
            self._release(key, name, changes)

    def relist(
        self,
        feed: str,
        gone: Iterable[str],
        listed: Iterable[tuple[str, Collection[R]]],
        changes: dict[K, R | None],
    ) -> None:
        """Of this feed, the objects ``gone`` are gone and the listed ones have these rows now.

        Who claimed a key before keeps its place; newcomers follow in the order of the list.
        """
        for name in gone:
            self.withdraw(feed, name, changes)
        for name, rows in listed:
            self.claim(feed, name, rows, changes)

    def _take(self, key: K, name: str, row: R, changes: dict[K, R | None]) -> None:
        holder = self._holders.setdefault(key, name)
        if holder != name and holder in self._doubtful and name not in self._doubtful:
            self._depose(key, holder)
            self._holders[key] = holder = name
            self._waiting.get(key, {}).pop(name, None)
        if holder == name:
            changes[key] = row
        else:
            self._waiting.setdefault(key, {})[name] = row

    def _release(self, key: K, name: str, changes: dict[K, R | None]) -> None:
        waiting = self._waiting.get(key)
        if self._holders[key] != name:
            assert waiting is not None
            del waiting[name]
        elif waiting:
            live = (each for each in waiting if each not in self._doubtful)
            self._promote(key, next(live, next(iter(waiting))), changes)
        else:
            del self._holders[key]
            changes[key] = None
        if waiting is not None and not waiting:
            del self._waiting[key]

    def _promote(self, key: K, heir: str, changes: dict[K, R | None]) -> None:
        self._holders[key] = heir
        changes[key] = self._waiting[key].pop(heir)

    def _depose(self, key: K, holder: str) -> None:
        """An object in doubt gives its claim up: the key's row is another's now."""
        keys = self._keys[self._doubtful[holder]]
        left = tuple([each for each in keys[holder] if each != key])
        if left:
            keys[holder] = left
        else:
            del keys[holder]
