"""Reading: one rule for every query, every age of snapshot, and a commit that is half done.

A reader waits for no transaction. It reads the newest structure first, in single atomic steps, and only then looks
whether its commit has a link. No link: the answer is right. A link: the rows that changed since are dropped from
the candidates, and the older states of those rows that match are added (``layers_over``).

Atomic are ``dict.get``, ``list(set)``, ``list(dict)``, ``dict.copy``; never ``.items()``, a comprehension or a loop
over a shared container: the collector can run Python code, and with it a writer, in between.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from functools import partial
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar, cast, overload

from .errors import InvalidKey, RowNotFound
from .history import Commit, Key, Layer, Pin, Row, layers_over, links
from .keys import normal_prefix, prefix_edges, prefix_matcher
from .networks import covering, length_of, pack, span, unpack
from .schema import AnyIndex, Index, K, N, PrefixIndex, R, UniqueIndex
from .store import Bucket, IndexStore, TableStore
from .watch import Concern, Watch, key_concern, prefix_concern, table_concern

D = TypeVar("D")
_WHOLE_TABLE: Any = object()
_REVISION = itemgetter(1)


class Entry(NamedTuple, Generic[R]):
    """A row and the revision of the table at which it was written."""

    row: R
    revision: int


class Source:
    """What a view reads from: a table's newest state and the layers over it. One for each view."""

    __slots__ = ("pin", "store")

    def __init__(self, store: TableStore, pin: Pin) -> None:
        """The state of ``store`` at ``pin``."""
        self.store = store
        self.pin = pin

    def layers(self) -> tuple[Layer, ...]:
        """The layers over the newest rows, the strongest first. Asked for after the newest rows were read."""
        if self.pin.commit.link is None:
            return ()
        return layers_over(self.pin, self.store.root, self.store.table)

    @property
    def commit(self) -> Commit:
        """What views ask whether the newest rows are the answer: they are not once it has a link."""
        return self.pin.commit

    def check_open(self) -> None:
        """Raise where nothing may be read any more: snapshots can be read for ever."""

    def not_comparable(self, index: str, error: TypeError) -> InvalidKey:
        """What to raise for a bound or prefix of another type than the keys'."""
        if isinstance(error, InvalidKey):
            return error
        return InvalidKey(
            f"table {self.store.name!r}, index {index!r}: {error}; give bounds and prefixes of the keys' own type"
        )

    # -- by primary key --------------------------------------------------------------------------------------

    def row(self, key: Key) -> Row | None:
        """The row under a primary key."""
        row = self.store.rows.get(key)
        for layer in self.layers():
            if key in layer.states:
                return layer.row(key)
        return row

    def entry(self, key: Key) -> Entry[Any] | None:
        """The row and its revision."""
        row = self.store.rows.get(key)
        revision = self.store.revisions.get(key)
        for layer in self.layers():
            if key in layer.states:
                state = layer.states[key]
                return None if state is None or state[2] else Entry(state[0], state[1])
        return None if row is None or revision is None else Entry(row, revision)

    # -- several rows ----------------------------------------------------------------------------------------

    def resolve(self, keys: list[Key], matching: Callable[[Layer], Iterable[Key]]) -> dict[Key, Row]:
        """Rows for candidates of the newest structure, corrected by the layers; in no order.

        ``matching`` gives the keys of a layer's rows that belong to the answer.
        """
        rows = list(map(self.store.rows.get, keys))
        layers = self.layers()
        if not layers:
            return dict(zip(keys, rows))
        found: dict[Key, Row] = {key: row for key, row in zip(keys, rows) if row is not None}
        for layer in layers:
            for key in found.keys() & layer.states.keys():  # at C speed, over the smaller of the two
                del found[key]
        for depth, layer in enumerate(layers):
            for key in matching(layer):
                row = layer.row(key)
                if row is not None and not shadowed(key, layers[:depth]):
                    found[key] = row
        return found

    def ordered(self, low: Any = None, high: Any = None, limit: int | None = None) -> list[Row]:
        """The rows with ``low <= primary key < high``, in order, at most ``limit``."""
        wanted = limit
        while True:
            keys = self.store.order.between(low, high, limit=wanted)
            rows = list(map(self.store.rows.get, keys))
            if not self.layers():
                return cast("list[Row]", rows)
            # Where candidates were cut off, there may be rows beyond the last one that we have not seen.
            last = keys[-1] if keys and len(keys) == wanted else None
            found = self.resolve(keys, partial(Layer.between, position=0, low=low, high=high, last=last))
            in_order = sorted(found)[:limit]
            if limit is None or last is None or len(in_order) == limit:
                return [found[key] for key in in_order]
            wanted = 2 * len(keys)

    def since(self, revision: int) -> list[tuple[Row, int]]:
        """The rows written after a revision, with theirs, in revision order. Cost: O(n), there is no revision index."""
        rows = self.store.rows.copy()
        revisions = self.store.revisions.copy()
        layers = self.layers()
        for layer in reversed(layers):
            for key in list(layer.states):
                state = layer.states[key]
                if state is None or state[2]:
                    rows.pop(key, None)
                else:
                    rows[key], revisions[key] = state[0], state[1]
        found = list(zip(rows.values(), map(revisions.__getitem__, rows)))  # a row without one would lie in a layer
        if revision > 0:
            found = [each for each in found if each[1] > revision]
        found.sort(key=_REVISION)
        return found

    # -- by a secondary index --------------------------------------------------------------------------------

    def listed(self, index: IndexStore, key: Key) -> dict[Key, Row]:
        """The rows under one index key."""
        position = index.position
        return self.resolve(
            index.primary_keys(key),
            lambda layer: [k for k in layer.index(position).get(key, ()) if layer.has(k, position, key)],
        )

    def index_keys(self, index: IndexStore, low: Any, high: Any) -> list[Key]:
        """The index keys of a range that may have rows, in order; some may turn out to have none."""
        keys = index.order.between(low, high)
        layers = self.layers()
        if not layers:
            return keys
        more = {key for layer in layers for key in layer.between(index.position, low, high)}
        return sorted(more.union(keys))

    def watch(self, concern: Concern, size: int = 0) -> Watch:
        """A watch on what this view shows: registered first, then compared with what happened since."""
        self.check_open()
        store, commit = self.store, self.pin.commit
        watch = store.registry.add(concern, commit.sequence, size)
        head = store.pin  # held, so that compaction does not jump over it: the walk must not go beyond the root
        for undo, redo, following in links(commit, head.commit):
            if concern.touched_by(undo, redo) or (concern.place == "table" and commit.pending != following.pending):
                watch.trip()
                break
            commit = following
        return watch


