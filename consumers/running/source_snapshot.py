"""Some tables at one instant: the part of a snapshot that a derived table may read and keep alive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, overload

from statedb import (
    Index,
    IndexView,
    PrefixIndex,
    PrefixIndexView,
    Snapshot,
    Table,
    TableView,
    UniqueIndex,
    UniqueIndexView,
)

K = TypeVar("K")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741 - the key type of an index


class SourceSnapshot:
    """The source tables of a derived table, and their indexes, at one instant. Read it as a `Snapshot`."""

    __slots__ = ("_tables", "_views")

    def __init__(self, snapshot: Snapshot, tables: Iterable[type[Table[Any, Any]]]) -> None:
        """Keeps the views of these tables. The snapshot is not kept: it would keep the history of all tables alive."""
        self._tables = tuple(tables)
        self._views: dict[Any, Any] = {}
        for table in self._tables:
            self._views[table] = snapshot[table]
            for index in table.indexes.values():
                self._views[index] = snapshot[index]  # type: ignore[call-overload]  # the dict has indexes of all kinds

    @overload
    def __getitem__(self, table: type[Table[K, R]]) -> TableView[K, R]: ...
    @overload
    def __getitem__(self, table: UniqueIndex[I, R]) -> UniqueIndexView[I, R]: ...
    @overload
    def __getitem__(self, table: Index[I, R]) -> IndexView[I, R]: ...
    @overload
    def __getitem__(self, table: PrefixIndex[I, R]) -> PrefixIndexView[I, R]: ...  # type: ignore[type-var]
    def __getitem__(self, table: Any) -> Any:
        """The view of a table or of an index. Raises LookupError for a table that is not a source."""
        view = self._views.get(table)
        if view is None:
            owner = getattr(table, "table", table)
            raise LookupError(
                f"table {getattr(owner, 'name', owner)!r} is not among the sources of this derived table "
                f"({', '.join([each.name for each in self._tables])}); "
                "add it to affected={...}, or its changes would be missed"
            )
        return view
