"""Views of secondary indexes at one instant, and of the primary index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Generic, overload

from .bucket import Bucket
from .concern import key_concern, prefix_concern
from .errors import InvalidKey, RowNotFound, TransactionClosed
from .keys import Bounds, normal_prefix, prefix_edges, prefix_matcher, range_edges
from .notebook import SHOWN, html_table
from .schema import AnyIndex, K, R, T
from .source import Source, check_limit
from .states import Key
from .table_view import D, TableView
from .watch import Watch


class AnyIndexView(Generic[K, R]):
    """What all views of secondary indexes share."""

    __slots__ = ("_commit", "_get", "_index", "_source")

    def __init__(self, source: Source, index: AnyIndex[K, R]) -> None:
        """Made by snapshots and transactions."""
        self._source = source
        self._commit = source.commit
        self._get = source.store.rows.get
        self._index = source.store.indexes[index.position - 1]

    def __repr__(self) -> str:
        """The names of the table and the index."""
        return f"<{type(self).__name__} {self._source.store.name}.{self._index.index.name}>"

    def _repr_html_(self) -> str | None:
        """The first keys with their rows, for notebooks. None after the end of the transaction."""
        try:
            keys, total = list(islice(self._keys(), SHOWN)), len(self)
        except TransactionClosed:
            return None
        lines = [(self._as_given(key), ", ".join(map(repr, self._listed(key)))) for key in keys]
        title = f"{self._source.store.name}.{self._index.index.name}: {total:,} keys"
        return html_table(title, ["key", "rows"], lines, total)

    @staticmethod
    def _as_given(key: Key) -> Any:
        """A stored key in the form that users write."""
        return key

    def _listed(self, key: Key) -> tuple[R, ...]:
        """The rows under a stored key, in primary key order. Raises TransactionClosed."""
        entry = self._index.entries.get(key)
        keys = entry.ordered() if type(entry) is Bucket else () if entry is None else (entry,)
        rows = tuple(map(self._get, keys))
        if self._commit.link is None:
            return rows  # type: ignore[return-value]  # no link: each key has its row
        source = self._source
        source.check_open()
        if source.unchanged(self._index, key, keys):
            return rows  # type: ignore[return-value]
        return tuple(source.corrected(self._index, key, keys, rows).values())

    def _rows_of(self, entry: Any) -> tuple[R, ...]:
        """The newest rows of an index entry, in primary key order. Correct only if the commit has no link."""
        if type(entry) is Bucket:
            return tuple(map(self._get, entry.ordered()))  # type: ignore[arg-type]  # no link: each has its row
        return () if entry is None else (self._get(entry),)  # type: ignore[return-value]

    def _over(self, keys: Iterable[Key], limit: int | None = None, *, reverse: bool = False) -> tuple[R, ...]:
        """The rows under several stored keys, in the order of the keys, each row once, at its first key."""
        found: dict[Key, R] = {}
        for key in keys:
            listed = self._source.first_listed(self._index, key, limit, reverse=reverse)
            for primary in sorted(listed, reverse=reverse):
                found.setdefault(primary, listed[primary])
            if limit is not None and len(found) >= limit:
                break
        return tuple(list(found.values())[:limit])

    def __contains__(self, key: object) -> bool:
        """Whether any row is under this key. Cost: one dict lookup on the newest snapshot."""
        return self._has(self._index.index.normal(key))

    def _has(self, key: Key) -> bool:
        """Whether any row is under a stored key. Like rows, a bucket is read before the link."""
        entry = self._index.entries.get(key)
        there = bool(entry) if type(entry) is Bucket else entry is not None
        return there if self._commit.link is None else bool(self._listed(key))

    def __len__(self) -> int:
        """The number of keys that have rows. Cost: O(1) on the newest snapshot, O(keys) on others."""
        self._source.check_open()
        count = len(self._index.entries)
        return count if self._commit.link is None else len(tuple(self._keys()))

    def _keys(self, *, reverse: bool = False) -> Iterator[Key]:
        return filter(self._has, self._source.index_keys(self._index, None, None, reverse=reverse))


class _OrderedIndexView(AnyIndexView[K, R]):
    """Views of indexes whose keys have the order of the user's type."""

    __slots__ = ()

    def keys(self) -> tuple[K, ...]:
        """The index keys that have rows, in order."""
        self._source.check_open()
        return tuple(self._keys())

    def __iter__(self) -> Iterator[K]:
        """The index keys that have rows, in order."""
        return iter(self.keys())

    def __reversed__(self) -> Iterator[K]:
        """The index keys that have rows, in descending order."""
        self._source.check_open()
        return iter(tuple(self._keys(reverse=True)))

    def prefix(self, prefix: Any, *, reverse: bool = False) -> tuple[R, ...]:
        """The rows under a prefix of the index key, ordered by index key and then primary key, each row once."""
        return self._between(*prefix_edges(prefix), None, reverse=reverse)

    def range(
        self,
        start: K | None = None,
        stop: K | None = None,
        *,
        limit: int | None = None,
        reverse: bool = False,
        bounds: Bounds = "[)",
    ) -> tuple[R, ...]:
        """The rows with ``start <= index key < stop``, ordered by index key and then primary key, each row once.

        ``reverse`` gives descending order. ``bounds`` says which ends are included. Raises InvalidKey for a bound that
        cannot be compared with the keys, and ValueError for a negative limit.
        """
        check_limit(limit)
        return self._between(*range_edges(start, stop, bounds), limit, reverse=reverse)

    def _between(self, low: Any, high: Any, limit: int | None, *, reverse: bool) -> tuple[R, ...]:
        self._source.check_open()
        wanted = limit
        while True:
            try:
                keys = self._source.index_keys(self._index, low, high, wanted, reverse=reverse)
            except TypeError as error:
                raise self._source.not_comparable(self._index.index.name, error) from None
            rows = self._over(keys, limit, reverse=reverse)
            # A row may be under several keys, so there may be fewer rows than keys.
            if limit is None or wanted is None or len(rows) == limit or len(keys) != wanted:
                return rows
            wanted *= 2

    def watch_range(self, start: K | None = None, stop: K | None = None, *, bounds: Bounds = "[)") -> Watch:
        """A watch on the rows of a range, as in ``range``. Cost per commit: one comparison for each changed key."""
        return self._source.watch_range(self._index.position, range_edges(start, stop, bounds))

    def watch(self, key: K) -> Watch:
        """A watch on the rows under one index key, which need not exist yet."""
        return self._source.watch(key_concern(self._index.position, (key,)))

    def watch_prefix(self, prefix: Any) -> Watch:
        """A watch on the rows under a prefix of the index key."""
        normal, size = normal_prefix(prefix)
        return self._source.watch(prefix_concern(self._index.position, normal, prefix_matcher(prefix), size))


