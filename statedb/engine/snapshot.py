"""All tables at one instant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast, overload

from .dump import Decoder, dump
from .errors import UnknownTable
from .history import Pin
from .index_views import IndexView, PrimaryIndexView, TextPrefixIndexView, UniqueIndexView
from .network_view import PrefixIndexView
from .notebook import SHOWN, html_table
from .schema import AnyIndex, Index, K, N, PrefixIndex, R, T, Table, TextPrefixIndex, UniqueIndex
from .source import Source
from .store import TableStore
from .table_view import TableView


def view_of(table: TableView[Any, Any], index: AnyIndex[Any, Any]) -> Any:
    """The view of an index of a table."""
    if index.position == 0:
        return PrimaryIndexView(table)
    source = table._source
    if isinstance(index, PrefixIndex):
        return PrefixIndexView(source, index)
    if isinstance(index, UniqueIndex):
        return UniqueIndexView(source, index)
    kind = TextPrefixIndexView if isinstance(index, TextPrefixIndex) else IndexView
    return kind(source, cast("Index[Any, Any]", index))


I = TypeVar("I")  # noqa: E741 - the key type of an index
AnyTable = type[Table[Any, Any]]


class Snapshot:
    """All tables at one instant, immutable: a mapping from table to view, and from index to view.

    Cheap to take and to keep: a snapshot keeps only the rows that were changed or deleted since. Threads may share it.
    """

    __slots__ = ("_pins", "_stores")

    def __init__(self, stores: Mapping[Any, TableStore], pins: dict[Any, Pin]) -> None:
        """Made by ``Database.snapshot`` and ``WriteTransaction.commit``."""
        self._stores = stores
        self._pins = pins

    @overload
    def __getitem__(self, table: type[Table[K, R]]) -> TableView[K, R]: ...
    @overload
    def __getitem__(self, table: UniqueIndex[I, R]) -> UniqueIndexView[I, R]: ...
    @overload
    def __getitem__(self, table: TextPrefixIndex[T, R]) -> TextPrefixIndexView[T, R]: ...
    @overload
    def __getitem__(self, table: Index[I, R]) -> IndexView[I, R]: ...
    @overload
    def __getitem__(self, table: PrefixIndex[N, R]) -> PrefixIndexView[N, R]: ...
    def __getitem__(self, table: Any) -> Any:
        """The view of a table or of an index. Raises UnknownTable."""
        try:
            pin = self._pins.get(table)
        except TypeError:
            raise unhashable_table([table], self._pins) from None
        if pin is not None:
            return TableView(Source(self._stores[table], pin))
        if isinstance(table, AnyIndex) and (pin := self._pins.get(getattr(table, "table", None))) is not None:
            return view_of(TableView(Source(self._stores[table.table], pin)), table)
        raise unknown_table(table, self._pins)

    def __contains__(self, table: object) -> bool:
        """Whether this table was registered when the snapshot was taken."""
        return table in self._pins

    def __iter__(self) -> Iterator[AnyTable]:
        """The tables, in order of registration."""
        return iter(self._pins)

    def __len__(self) -> int:
        """The number of tables."""
        return len(self._pins)

    def __repr__(self) -> str:
        """Every table with its revision."""
        return f"<Snapshot {', '.join([f'{t.name}@{pin.commit.revision}' for t, pin in self._pins.items()])}>"

    def _repr_html_(self) -> str:
        """Every table with its number of rows, for notebooks."""
        views = [(table.name, self[table]) for table in self]
        lines = [(name, len(view), view.revision, view.initialized) for name, view in views[:SHOWN]]
        return html_table(f"{len(views)} tables", ["table", "rows", "revision", "initialized"], lines, len(views))

    def dump(self, *tables: AnyTable, decoder: Decoder | None = None) -> Iterator[bytes]:
        """These tables, or all, as JSON lines, each with its newline, for `statedb.load`. Writers are not blocked.

        Rows are restored by their types: Structs, dataclasses, attrs classes, NamedTuples, tuples, also nested. A row
        that would not be restored equal raises TypeError now. If types are not enough, pass the same ``decoder`` here
        and to `load`. Raises UnknownTable.
        """
        return dump({table: self[table] for table in tables or self}, decoder)

    def _pin_of(self, store: TableStore) -> Pin:
        return self._pins[store.table]


def unhashable_table(tables: Iterable[Any], known: Mapping[Any, Any]) -> UnknownTable:
    """The error for a table that is not hashable, such as a list of tables."""
    found = [table for table in tables if type(table).__hash__ is None] or list(tables)
    return UnknownTable(
        f"{found[0]!r} is not a table; pass each table as an argument of its own "
        f"(tables: {', '.join([table.name for table in known])})"
    )


def unknown_table(table: Any, known: Mapping[Any, Any]) -> UnknownTable:
    if isinstance(table, AnyIndex):
        table = getattr(table, "table", table)
    name = getattr(table, "name", None)
    names = ", ".join([other.name for other in known]) or "none"
    if isinstance(table, str):
        return UnknownTable(
            f"{table!r} is a name; use the class, as in snapshot[Pods], or snapshot[db.table({table!r})] "
            f"(tables: {names})"
        )
    what = f"table {name!r}" if isinstance(table, type) and name else f"{table!r}"
    return UnknownTable(f"{what} is not part of this database (tables: {names}); register it, or take a new snapshot")
