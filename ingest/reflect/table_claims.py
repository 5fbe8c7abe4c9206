"""The claims of one source on all of its tables. Pure, like `claims`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from ..events import Delete, Upsert
from ..source import AnyTable, key_function
from .claims import Claims, Preference
from .feed import Feed
from .writer import Changes


class TableClaims(dict[AnyTable, Claims[Any, Any]]):
    """The claims on each table, by table (Any: rows of any table). An object of a feed may have rows in several."""

    def __init__(
        self,
        feeds: Mapping[str, Feed],
        current: Callable[[AnyTable, Any], Any],
        preferences: Mapping[AnyTable, Preference[Any]],
    ) -> None:
        """There are none. ``current`` returns the row of a key that a table has, or should have."""
        tables = dict.fromkeys(table for feed in feeds.values() for table in feed.tables)
        super().__init__(
            {each: Claims(key_function(each), partial(current, each), preferences.get(each)) for each in tables}
        )
        self._feeds = feeds

    def names(self, feed: str) -> Collection[str]:
        """The objects of a feed that have rows, or wait for a key."""
        return set().union(*(self[table].names(feed) for table in self._feeds[feed].tables))

    def is_claiming(self, feed: str, name: str) -> bool:
        """Whether the object has rows, or waits for a key."""
        return any(name in self[table].names(feed) for table in self._feeds[feed].tables)

    def object_of(self, table: AnyTable, key: Any) -> tuple[str, str] | None:
        """The feed and the object whose row has this key, or should have it."""
        claims = self[table]
        name = claims.holder(key)
        return None if name is None else (next(feed for feed in self._feeds if name in claims.names(feed)), name)

    def write(self, event: Upsert | Delete, changes: Changes) -> None:
        """Set the rows of an object, or remove it."""
        feed, name = self._feeds[event.feed], event.object
        if isinstance(event, Delete):
            for table in feed.tables:
                self[table].withdraw(feed.name, name, changes.setdefault(table, {}))
        elif feed.mixed:
            self._write_mixed(feed, event, changes)
        else:
            table = feed.tables[0]
            self[table].claim(feed.name, name, event.rows, changes.setdefault(table, {}))

    def _write_mixed(self, feed: Feed, event: Upsert, changes: Changes) -> None:
        for table in feed.tables:
            rows = feed.rows_of(event.rows, table)
            claims = self[table]
            if rows or event.object in claims.names(feed.name):
                claims.claim(feed.name, event.object, rows, changes.setdefault(table, {}))
