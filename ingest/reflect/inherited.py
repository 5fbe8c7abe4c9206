"""Rows of before: of an earlier source, of a warm start, or of feeds that are not read any more. Pure.

They are that until the lists of this source have come. Nobody knows which object an earlier row came from. A row that
no object of the first lists claims is gone, unless one of these objects cannot be read: the row may be of that one, so
it is kept. It goes when all objects can be read or are gone, or when the operator accepts that. An object that cannot
be read is gone only where the server is believed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..events import Delete, Upsert
from ..source import AnyTable
from ..status import Status
from .feed import Feed

_UNREAD = "rows of before, perhaps of objects that cannot be read; table 'rejected' names these"


class Inherited:
    """The keys of these rows, by table, and the objects that they may be of (Any: keys of any table)."""

    def __init__(self, feeds: Collection[Feed], status: Status) -> None:
        """There are none."""
        self._tables = {feed.name: feed.tables for feed in feeds}
        self._status = status
        self._keys: dict[AnyTable, dict[Any, None]] = {}
        self._kept: dict[AnyTable, dict[Any, None]] = {}
        self._unread: dict[str, set[str]] = {feed.name: set() for feed in feeds}

    def __bool__(self) -> bool:
        """Whether there are rows that no object has claimed yet, and that a first list could delete."""
        return any(self._keys.values())

    def begin(self, table: AnyTable, keys: Iterable[Any]) -> None:
        """The table had rows with these keys."""
        self._keys[table] = dict.fromkeys(keys)

    def add(self, table: AnyTable, keys: Iterable[Any]) -> None:
        """Rows with these keys belong to no object any more. The lists of the table must come once more.

        Those that were kept must be confirmed again too: who kept them may be of a feed that is not read any more.
        """
        self._keys[table] = {**self._kept.pop(table, {}), **self._keys.get(table, {}), **dict.fromkeys(keys)}
        self._tell(table)

    def orphans(self, table: AnyTable) -> Collection[Any]:
        """Keys that no object has claimed yet. Empty once the first lists have come."""
        return self._keys.get(table, ())

    # --- objects that cannot be read ----------------------------------------------------------------------------------

    def unread(self, feed: str) -> Collection[str]:
        """The objects of the feed that cannot be read, and that rows of before may be of."""
        return self._unread[feed] if self._unread[feed] and self._has_rows(feed) else ()

    def reject(self, feed: str, name: str) -> None:
        """An object that has no rows cannot be read. Ignored where there are no rows of before that it may have."""
        if self._has_rows(feed):
            self._unread[feed].add(name)

    def listed(self, feed: str, left: Collection[str]) -> None:
        """The feed was listed. Its objects can be read or are gone, except for those that are ``left``."""
        self._unread[feed].intersection_update(left)

    def _has_rows(self, feed: str) -> bool:
        return any(self._keys.get(table) or self._kept.get(table) for table in self._tables[feed])

    # --- rows ---------------------------------------------------------------------------------------------------------

    def written(self, events: Iterable[Upsert | Delete], changes: Mapping[AnyTable, Mapping[Any, Any]]) -> None:
        """These events, and perhaps a list, were claimed. A row that changes is no longer one of before.

        Cost: O(changes), however many rows there are.
        """
        if any(self._unread.values()):
            for event in events:
                self._unread[event.feed].discard(event.object)
        for table, change in changes.items():
            for keys in (self._keys.get(table), self._kept.get(table)):
                if keys:
                    for key in change:
                        keys.pop(key, None)

    def finish(self, tables: Iterable[AnyTable]) -> list[AnyTable]:
        """The lists of the tables have come. Returns those for which these are the first ones, with rows or without.

        `settle` deletes their orphans, unless they must be kept.
        """
        first = [table for table in tables if table in self._keys]
        for table in first:
            if keys := self._keys.pop(table):
                self._kept.setdefault(table, {}).update(keys)
        return first

    def settle(self, changes: dict[AnyTable, dict[Any, Any]], *, accepted: bool = False) -> None:
        """Delete the rows that need not be kept any more, or all that are kept if the operator has ``accepted`` it."""
        for table, keys in tuple(self._kept.items()):
            if accepted or not keys or not self._has_unread(table):
                del self._kept[table]
                changes.setdefault(table, {}).update(keys)
            self._tell(table)

    def _tell(self, table: AnyTable) -> None:
        kept = len(self._kept.get(table, ()))
        self._status.hold_back(table, kept, _UNREAD if kept else "", kind="rows of before")

    def keeps(self, table: AnyTable, feed: str, names: Collection[str]) -> bool:
        """Whether rows of the table are kept that may be of one of these objects of the feed."""
        is_kept = bool(self._kept.get(table)) and table in self._tables[feed]
        return is_kept and not self._unread[feed].isdisjoint(names)

    def _has_unread(self, table: AnyTable) -> bool:
        return any(self._unread[feed] for feed, tables in self._tables.items() if table in tables)
