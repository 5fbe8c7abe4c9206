"""Objects that a server left out, or called deleted, without being believed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable


class Withheld:
    """By feed, the objects that would go if the server were believed, each with the reason against it."""

    def __init__(self) -> None:
        """Nothing is withheld."""
        self._doubts: dict[str, dict[str, str]] = {}

    def __bool__(self) -> bool:
        """Whether anything is withheld."""
        return bool(self._doubts)

    def names(self, feed: str) -> Collection[str]:
        """The objects of a feed."""
        return self._doubts.get(feed, {}).keys()

    def feeds(self) -> tuple[str, ...]:
        """The feeds that have any."""
        return tuple(self._doubts)

    def reason(self, feed: str) -> str:
        """The latest reason in a feed; empty where nothing is withheld."""
        doubts = self._doubts.get(feed)
        return doubts[next(reversed(doubts))] if doubts else ""

    def add(self, feed: str, name: str, doubt: str) -> None:
        """One object more."""
        doubts = self._doubts.setdefault(feed, {})
        doubts.pop(name, None)
        doubts[name] = doubt

    def replace(self, feed: str, names: Iterable[str], doubt: str) -> None:
        """A list was written: these are all that it left out without being believed."""
        self._doubts.pop(feed, None)
        doubts = dict.fromkeys(names, doubt)
        if doubts:
            self._doubts[feed] = doubts

    def confirm(self, feed: str, name: str) -> None:
        """The server spoke of the object: whatever it said holds."""
        doubts = self._doubts.get(feed)
        if doubts is not None and doubts.pop(name, None) is not None and not doubts:
            del self._doubts[feed]

    def release(self, feed: str) -> tuple[str, ...]:
        """Forget the feed's doubts: these objects are to go."""
        return tuple(self._doubts.pop(feed, ()))

    def clear(self) -> None:
        """Forget everything."""
        self._doubts.clear()
