"""Objects whose deletes are withheld, because the server is not believed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable


class Withheld:
    """By feed, the objects whose deletes are withheld, each with the reason."""

    def __init__(self) -> None:
        """Nothing is withheld."""
        self._doubts: dict[str, dict[str, str]] = {}

    def __bool__(self) -> bool:
        """Whether anything is withheld."""
        return bool(self._doubts)

    def names(self, feed: str) -> Collection[str]:
        """The withheld objects of a feed."""
        return self._doubts.get(feed, {}).keys()

    def feeds(self) -> tuple[str, ...]:
        """The feeds with withheld objects."""
        return tuple(self._doubts)

    def reason(self, feed: str) -> str:
        """The latest reason in a feed; empty if nothing is withheld."""
        doubts = self._doubts.get(feed)
        return doubts[next(reversed(doubts))] if doubts else ""

    def add(self, feed: str, name: str, doubt: str) -> None:
        """Withhold the delete of one more object."""
        doubts = self._doubts.setdefault(feed, {})
        doubts.pop(name, None)
        doubts[name] = doubt

    def replace(self, feed: str, names: Iterable[str], doubt: str) -> None:
        """A list was written. Exactly these objects of the feed are withheld now."""
        self._doubts.pop(feed, None)
        doubts = dict.fromkeys(names, doubt)
        if doubts:
            self._doubts[feed] = doubts

    def confirm(self, feed: str, name: str) -> None:
        """The server has sent the object again: it is no longer withheld."""
        doubts = self._doubts.get(feed)
        if doubts is not None and doubts.pop(name, None) is not None and not doubts:
            del self._doubts[feed]

    def release(self, feed: str) -> tuple[str, ...]:
        """Remove the objects of a feed and return them, to delete their rows."""
        return tuple(self._doubts.pop(feed, ()))

    def clear(self) -> None:
        """Remove all objects."""
        self._doubts.clear()
