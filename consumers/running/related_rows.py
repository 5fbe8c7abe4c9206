"""Maps rows of other tables to the objects that they concern, which are processed when such a row changes. Knows no
rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from statedb import Snapshot, TablesBatch

from .follower import AnyTable
from .steps import FAILURES

KeysOf = Callable[[Snapshot, Any], Iterable[Any]]
"""The keys of the objects that a row of another table concerns, from a snapshot and the row."""

log = logging.getLogger("statedb.consumers")


class RelatedRows:
    """Remembers, for each row of the other tables, the keys that it concerned last, so that these are processed as
    well.
    """

    def __init__(self, functions: Mapping[AnyTable, KeysOf]) -> None:
        """``functions``: for each table, the function that returns the keys."""
        self.tables = tuple(functions)
        self.errors = 0
        """The number of rows for which a function has failed."""
        self._functions = functions
        self._keys: dict[AnyTable, dict[Any, tuple[Any, ...]]] = {table: {} for table in functions}

    def concerned_keys(self, batch: TablesBatch) -> dict[Any, None]:
        """The keys that changed rows concern now or concerned before, each once, in order of the changes."""
        concerned: dict[Any, None] = {}
        for table, known in self._keys.items():
            for change in batch[table]:
                key = table.key_of(change.row)
                before = known.pop(key, ())
                now = () if change.deleted else self._keys_of(table, batch.snapshot, change.row)
                if now:
                    known[key] = now
                concerned.update(dict.fromkeys([*before, *now]))
        return concerned

    def _keys_of(self, table: AnyTable, snapshot: Snapshot, row: Any) -> tuple[Any, ...]:
        """The keys of a row. If the function fails, this row concerns no object; others are not affected."""
        try:
            return tuple(dict.fromkeys(self._functions[table](snapshot, row)))
        except FAILURES:
            self.errors += 1
            log.exception("the function for the keys of a row of %r failed: row %r", table.name, table.key_of(row))
            return ()
