"""Which feeds have been listed, and whose last list was doubted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..source import AnyTable
from .feed import Feed


class Lists:
    """By table, the feeds whose full list has not come yet; and by feed, why its last list was doubted."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        """No list has come."""
        self._tables = {feed.name: feed.tables for feed in feeds}
        self._feeds: dict[AnyTable, set[str]] = {}
        for feed, tables in self._tables.items():
            for table in tables:
                self._feeds.setdefault(table, set()).add(feed)
        self._unlisted = {table: set(feeds) for table, feeds in self._feeds.items()}
        self._doubts: dict[str, str] = {}

    @property
    def doubts(self) -> Mapping[str, str]:
        """The feeds whose last list was doubted, each with the reason."""
        return self._doubts

    def awaits(self, feed: str, table: AnyTable) -> bool:
        """Whether the table waits for the full list of this feed."""
        return feed in self._unlisted[table]

    def restart(self, table: AnyTable) -> None:
        """Full lists of all feeds of the table must come once more."""
        self._unlisted[table] = set(self._feeds[table])

    def doubt(self, feed: str, reason: str) -> None:
        """The last list of the feed is not believed."""
        self._doubts.pop(feed, None)  # the latest one stands last
        self._doubts[feed] = reason

    def forget(self, feed: str) -> None:
        """Nothing is known of the last list of the feed."""
        self._doubts.pop(feed, None)

    def forget_all(self) -> None:
        """Nothing is known of the last list of any feed."""
        self._doubts.clear()

    def complete(self, feed: str) -> list[AnyTable]:
        """The last list of the feed is full. Returns its tables that wait for no other list, also if they did not."""
        self._doubts.pop(feed, None)
        for table in self._tables[feed]:
            self._unlisted[table].discard(feed)
        return [table for table in self._tables[feed] if not self._unlisted[table]]

    def have_come(self, table: AnyTable) -> bool:
        """Whether all lists of the table have come, even if some of them are doubted."""
        return self._unlisted[table] <= self._doubts.keys()