class UniqueIndexView(_OrderedIndexView[K, R]):
    """A unique index at one instant: index key -> row."""

    __slots__ = ("_primary_key",)

    def __init__(self, source: Source, index: AnyIndex[K, R]) -> None:
        """Made by snapshots and transactions."""
        super().__init__(source, index)
        self._primary_key = self._index.entries.get

    @overload
    def get(self, key: K, default: None = None) -> R | None: ...
    @overload
    def get(self, key: K, default: D) -> R | D: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """The row under this key, or the default. Cost: two dict lookups on the newest snapshot."""
        row = self._get(self._primary_key(key))  # None is never a primary key
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

    def values(self) -> tuple[R, ...]:
        """The rows, ordered by index key. A row with several keys appears once for each."""
        return tuple([self[key] for key in self.keys()])

    def items(self) -> tuple[tuple[K, R], ...]:
        """The pairs of index key and row, ordered by index key."""
        return tuple([(key, self[key]) for key in self.keys()])


class IndexView(_OrderedIndexView[K, R]):
    """An index at one instant: index key -> the rows under it, as a tuple in primary key order."""

    __slots__ = ()

    def __getitem__(self, key: K) -> tuple[R, ...]:
        """The rows under this key; an empty tuple if there are none. Cost: O(result)."""
        return self._listed(key)

    def get(self, key: K) -> tuple[R, ...]:
        """The same as ``view[key]``."""
        return self[key]

    def values(self) -> tuple[tuple[R, ...], ...]:
        """The rows under each key, ordered by index key."""
        return tuple([self[key] for key in self.keys()])

    def items(self) -> tuple[tuple[K, tuple[R, ...]], ...]:
        """The pairs of index key and the rows under it, ordered by index key."""
        return tuple([(key, self[key]) for key in self.keys()])