def shadowed(key: Key, layers: Iterable[Layer]) -> bool:
    """Whether a layer says something else about the key."""
    return any(key in layer.states for layer in layers)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 0:
        raise ValueError(f"a limit must be 0 or more, or None for no limit, and not {limit}")


def check_key(key: Key) -> None:
    """Raise TypeError for a key that no dict can hold."""
    hash(key)


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
        _check_limit(limit)
        try:
            return tuple(self._source.ordered(start, stop, limit))
        except TypeError as error:
            raise self._source.not_comparable("primary", error) from None

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
        _check_limit(limit)
        try:
            keys = self._source.index_keys(self._index, start, stop)
        except TypeError as error:
            raise self._source.not_comparable(self._index.index.name, error) from None
        return self._over(keys, limit)

    def watch(self, key: K) -> Watch:
        """A watch on the rows under one index key, present or not."""
        check_key(key)
        return self._source.watch(key_concern(self._index.position, [key]))

    def watch_prefix(self, prefix: Any) -> Watch:
        """A watch on the rows under a prefix of the index key."""
        normal, size = normal_prefix(prefix)
        return self._source.watch(prefix_concern(self._index.position, normal, prefix_matcher(prefix)), size)


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


class PrefixIndexView(AnyIndexView[N, R]):
    """An index of IP networks at one instant.

    Networks and addresses are given as text, 4 or 16 packed bytes, or ipaddress objects. Raises InvalidKey for others.
    """

    __slots__ = ()

    def __getitem__(self, network: N) -> tuple[R, ...]:
        """The rows of exactly this network, in primary key order."""
        return self._listed(self._index.index.normal(network))

    def get(self, network: N) -> tuple[R, ...]:
        """The same as ``view[network]``."""
        return self[network]

    def keys(self) -> tuple[str, ...]:
        """The networks that have rows, as text: by family, address, and the wider first."""
        self._source.check_open()
        return tuple([str(unpack(key)) for key in self._keys()])

    def longest(self, address: N) -> tuple[R, ...]:
        """The rows of the longest network that covers this address or network; empty where none does.

        Several rows may share it: they come in primary key order. Cost: one lookup for each prefix length present.
        """
        rows = self._rows_of(self._index.nearest(pack(address)))
        if self._commit.link is None:
            return rows
        self._source.check_open()
        if not self._source.layers():
            return rows
        for key in reversed(self._covering(address)):
            rows = self._listed(key)
            if rows:
                return rows
        return ()

    def covering(self, network: N) -> tuple[R, ...]:
        """The rows of every network that covers this one, itself included, the widest first."""
        self._source.check_open()
        return self._over(self._covering(network))

    def within(self, network: N) -> tuple[R, ...]:
        """The rows of every network inside this one, itself included, parents before children."""
        self._source.check_open()
        outer = self._index.index.normal(network)
        first, last = span(outer)
        size = length_of(outer)
        keys = self._source.index_keys(self._index, first, last + b"\0")
        return self._over([key for key in keys if length_of(key) >= size])

    def _covering(self, network: N) -> list[bytes]:
        """The packed networks that may cover this one, the widest first."""
        packed = self._index.index.normal(network)
        lengths = set(self._index.lengths or ())
        for layer in self._source.layers():
            lengths.update(map(length_of, layer.index(self._index.position)))
        return covering(packed, list(lengths))

    def watch(self, network: N) -> Watch:
        """A watch on the rows of exactly this network."""
        return self._source.watch(key_concern(self._index.position, [self._index.index.normal(network)]))

    def watch_longest(self, address: N) -> Watch:
        """A watch on every network that covers this address: trips when ``longest`` or ``covering`` may differ."""
        packed = self._index.index.normal(address)
        return self._source.watch(
            key_concern(self._index.position, covering(packed, list(range(length_of(packed) + 1))))
        )

    def watch_within(self, network: N) -> Watch:
        """A watch on every network inside this one."""
        outer = self._index.index.normal(network)
        first, last = span(outer)
        size = length_of(outer)
        concern = prefix_concern(
            self._index.position, outer, lambda key: first <= key <= last and length_of(key) >= size
        )
        return self._source.watch(concern, size)


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


def view_of(table: TableView[Any, Any], index: AnyIndex[Any, Any]) -> Any:
    """The view of any index of a table."""
    if index.position == 0:
        return PrimaryIndexView(table)
    source = table._source
    if isinstance(index, PrefixIndex):
        return PrefixIndexView(source, index)
    if isinstance(index, UniqueIndex):
        return UniqueIndexView(source, index)
    return IndexView(source, cast("Index[Any, Any]", index))
