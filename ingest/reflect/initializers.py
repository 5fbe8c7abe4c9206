"""The initializers of a source's tables, and those that an earlier source left pending."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from statedb import Database

from ..source import AnyTable

_promises: WeakKeyDictionary[Database, dict[tuple[str, AnyTable], Any]] = WeakKeyDictionary()
"""The pending initializer by cluster and table. If its source has ended, the next source takes it over."""


class Initializers:
    """The initializers of one source's tables. Used within its transactions."""

    def __init__(self, db: Database, cluster: str) -> None:
        """No initializers are registered yet."""
        self._cluster = cluster
        self._tokens: dict[AnyTable, Any] = {}
        self._promised = _promises.setdefault(db, {})

    def begin(self, writer: Any, table: AnyTable, name: str, *, register: bool) -> None:
        """Register an initializer if ``register`` is true. A pending one of an earlier source is replaced."""
        left = self._promised.get((self._cluster, table))
        if left is not None:
            writer.finish_initializer(left)
        if register or left is not None:
            self._tokens[table] = self._promised[self._cluster, table] = writer.begin_initializer(name)

    def finish(self, writer: Any, table: AnyTable) -> None:
        """The first full list of the table has come."""
        token = self._tokens.get(table)
        if token is not None:
            writer.finish_initializer(token)

    def finished(self, tables: Iterable[AnyTable]) -> None:
        """The transaction that finished these initializers is committed."""
        for table in tables:
            self._tokens.pop(table, None)
            self._promised.pop((self._cluster, table), None)
