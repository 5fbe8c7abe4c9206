"""The primary keys of one index key, if there are two or more."""

from __future__ import annotations

import sys
from typing import Any

from .order import Order
from .states import Key

_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
_LARGE = 4096
"""A bucket with at least this many keys keeps an `Order`, so that one more key does not sort all of them again."""


class Bucket(set[Any]):
    """The primary keys under one index key, with their sorted list cached until the membership changes.

    A cached list counts while it has the bucket's version and length. Keys that come make the bucket longer; the
    writer bumps the version before a key goes and once more after it. What a reader may see in the gaps:

        writer            reader, at any point
        version 0 -> 1    a list cached at version 0 does not count any more, whatever the length
        key goes          a list that is copied now, or before, at version 1 ...
        version 1 -> 2    ... does not count from here on, so a key that comes next cannot make up its length

    With one bump, before or after, there is a gap: a key that came and another one that went leave a version and a
    length that fit the old list. The reader reads the version before it copies. Made by ``bucket_of`` alone: an
    initializer in Python would cost as much again.
    """

    __slots__ = ("cached", "order", "version")

    version: int
    cached: tuple[int, list[Key]] | None
    order: Order | None

    def copied(self) -> list[Key]:
        """The keys at one instant, in no order: one atomic step.

        Without the GIL ``list`` copies a set atomically only where it is exactly a set, and iterates over a subclass:
        "Set changed size during iteration". ``set.copy`` holds the set's own lock for both.
        """
        return list(self) if _GIL else list(self.copy())

    def ordered(self) -> list[Key]:
        """The keys in order; do not change the list. Cost: O(1) while the membership does not change."""
        if self.order is not None:
            return self.order.between()
        version = self.version
        cached = self.cached
        if cached is not None and cached[0] == version and len(cached[1]) == len(self):
            return cached[1]
        if len(self) > _LARGE:
            self.cached = None
            self.order = order = Order(
                self, self.copied
            )  # first where the writer sees it, then copied: no key falls between
            return order.between()
        keys = self.copied()
        keys.sort()
        self.cached = (version, keys)
        return keys

    def some(self, limit: int | None, *, reverse: bool = False) -> list[Key]:
        """The first keys in order, or the last from the end, at most ``limit``; do not change the list."""
        if limit is not None and (len(self) > _LARGE or self.order is not None):
            if self.order is None:
                self.order = Order(self, self.copied)
            return self.order.between(limit=limit, reverse=reverse)
        keys = self.ordered()
        return keys[::-1][:limit] if reverse else keys if limit is None else keys[:limit]

    def take(self, key: Key) -> None:
        """Remove a key, if it is here. Only the writer calls this. Idempotent."""
        self.version += 1
        self.discard(key)
        self.version += 1
        self.cached = None
        if self.order is not None:
            self.order.note([key], self)


def bucket_of(keys: tuple[Key, Key]) -> Bucket:
    """A bucket of these keys."""
    bucket = Bucket(keys)
    bucket.version = 0
    bucket.cached = None
    bucket.order = None
    return bucket
