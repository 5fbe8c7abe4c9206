"""What a watch waits for: its place in the registry, and a test whether a past commit matches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import InvalidKey
from .states import Key, Redo, State, Undo, keys_before_and_after, reaches_streams, really_changed


class Concern:
    """What one watch waits for: its place in the registry, and a test whether a past commit matches."""

    __slots__ = ("keys", "kind", "matches", "position", "size")

    def __init__(
        self,
        kind: str,
        position: int,
        keys: tuple[Key, ...],
        matches: Callable[[Key], bool] | None = None,
        size: int = 0,
    ) -> None:
        """``kind`` is table, stream, initializers, key, prefix or range.

        ``matches`` tests a key of the index at ``position`` for a prefix or range. ``size`` is the length of a prefix.
        Raises InvalidKey for unhashable keys: commits look them up, and a commit must not fail because of what a reader
        watches.
        """
        try:
            hash(keys)
        except TypeError as error:
            raise InvalidKey(f"{keys[0]!r} cannot be watched: {error}; keys must be hashable") from None
        self.size = size
        self.kind = kind
        self.position = position
        self.keys = keys
        self.matches = matches

    @property
    def includes_initializers(self) -> bool:
        """Whether it also trips when an initializer begins or finishes."""
        return self.kind in ("table", "stream", "initializers")

    def matches_change(self, undo: Undo, redo: Redo) -> bool:
        """Whether a commit changed something that this watch waits for. Cost: O(changed rows)."""
        if self.kind == "stream":
            return any(reaches_streams(undo[key], after) for key, after in redo.items())
        if self.kind == "initializers":
            return False
        if self.kind == "key" and self.position == 0:
            return any(key in redo and really_changed(undo[key], redo[key]) for key in self.keys)
        return any(
            self._is_watched(key, undo[key], after) and really_changed(undo[key], after) for key, after in redo.items()
        )

    def _is_watched(self, key: Key, before: State | None, after: State) -> bool:
        if self.kind == "table":
            return True
        matches = self.keys.__contains__ if self.matches is None else self.matches
        if self.position == 0:
            return matches(key)
        return any(map(matches, keys_before_and_after(before, after, self.position)))


def table_concern() -> Concern:
    """Any change of the table, initializers included."""
    return Concern("table", 0, (None,))


def stream_concern() -> Concern:
    """All changes that a change stream delivers, including forced writes of equal rows."""
    return Concern("stream", 0, (None,))


def initializers_concern() -> Concern:
    """Initializers that begin or finish, and nothing else."""
    return Concern("initializers", 0, (None,))


def key_concern(position: int, keys: tuple[Key, ...]) -> Concern:
    """The rows under any of these keys of an index (position 0: the primary)."""
    return Concern("key", position, keys)


def prefix_concern(position: int, prefix: Key, matches: Callable[[Key], bool], size: int) -> Concern:
    """The rows under a prefix of an index. ``size`` is the length of key that is compared with the prefix."""
    return Concern("prefix", position, (prefix,), matches, size)


def range_concern(position: int, low: Any, high: Any) -> Concern:
    """The rows with ``low <= key < high`` in an index. None means no bound."""
    return Concern("range", position, ((low, high),), lambda key: within(key, low, high))


def within(key: Key, low: Any, high: Any) -> bool:
    """Whether a key is in a range. True if a bound cannot be compared, so that its watch trips: the commit must not
    fail.
    """
    try:
        return (low is None or not key < low) and (high is None or bool(key < high))
    except MemoryError:
        raise  # the commit is run again
    except Exception:
        return True
