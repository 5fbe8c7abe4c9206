"""The feeds of a source, and how much time each step of an ingest took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..events import Upsert
from ..source import AnyTable


class Feed(msgspec.Struct, frozen=True):
    """A part of a source that is listed as a whole, and the tables that it fills.

    With ``mixed`` an object may have rows of several types, and the type of a row decides its table. Rows of other
    tables are dropped.
    """

    name: str
    tables: tuple[AnyTable, ...]
    mixed: bool = False

    def rows_of(self, rows: tuple[Any, ...], table: AnyTable) -> tuple[Any, ...]:
        """The rows of an object that belong to a table (Any: rows of any table)."""
        return tuple([row for row in rows if type(row) is table.row_type]) if self.mixed else rows

    def sort_out(self, events: Iterable[Upsert]) -> Mapping[AnyTable, Mapping[str, Sequence[Any]]]:
        """By table, the objects with rows in it, and these rows. Cost: O(rows), for any number of tables."""
        if not self.mixed:
            rows_of: dict[str, Sequence[Any]] = {event.object: event.rows for event in events}
            return dict.fromkeys(self.tables, rows_of)
        found: dict[AnyTable, dict[str, list[Any]]] = {table: {} for table in self.tables}
        by_type = {table.row_type: found[table] for table in self.tables}
        for event in events:
            for row in event.rows:
                objects = by_type.get(type(row))
                if objects is not None:
                    objects.setdefault(event.object, []).append(row)
        return found


class Timings(msgspec.Struct):
    """How many seconds each step of an ingest has taken since its start; for benchmarks."""

    client_s: float = 0.0
    decode_s: float = 0.0
    claims_s: float = 0.0
    commit_s: float = 0.0
    rows: int = 0
