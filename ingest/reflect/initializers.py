"""Initializers that an earlier source left pending, and those that this one promises to finish."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from statedb import Database

from ..source import AnyTable

_promises: WeakKeyDictionary[Database, dict[tuple[str, AnyTable], Any]] = WeakKeyDictionary()
"""By cluster and table, the initializer that is pending. Its source may have ended: the next one takes it over."""


class Initializers:
    """The initializers of one source's tables. Used within its transactions."""

    def __init__(self, db: Database, cluster: str) -> None:
        """None yet."""
        self._cluster = cluster
        self._tokens: dict[AnyTable, Any] = {}
        self._promised = _promises.setdefault(db, {})

    def begin(self, writer: Any, table: AnyTable, name: str, *, register: bool) -> None:
        """Register one, unless nobody is to wait for this source; an earlier source's unfinished one is replaced."""
        left = self._promised.get((self._cluster, table))
        if left is not None:
            writer.finish_initializer(left)
        if register or left is not None:
            self._tokens[table] = self._promised[self._cluster, table] = writer.begin_initializer(name)

    def finish(self, writer: Any, table: AnyTable) -> None:
        """The table has had its first full list."""
        token = self._tokens.get(table)
        if token is not None:
            writer.finish_initializer(token)

    def finished(self, tables: Iterable[AnyTable]) -> None:
        """The transaction that finished them is committed."""
        for table in tables:
            self._tokens.pop(table, None)
            self._promised.pop((self._cluster, table), None)
