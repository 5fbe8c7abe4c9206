"""A table at one instant, as a mapping from primary key to row."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, NoReturn, TypeVar, cast, overload

from .concern import initializers_concern, key_concern, prefix_concern, table_concern
from .errors import InvalidKey, RowNotFound, TransactionClosed
from .keys import Bounds, normal_prefix, prefix_edges, prefix_matcher, range_edges
from .notebook import SHOWN, html_of_rows
from .schema import K, R
from .source import Entry, Source, check_limit
from .watch import Watch

D = TypeVar("D")
_WHOLE_TABLE: Any = object()


class _Rows(ValuesView[R]):
    __slots__ = ("_view",)

    def __init__(self, view: TableView[Any, R]) -> None:
        super().__init__(view)
        self._view = view

    def __iter__(self) -> Iterator[R]:
        return iter(self._view._rows_in_order())


class _Items(ItemsView[K, R]):
    __slots__ = ("_view",)

    def __init__(self, view: TableView[K, R]) -> None:
        super().__init__(view)
        self._view = view

    def __iter__(self) -> Iterator[tuple[K, R]]:
        key_of = self._view._source.store.key_of
        return iter([(key_of(row), row) for row in self._view._rows_in_order()])


_WRITES = ("insert", "insert_new", "insert_all", "replace", "modify", "delete", "delete_all", "clear")


class _OnlyInWriters:
    """A writing method that a read-only view does not have: its AttributeError tells how to write.

    Not a ``__getattr__`` of the view: with one, CPython 3.11 specializes no access to any attribute of the class, and
    a lookup takes 1.6 times as long.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, view: object, kind: type) -> NoReturn:
        raise AttributeError(
            f"{kind.__name__} has no attribute {self._name!r}: this view is read-only; "
            f"write with 'with db.write(T) as txn: txn[T].{self._name}(...)'"
        )


