"""What an earlier source left: rows that nobody has claimed yet, and initializers that nobody has finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from statedb import Database

from ..source import AnyTable

Owns: TypeAlias = Callable[[Any], bool]
"""Whether a row that was there before is this source's (Any: a row of any table)."""

_promises: WeakKeyDictionary[Database, dict[tuple[str, AnyTable], Any]] = WeakKeyDictionary()
"""By cluster and table, the initializer that is pending. Its source may have ended: the next one takes it over."""


class Initializers:
    """The initializers of one source's tables. Used within its transactions."""

    def __init__(self, db: Database, cluster: str) -> None:
        """None yet."""
        self._cluster = cluster
        self._tokens: dict[AnyTable, Any] = {}
        self._promised = _promises.setdefault(db, {})

    def begin(self, writer: Any, table: AnyTable, name: str, *, gate: bool) -> None:
        """Register one, unless nobody is to wait for this source; an earlier source's unfinished one is replaced."""
        left = self._promised.get((self._cluster, table))
        if left is not None:
            writer.finish_initializer(left)
        if gate or left is not None:
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


def rows_of_before(view: Any, cluster: str, owns: Owns | None) -> Iterable[Any]:
    """The rows in a table that are this source's: as ``owns`` says, else those of the cluster.

    A table whose keys do not begin with a cluster has one source, unless several say what they own: all rows are its.
    """
    if owns is not None:
        return [row for row in view.values() if owns(row)]
    rows: Iterable[Any] = view.prefix((cluster,)) if names_cluster(view) else view.values()
    return rows


def names_cluster(view: Any) -> bool:
    """Whether the keys of the rows that are there begin with a cluster."""
    first = next(iter(view.keys()), None)
    fields: tuple[str, ...] = getattr(first, "__struct_fields__", ())
    return fields[:1] == ("cluster",)
