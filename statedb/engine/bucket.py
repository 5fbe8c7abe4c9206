"""The primary keys that stand under one index key, where they are two or more."""

from __future__ import annotations

from typing import Any

from .states import Key


class Bucket(set[Any]):
    """The primary keys under one index key, with their sorted list cached until the membership changes.

    A cached list counts while it has the bucket's version and length: whatever comes makes the bucket longer, and the
    writer bumps the version after a key has gone. The reader reads the version before it copies. Made by
    ``bucket_of`` alone: an initializer in Python would cost as much again.
    """

    __slots__ = ("cached", "version")

    version: int
    cached: tuple[int, list[Key]] | None

    def ordered(self) -> list[Key]:
        """The keys in order; do not change the list. Cost: O(1) while the membership does not change."""
        version = self.version
        cached = self.cached
        if cached is not None and cached[0] == version and len(cached[1]) == len(self):
            return cached[1]
        keys = list(self)
        keys.sort()
        self.cached = (version, keys)
        return keys


def bucket_of(keys: tuple[Key, Key]) -> Bucket:
    """A bucket of these keys."""
    bucket = Bucket(keys)
    bucket.version = 0
    bucket.cached = None
    return bucket