class TableView(Mapping[K, R]):
    """One table at one instant: a mapping from primary key to row, in key order, that never changes.

    Bind it once (``services = snap[Services]``) and look rows up through it: a lookup on the newest snapshot costs
    little more than one in a dict. Threads may share it.
    """

    __slots__ = ("_commit", "_get", "_source")

    def __init__(self, source: Source) -> None:
        """Made by snapshots and transactions."""
        self._source = source
        self._commit = source.pin.commit
        self._get = source.store.rows.get

    def __repr__(self) -> str:
        """The name, the number of rows and the revision."""
        return f"<{type(self).__name__} {self._source.store.name}: {len(self)} rows at revision {self.revision}>"

    def _repr_html_(self) -> str | None:
        """The first rows, for notebooks. None after the end of the transaction."""
        try:
            rows = self.range(limit=SHOWN)
        except TransactionClosed:
            return None
        title = f"{self._source.store.name}: {len(self):,} rows at revision {self.revision}"
        return html_of_rows(title, rows, len(self))

    # -- one row ---------------------------------------------------------------------------------------------

    @overload
    def get(self, key: K, default: None = None, /) -> R | None: ...
    @overload
    def get(self, key: K, default: R, /) -> R: ...
    @overload
    def get(self, key: K, default: D, /) -> R | D: ...
    def get(self, key: Any, default: Any = None, /) -> Any:
        """The row, or the default if there is none. Cost: one dict lookup on the newest snapshot."""
        row = self._get(key)
        if self._commit.link is not None:
            row = self._source.row(key, row)
        return default if row is None else row

    def __getitem__(self, key: K) -> R:
        """The row. Raises RowNotFound, which is a KeyError."""
        row = self.get(key)
        if row is None:
            raise RowNotFound(f"table {self._source.store.name!r} has no row {key!r}")
        return row

    def __contains__(self, key: object) -> bool:
        """Whether there is a row under this key."""
        return self.get(cast(K, key)) is not None

    def entry(self, key: K) -> Entry[R] | None:
        """The row with its revision, or None."""
        self._source.check_open()
        return self._source.entry(key)

    # -- all rows --------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """The number of rows. Cost: O(1)."""
        return self._commit.count

    def __iter__(self) -> Iterator[K]:
        """The primary keys in order, as they are at this moment."""
        key_of = self._source.store.key_of
        return iter([key_of(row) for row in self._rows_in_order()])

    def keys(self) -> KeysView[K]:
        """The primary keys, in order."""
        return KeysView(self)

    def values(self) -> ValuesView[R]:
        """The rows, in key order. Cost: O(n) once for each state of the table, then only the iteration."""
        return _Rows(self)

    def items(self) -> ItemsView[K, R]:
        """The pairs of key and row, in key order."""
        return _Items(self)

    def _rows_in_order(self) -> list[R]:
        """All rows in order; do not change the list. It is cached with the state, which never changes."""
        pin = self._source.pin
        ordered = pin.ordered
        if ordered is None:
            ordered = pin.ordered = self._source.all_in_order()
        return ordered

    def __reversed__(self) -> Iterator[K]:
        """The primary keys in descending order."""
        key_of = self._source.store.key_of
        return iter([key_of(row) for row in reversed(self._rows_in_order())])

    def first(self) -> R | None:
        """The row with the smallest key; None if there are no rows. Cost: O(log n)."""
        rows = self.range(limit=1)
        return rows[0] if rows else None

    def last(self) -> R | None:
        """The row with the largest key; None if there are no rows. Cost: O(log n)."""
        rows = self.range(limit=1, reverse=True)
        return rows[0] if rows else None

    def prefix(self, prefix: Any, *, reverse: bool = False) -> tuple[R, ...]:
        """The rows under a key prefix, in order: a leading part of text or bytes, or a tuple of leading fields.

        Cost: O(log n + result) once the order is up to date. Raises InvalidKey for a value that is not a prefix.
        """
        self._source.check_open()
        try:
            return tuple(self._source.ordered(*prefix_edges(prefix), reverse=reverse))
        except TypeError as error:
            raise self._source.not_comparable("primary", error) from None

    def range(
        self,
        start: K | None = None,
        stop: K | None = None,
        *,
        limit: int | None = None,
        reverse: bool = False,
        bounds: Bounds = "[)",
    ) -> tuple[R, ...]:
        """The rows with ``start <= key < stop``, in order, at most ``limit``. None means no bound.

        ``reverse`` gives descending order. ``bounds`` says which ends are included. Raises InvalidKey for a bound that
        cannot be compared with the keys, and ValueError for a negative limit.
        """
        self._source.check_open()
        check_limit(limit)
        try:
            return tuple(self._source.ordered(*range_edges(start, stop, bounds), limit, reverse=reverse))
        except TypeError as error:
            raise self._source.not_comparable("primary", error) from None

    def key_at(self, position: int) -> K | None:
        """The key at a position in key order, from 0. None after the last row.

        Cost: O(log n) on the newest state once the order is up to date, O(n) on an older one. Raises ValueError for a
        negative position.
        """
        self._source.check_open()
        if position < 0:
            raise ValueError(f"a position must be 0 or more, not {position}")
        if position >= len(self):
            return None
        if self._commit.link is None:
            try:
                key = cast(K, self._source.store.order.at(position))
            except IndexError:
                key = None  # a commit came in between
            if self._commit.link is None:  # checked after the read, so the order was still of this state
                return key
        return cast(K, self._source.store.key_of(self._rows_in_order()[position]))

    def entries(self, rows: Iterable[R] | None = None) -> tuple[Entry[R], ...]:
        """Rows of this view, each with its revision, in the given order; all rows by default. Raises RowNotFound.

        >>> from statedb import Database, Table, UniqueIndex
        >>> class Words(Table[str, str], name="words"):
        ...     primary = UniqueIndex[str, str](lambda word: word)
        >>> db = Database(Words)
        >>> _ = db.insert(Words, "hello")
        >>> words = db.snapshot()[Words]
        >>> words.entries(words.prefix("he"))
        (Entry(row='hello', revision=1),)
        """
        source = self._source
        source.check_open()
        key_of = source.store.key_of
        found = [source.entry(key_of(row)) for row in (self._rows_in_order() if rows is None else rows)]
        if None in found:
            raise RowNotFound(f"table {source.store.name!r}: one of these rows is not in this view")
        return tuple(cast("list[Entry[R]]", found))

    def since(self, revision: int) -> tuple[Entry[R], ...]:
        """The rows written after a revision, in revision order. Cost: O(n). To follow a table use ``db.changes``."""
        self._source.check_open()
        return tuple([Entry(row, written) for row, written in self._source.since(revision)])

    # -- about the table -------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """The revision of the table. It grows by one with every insert, replace and delete that changed a row."""
        return self._commit.revision

    @property
    def initialized(self) -> bool:
        """Whether every source that promised to fill the table has done so. True if none promised."""
        return not self._commit.pending

    @property
    def pending_initializers(self) -> tuple[str, ...]:
        """The names of the sources that have not filled the table yet, in order of registration."""
        return tuple([initializer.name for initializer in self._commit.pending])

    @overload
    def watch(self) -> Watch: ...
    @overload
    def watch(self, key: K) -> Watch: ...
    def watch(self, key: Any = _WHOLE_TABLE) -> Watch:
        """A watch on one row, which need not exist yet. Without a key, on the whole table, initializers included."""
        if key is _WHOLE_TABLE:
            return self._source.watch(table_concern())
        if key is None:
            raise InvalidKey("None is never a key; watch() without a key watches the whole table")
        return self._source.watch(key_concern(0, (key,)))

    def watch_initializers(self) -> Watch:
        """A watch on initializers only: it trips when one begins or finishes, and not when rows change."""
        return self._source.watch(initializers_concern())

    def watch_range(self, start: K | None = None, stop: K | None = None, *, bounds: Bounds = "[)") -> Watch:
        """A watch on the rows of a range, as in ``range``. Cost per commit: one comparison for each changed row."""
        return self._source.watch_range(0, range_edges(start, stop, bounds))

    def watch_prefix(self, prefix: Any) -> Watch:
        """A watch on the rows under a key prefix."""
        normal, size = normal_prefix(prefix)
        return self._source.watch(prefix_concern(0, normal, prefix_matcher(prefix), size))


for _name in _WRITES:  # after the class, so that type checkers do not know these attributes
    setattr(TableView, _name, _OnlyInWriters(_name))
