"""Which objects the rows of other tables concern: an object is worked on when one of those changes. Knows no rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from statedb import Snapshot, TablesBatch

from .follower import AnyTable
from .steps import FAILURES

KeysOf = Callable[[Snapshot, Any], Iterable[Any]]
"""The keys of the objects that a row of another table concerns, from the row and the state it is in."""

log = logging.getLogger("statedb.consumers")


class Also:
    """For each row of the other tables the keys that it concerned last, so that those are told that lose it."""

    def __init__(self, functions: Mapping[AnyTable, KeysOf]) -> None:
        """By table, the function that gives the keys."""
        self.tables = tuple(functions)
        self.errors = 0
        """How many rows a function failed for."""
        self._functions = functions
        self._keys: dict[AnyTable, dict[Any, tuple[Any, ...]]] = {table: {} for table in functions}

    def concerned(self, batch: TablesBatch) -> dict[Any, None]:
        """The keys that changed rows concern now or did before, each once, in order of the changes."""
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
        """A function that fails costs only this row: it concerns nothing."""
        try:
            return tuple(dict.fromkeys(self._functions[table](snapshot, row)))
        except FAILURES:
            self.errors += 1
            log.exception("the keys that a row of %r concerns are not known: %r", table.name, table.key_of(row))
            return ()
