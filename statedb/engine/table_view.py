"""A table at one instant, as a mapping from primary key to row."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any, TypeVar, cast, overload

from .concern import key_concern, prefix_concern, table_concern
from .errors import RowNotFound
from .keys import normal_prefix, prefix_edges, prefix_matcher
from .schema import K, R
from .source import Entry, Source, check_key, check_limit
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


class TableView(Mapping[K, R]):
    """One table at one instant: a mapping from primary key to row, in key order, that never changes.

    Bind it once (``services = snap[Services]``) and look rows up through it: a lookup on the newest snapshot costs
    little more than the dict's own. May be shared by threads.
    """

    __slots__ = ("_commit", "_get", "_source")

    def __init__(self, source: Source) -> None:
        """Snapshots and transactions make these."""
        self._source = source
        self._commit = source.pin.commit
        self._get = source.store.rows.get

    def __repr__(self) -> str:
        """Table, number of rows and revision."""
        return f"<{type(self).__name__} {self._source.store.name}: {len(self)} rows at revision {self.revision}>"

    # -- one row ---------------------------------------------------------------------------------------------

    @overload
    def get(self, key: K, default: None = None, /) -> R | None: ...
    @overload
    def get(self, key: K, default: R, /) -> R: ...
    @overload
    def get(self, key: K, default: D, /) -> R | D: ...
    def get(self, key: Any, default: Any = None, /) -> Any:
        """The row, or the default where there is none. Cost: one dict lookup on the newest snapshot."""
        row = self._get(key)
        if self._commit.link is not None:
            row = self._source.row(key)
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
        """How many rows. Cost: O(1)."""
        return self._commit.count

    def __iter__(self) -> Iterator[K]:
        """The primary keys in order, as they stand at this moment."""
        key_of = self._source.store.key_of
        return iter([key_of(row) for row in self._rows_in_order()])

    def keys(self) -> KeysView[K]:
        """The primary keys, in order."""
        return KeysView(self)

    def values(self) -> ValuesView[R]:
        """The rows, in key order. Cost: O(n) once for each state of the table, then nothing but the loop."""
        return _Rows(self)

    def items(self) -> ItemsView[K, R]:
        """The pairs of key and row, in key order."""
        return _Items(self)

    def _rows_in_order(self) -> list[R]:
        pin = self._source.pin
        ordered = pin.ordered
        if ordered is None:
            keys = self._source.store.order.between()
            ordered = cast("list[R]", list(map(self._get, keys)))
            if self._commit.link is not None:
                return self._source.ordered()
            pin.ordered = ordered
            if self._commit.link is not None:
                pin.ordered = None  # a commit came meanwhile and has dropped the cache already: keep nothing
        return ordered  # no link: every key had its row

    def prefix(self, prefix: Any) -> tuple[R, ...]:
        """The rows under a key prefix, in order: a leading part of text or bytes, or leading fields in a tuple.

        Cost: O(log n + result) once the order is up to date. Raises InvalidKey for what is no prefix.
        """
        self._source.check_open()
        try:
            return tuple(self._source.ordered(*prefix_edges(prefix)))
        except TypeError as error:
            raise self._source.not_comparable("primary", error) from None

    def range(self, start: K | None = None, stop: K | None = None, *, limit: int | None = None) -> tuple[R, ...]:
        """The rows with ``start <= key < stop``, in order, at most ``limit``; None leaves that side open.

        Raises InvalidKey for a bound that does not compare with the keys, ValueError for a limit below zero.
        """
        self._source.check_open()
        check_limit(limit)
        try:
            return tuple(self._source.ordered(start, stop, limit))
        except TypeError as error:
            raise self._source.not_comparable("primary", error) from None

    def key_at(self, position: int) -> K | None:
        """The key that stands at a position in key order, from 0; None beyond the last row.

        Cost: O(log n) on the newest state once the order is up to date, O(n) on an older one.
        Raises ValueError below 0.
        """
        self._source.check_open()
        if position < 0:
            raise ValueError(f"a position is 0 or more, not {position}")
        if position >= len(self):
            return None
        if self._commit.link is None:
            try:
                key = cast(K, self._source.store.order.at(position))
            except IndexError:
                key = None  # a commit has come meanwhile
            if self._commit.link is None:  # after the look: no commit came before it, so the order was this state's
                return key
        return cast(K, self._source.store.key_of(self._rows_in_order()[position]))

    def since(self, revision: int) -> tuple[Entry[R], ...]:
        """The rows written after a revision, in revision order. Cost: O(n); to follow a table use ``db.changes``."""
        self._source.check_open()
        return tuple([Entry(row, written) for row, written in self._source.since(revision)])

    # -- about the table -------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """The table's revision: grows by one with every insert, replace and delete that did something."""
        return self._commit.revision

    @property
    def initialized(self) -> bool:
        """Whether every source that promised to fill the table has done so; True where none promised."""
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
        """A watch on one row, present or not; without a key, on the whole table, initializers included."""
        if key is _WHOLE_TABLE:
            return self._source.watch(table_concern())
        check_key(key)
        return self._source.watch(key_concern(0, [key]))

    def watch_prefix(self, prefix: Any) -> Watch:
        """A watch on the rows under a key prefix."""
        normal, size = normal_prefix(prefix)
        return self._source.watch(prefix_concern(0, normal, prefix_matcher(prefix)), size)
