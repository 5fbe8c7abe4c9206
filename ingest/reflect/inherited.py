"""Rows of before: those of an earlier source or of a warm start, until the lists of this source have come. Pure.

Nobody knows which object an earlier row came from. A row that no object of the first lists claims is gone, unless one
of these objects cannot be read: the row may be of that one, so it is kept. It goes when all objects can be read or are
gone, or when the operator accepts that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ..source import AnyTable
from ..status import Status
from .claims import Claims
from .feed import Feed

_UNREAD = "rows of before, perhaps of objects that cannot be read; table 'rejected' names these"


class Inherited:
    """The keys of these rows, by table (Any: keys of any table)."""

    def __init__(self, feeds: Collection[Feed], claims: Mapping[AnyTable, Claims[Any, Any]], status: Status) -> None:
        """There are none."""
        self._feeds = feeds
        self._claims = claims
        self._status = status
        self._keys: dict[AnyTable, Sequence[Any]] = {}
        self._kept: dict[AnyTable, Sequence[Any]] = {}

    def __bool__(self) -> bool:
        """Whether there are rows that no full list has confirmed yet, and that a first list could delete."""
        return any(self._keys.values())

    def __contains__(self, table: AnyTable) -> bool:
        """Whether the first lists of the table have not come yet, whether it had rows or not."""
        return table in self._keys

    def begin(self, table: AnyTable, keys: Sequence[Any]) -> None:
        """The table had rows with these keys."""
        self._keys[table] = keys

    def orphans(self, table: AnyTable) -> Sequence[Any]:
        """Keys that no object has claimed yet. Empty once the first lists have come."""
        if not self._keys.get(table):
            return ()
        self._keys[table] = orphans = self._unclaimed(table, self._keys[table])
        return orphans

    def finish(self, table: AnyTable, changes: dict[Any, Any]) -> None:
        """The first lists of the table have come: delete its orphans, or keep them."""
        keys = self._keys.pop(table, ())
        if keys:
            self._kept[table] = keys
            self._settle(table, changes)

    def settle(self, changes: dict[AnyTable, dict[Any, Any]]) -> None:
        """Delete the rows that need not be kept any more. Cheap if there are none."""
        for table in tuple(self._kept):
            self._settle(table, changes.setdefault(table, {}))

    def accept(self, changes: dict[AnyTable, dict[Any, Any]]) -> None:
        """Delete all rows that are kept."""
        for table in tuple(self._kept):
            self._settle(table, changes.setdefault(table, {}), accepted=True)

    def kept(self, table: AnyTable) -> tuple[int, str]:
        """The number of rows that are kept, and why."""
        count = len(self._kept.get(table, ()))
        return count, _UNREAD if count else ""

    def _settle(self, table: AnyTable, changes: dict[Any, Any], *, accepted: bool = False) -> None:
        self._kept[table] = orphans = self._unclaimed(table, self._kept[table])
        if accepted or not orphans or not self._has_unread(table):
            del self._kept[table]
            changes.update(dict.fromkeys([key for key in orphans if key not in changes]))
        self._status.hold_back(table, *self.kept(table))

    def _unclaimed(self, table: AnyTable, keys: Iterable[Any]) -> Sequence[Any]:
        claims = self._claims[table]
        return [key for key in keys if key not in claims]

    def _has_unread(self, table: AnyTable) -> bool:
        """Whether an object that may have rows in the table cannot be read, and nothing is known of it."""
        return any(
            not any(name in self._claims[each].names(feed.name) for each in feed.tables)
            for feed in self._feeds
            if table in feed.tables
            for name in self._status.rejected(feed.name)
        )
