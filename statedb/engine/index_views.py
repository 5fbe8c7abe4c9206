"""Indexes at one instant, whose keys the user orders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, overload

from .bucket import Bucket
from .concern import key_concern, prefix_concern
from .errors import RowNotFound
from .keys import normal_prefix, prefix_edges, prefix_matcher
from .schema import AnyIndex, K, R
from .source import Source, check_limit
from .states import Key
from .table_view import D, TableView
from .watch import Watch


class AnyIndexView(Generic[K, R]):
    """What views of secondary indexes share."""

    __slots__ = ("_commit", "_get", "_index", "_source")

    def __init__(self, source: Source, index: AnyIndex[K, R]) -> None:
        """Snapshots and transactions make these."""
        self._source = source
        self._commit = source.commit
        self._get = source.store.rows.get
        self._index = source.store.indexes[index.position - 1]

    def __repr__(self) -> str:
        """Table and index."""
        return f"<{type(self).__name__} {self._source.store.name}.{self._index.index.name}>"

    def _listed(self, key: Key) -> tuple[R, ...]:
        """The rows under a stored key, in primary key order. Raises TransactionClosed."""
        rows = self._rows_of(self._index.entries.get(key))
        if self._commit.link is None:
            return rows
        source = self._source
        source.check_open()
        if not source.layers():
            return rows
        found = source.listed(self._index, key)
        return tuple([found[key] for key in sorted(found)])

    def _rows_of(self, entry: Any) -> tuple[R, ...]:
        """The newest rows that an entry names, in primary key order; right where the commit has no link."""
        if type(entry) is Bucket:
            return tuple(map(self._get, entry.ordered()))  # type: ignore[arg-type]  # no link: each has its row
        return () if entry is None else (self._get(entry),)  # type: ignore[return-value]

    def _over(self, keys: Iterable[Key], limit: int | None = None) -> tuple[R, ...]:
        """The rows under several stored keys, each once, at its first key."""
        found: dict[Key, R] = {}
        for key in keys:
            listed = self._source.listed(self._index, key)
            for primary in sorted(listed):
                found.setdefault(primary, listed[primary])
            if limit is not None and len(found) >= limit:
                break
        return tuple(list(found.values())[:limit])

    def __contains__(self, key: object) -> bool:
        """Whether any row stands under this key."""
        return bool(self._listed(self._index.index.normal(key)))

    def _keys(self) -> Iterator[Key]:
        keys = self._source.index_keys(self._index, None, None)
        return (key for key in keys if self._listed(key))


class _OrderedIndexView(AnyIndexView[K, R]):
    """Views of indexes whose keys the user orders."""

    __slots__ = ()

    def keys(self) -> tuple[K, ...]:
        """The index keys that have rows, in order."""
        self._source.check_open()
        return tuple(self._keys())

    def prefix(self, prefix: Any) -> tuple[R, ...]:
        """The rows under a prefix of the index key, by index key and then primary key, each row once."""
        self._source.check_open()
        low, high = prefix_edges(prefix)
        try:
            return self._over(self._source.index_keys(self._index, low, high))
        except TypeError as error:
            raise self._source.not_comparable(self._index.index.name, error) from None

    def range(self, start: K | None = None, stop: K | None = None, *, limit: int | None = None) -> tuple[R, ...]:
        """The rows with ``start <= index key < stop``, by index key and then primary key, each row once.

        Raises InvalidKey for a bound that does not compare with the keys, ValueError for a limit below zero.
        """
        self._source.check_open()
        check_limit(limit)
        try:
            keys = self._source.index_keys(self._index, start, stop)
        except TypeError as error:
            raise self._source.not_comparable(self._index.index.name, error) from None
        return self._over(keys, limit)

    def watch(self, key: K) -> Watch:
        """A watch on the rows under one index key, present or not."""
        return self._source.watch(key_concern(self._index.position, [key]))

    def watch_prefix(self, prefix: Any) -> Watch:
        """A watch on the rows under a prefix of the index key."""
        normal, size = normal_prefix(prefix)
        return self._source.watch(prefix_concern(self._index.position, normal, prefix_matcher(prefix), size))


class UniqueIndexView(_OrderedIndexView[K, R]):
    """A unique index at one instant: index key -> row."""

    __slots__ = ("_primary_key",)

    def __init__(self, source: Source, index: AnyIndex[K, R]) -> None:
        """Snapshots and transactions make these."""
        super().__init__(source, index)
        self._primary_key = self._index.entries.get

    @overload
    def get(self, key: K, default: None = None) -> R | None: ...
    @overload
    def get(self, key: K, default: D) -> R | D: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """The row under this key, or the default. Cost: two dict lookups on the newest snapshot."""
        row = self._get(self._primary_key(key))  # None is nobody's primary key
        if self._commit.link is not None:
            rows = self._listed(key)
            row = rows[0] if rows else None
        return default if row is None else row

    def __getitem__(self, key: K) -> R:
        """The row under this key. Raises RowNotFound, which is a KeyError."""
        row = self.get(key)
        if row is None:
            raise RowNotFound(f"index {self._source.store.name}.{self._index.index.name} has no row under {key!r}")
        return row


class IndexView(_OrderedIndexView[K, R]):
    """An index at one instant: index key -> the rows under it, as a tuple in primary key order."""

    __slots__ = ()

    def __getitem__(self, key: K) -> tuple[R, ...]:
        """The rows under this key; the empty tuple where there are none. Cost: O(result)."""
        return self._listed(key)

    def get(self, key: K) -> tuple[R, ...]:
        """The same as ``view[key]``."""
        return self[key]


class PrimaryIndexView(UniqueIndexView[K, R]):
    """The primary index by the same words as every other unique one; it reads through its table's view."""

    __slots__ = ("_view",)

    def __init__(self, view: TableView[K, R]) -> None:
        """``snap[Services.primary]`` gives one."""
        self._view = view
        self._source = view._source

    def __repr__(self) -> str:
        """Table and index."""
        return f"<PrimaryIndexView {self._source.store.name}>"

    def __getitem__(self, key: K) -> R:
        """The row under this key. Raises RowNotFound."""
        return self._view[key]

    def get(self, key: Any, default: Any = None) -> Any:
        """The row under this key, or the default."""
        return self._view.get(key, default)

    def __contains__(self, key: object) -> bool:
        """Whether there is a row under this key."""
        return key in self._view

    def keys(self) -> tuple[K, ...]:
        """The keys, in order."""
        return tuple(self._view)

    def prefix(self, prefix: Any) -> tuple[R, ...]:
        """The rows under a key prefix, in order."""
        return self._view.prefix(prefix)

    def range(self, start: K | None = None, stop: K | None = None, *, limit: int | None = None) -> tuple[R, ...]:
        """The rows with ``start <= key < stop``, in order."""
        return self._view.range(start, stop, limit=limit)

    def watch(self, key: K) -> Watch:
        """A watch on one row, present or not."""
        return self._view.watch(key)

    def watch_prefix(self, prefix: Any) -> Watch:
        """A watch on the rows under a key prefix."""
        return self._view.watch_prefix(prefix)
