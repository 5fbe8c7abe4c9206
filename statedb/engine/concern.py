"""What a watch is about: where the registry keeps it, and how to find it in a past commit."""

from __future__ import annotations

from collections.abc import Callable

from .states import Key, Redo, State, Undo, keys_before_and_after, really_changed


class Concern:
    """What one watch is about: where it stands in the registry, and how to find it in a commit afterwards."""

    __slots__ = ("keys", "matches", "place", "position")

    def __init__(self, place: str, position: int, keys: list[Key], matches: Callable[[Key], bool] | None) -> None:
        """``place`` is table, key or prefix; ``matches`` tells an index key at ``position``."""
        self.place = place
        self.position = position
        self.keys = keys
        self.matches = matches

    def touched_by(self, undo: Undo, redo: Redo) -> bool:
        """Whether a commit changed something this watch is about. Cost: O(changed rows)."""
        if self.place == "key" and self.position == 0:
            return any(key in redo and really_changed(undo[key], redo[key]) for key in self.keys)
        return any(
            self._stands_in(key, undo[key], after) and really_changed(undo[key], after) for key, after in redo.items()
        )

    def _stands_in(self, key: Key, before: State | None, after: State) -> bool:
        matches = self.matches
        if matches is None:
            return True
        if self.position == 0:
            return matches(key)
        return any(map(matches, keys_before_and_after(before, after, self.position)))


def table_concern() -> Concern:
    """Any change of the table, initializers included."""
    return Concern("table", 0, [None], None)


def key_concern(position: int, keys: list[Key]) -> Concern:
    """The rows under any of these keys of an index (position 0: the primary)."""
    wanted = frozenset(keys)
    return Concern("key", position, keys, wanted.__contains__)


def prefix_concern(position: int, prefix: Key, matches: Callable[[Key], bool]) -> Concern:
    """The rows under a prefix of an index."""
    return Concern("prefix", position, [prefix], matches)