class TextPrefixIndexView(IndexView[T, R]):
    """An index of text or bytes at one instant: an `IndexView` that also finds the keys that are prefixes of a text.

    A key that equals the text counts as a prefix of it, and so does the empty key.
    """

    __slots__ = ()

    def longest(self, text: T) -> tuple[R, ...]:
        """The rows of the longest key that is a prefix of this text; empty if there is none.

        Several rows under one key come in primary key order. Cost: one lookup for each length of keys.
        """
        self._source.check_open()
        for key in reversed(self._beginnings(text)):
            rows = self._listed(key)
            if rows:
                return rows
        return ()

    def covering(self, text: T) -> tuple[R, ...]:
        """The rows of every key that is a prefix of this text, the shortest key first."""
        self._source.check_open()
        return self._over(self._beginnings(text))

    def watch_longest(self, text: T) -> Watch:
        """A watch on every key that is a prefix of this text. It trips when ``longest`` or ``covering`` may differ."""
        check_text(text)
        keys: list[Key] = [text[:size] for size in range(len(text) + 1)]
        return self._source.watch(key_concern(self._index.position, tuple(keys)))

    def _beginnings(self, text: T) -> list[T]:
        """The prefixes of the text that have a length that keys have or had, the shortest first.

        The lengths of the newest state are read before the layers, as in every read. Lengths are added and never
        removed.
        """
        check_text(text)
        lengths = set(self._index.lengths or ())
        for layer in self._source.layers():
            lengths.update(map(len, layer.index(self._index.position)))
        return [text[:size] for size in sorted(lengths) if size <= len(text)]


def check_text(text: Any) -> None:
    if not isinstance(text, (str, bytes)):
        raise InvalidKey(f"{text!r} is neither text nor bytes; give a str or bytes like the keys of the index")


class PrimaryIndexView(UniqueIndexView[K, R]):
    """The primary index with the interface of every other unique index. It reads through the view of its table."""

    __slots__ = ("_view",)

    def __init__(self, view: TableView[K, R]) -> None:
        """Made by ``snap[Services.primary]``."""
        self._view = view
        self._source = view._source

    def __repr__(self) -> str:
        """The name of the table."""
        return f"<PrimaryIndexView {self._source.store.name}>"

    def _repr_html_(self) -> str | None:
        """The first rows, for notebooks."""
        return self._view._repr_html_()

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

    def __len__(self) -> int:
        """The number of rows. Cost: O(1)."""
        return len(self._view)

    def __reversed__(self) -> Iterator[K]:
        """The keys in descending order."""
        return reversed(self._view)

    def prefix(self, prefix: Any, *, reverse: bool = False) -> tuple[R, ...]:
        """The rows under a key prefix, in order."""
        return self._view.prefix(prefix, reverse=reverse)

    def range(
        self,
        start: K | None = None,
        stop: K | None = None,
        *,
        limit: int | None = None,
        reverse: bool = False,
        bounds: Bounds = "[)",
    ) -> tuple[R, ...]:
        """The rows with ``start <= key < stop``, in order."""
        return self._view.range(start, stop, limit=limit, reverse=reverse, bounds=bounds)

    def watch_range(self, start: K | None = None, stop: K | None = None, *, bounds: Bounds = "[)") -> Watch:
        """A watch on the rows of a range."""
        return self._view.watch_range(start, stop, bounds=bounds)

    def watch(self, key: K) -> Watch:
        """A watch on one row, which need not exist yet."""
        return self._view.watch(key)

    def watch_prefix(self, prefix: Any) -> Watch:
        """A watch on the rows under a key prefix."""
        return self._view.watch_prefix(prefix)
