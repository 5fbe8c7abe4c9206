"""The primary keys under one index key that has two or more rows."""

from __future__ import annotations

import sys
from typing import Any

from .order import Order
from .states import Key

_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
_LARGE = 4096
"""A bucket with more keys than this keeps an `Order`, so that one more key does not sort all of them again."""


class Bucket(set[Any]):
    """The primary keys under one index key, with their sorted list cached until the membership changes.

    A cached list is valid while it has the version and the length of the bucket. An added key makes the bucket longer.
    The writer increments the version before it removes a key, and once more afterwards. What a reader may see in
    between:

        writer            reader, at any point
        version 0 -> 1    a list cached at version 0 is invalid from here on, whatever its length
        key is removed    a list that is copied now, or was copied before, at version 1 ...
        version 1 -> 2    ... is invalid from here on, so the next added key cannot restore its length

    One increment, before or after, is not enough: one added key and one removed key would leave a version and a length
    that match the old list. The reader reads the version before it copies. Only ``bucket_of`` makes buckets: an
    ``__init__`` in Python would double the cost.
    """

    __slots__ = ("cached", "order", "version")

    version: int
    cached: tuple[int, list[Key]] | None
    order: Order | None

    def copied(self) -> list[Key]:
        """The keys at one instant, in no order, in one atomic step.

        Without the GIL, ``list`` copies a set atomically only if its type is exactly set. It iterates over a subclass,
        which may raise "Set changed size during iteration". ``set.copy`` holds the set's own lock for both.
        """
        return list(self) if _GIL else list(self.copy())

    def ordered(self) -> list[Key]:
        """The keys in order. Do not change the list. Cost: O(1) while the membership does not change."""
        if self.order is not None:
            return self.order.between()
        version = self.version
        cached = self.cached
        if cached is not None and cached[0] == version and len(cached[1]) == len(self):
            return cached[1]
        if len(self) > _LARGE:
            self.cached = None
            # The writer must see the order before the keys are copied, or a key added in between would be missed.
            self.order = order = Order(self, self.copied)
            return order.between()
        keys = self.copied()
        keys.sort()
        self.cached = (version, keys)
        return keys

    def first_keys(self, limit: int | None, *, reverse: bool = False) -> list[Key]:
        """The first keys in order, or the last in descending order, at most ``limit``. Do not change the list."""
        if limit is not None and (len(self) > _LARGE or self.order is not None):
            if self.order is None:
                self.order = Order(self, self.copied)
            return self.order.between(limit=limit, reverse=reverse)
        keys = self.ordered()
        return keys[::-1][:limit] if reverse else keys if limit is None else keys[:limit]

    def discard_key(self, key: Key) -> None:
        """Remove a key if it is present. Only the writer calls this. Idempotent."""
        self.version += 1
        self.discard(key)
        self.version += 1
        self.cached = None
        if self.order is not None:
            self.order.touch([key], self)


def bucket_of(keys: tuple[Key, Key]) -> Bucket:
    """A bucket of these keys."""
    bucket = Bucket(keys)
    bucket.version = 0
    bucket.cached = None
    bucket.order = None
    return bucket
