"""What a source says, into tables: one transaction per batch. Knows no transport and no format.

Events gather until nothing more is waiting, at most 50 ms or 10 000 rows; of an object's events in a batch the last
one counts. A list replaces exactly what its source owns, in one transaction, and is the only thing that initialises a
table. A bad object is recorded, keeps its last good rows and stops nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, assert_never
from weakref import WeakKeyDictionary

import msgspec

from statedb import Database, DuplicateKey, IndexFunctionError, InvalidKey, InvalidRow

from .claims import Claims
from .events import Bad, Delete, Event, Listed, Upsert, excerpt
from .source import AnyTable
from .status import Status

_Changes: TypeAlias = dict[AnyTable, dict[Any, Any]]
"""table -> key -> row or None (Any: tables of many key and row types)."""

_BATCH_S = 0.05
_BATCH_ROWS = 10_000
_ROW_ERRORS = (InvalidKey, InvalidRow, IndexFunctionError, DuplicateKey)

_promised: WeakKeyDictionary[Database, dict[tuple[str, AnyTable], Any]] = WeakKeyDictionary()
"""By cluster and table, the initializer that is pending. Its source may have ended: the next one takes it over."""


class Feed(msgspec.Struct, frozen=True):
    """A part of a source that is listed as a whole, and the tables its objects give rows to.

    ``mixed``: one object may give rows of several types, which are sorted out by their type; rows of tables that the
    feed does not fill are left out.
    """

    name: str
    tables: tuple[AnyTable, ...]
    mixed: bool = False


class Split(msgspec.Struct):
    """Where the time of an ingest went, in seconds since its start; for benchmarks."""

    client_s: float = 0.0
    decode_s: float = 0.0
    claims_s: float = 0.0
    commit_s: float = 0.0
    rows: int = 0


class Reflector:
    """Writes the events of one source. For one thread at a time.

    `begin` first; then `offer` each event and `flush` when nothing more is waiting or the batch is `due`.
    """

    def __init__(
        self,
        db: Database,
        cluster: str,
        backend: str,
        feeds: Sequence[Feed],
        status: Status,
        *,
        clock: Callable[[], float] = time.monotonic,
        batch_s: float = _BATCH_S,
        batch_rows: int = _BATCH_ROWS,
    ) -> None:
        """``feeds`` are all that will ever be offered; a table may be filled by several of them."""
        self.split = Split()
        self._db = db
        self._cluster = cluster
        self._name = f"{backend}/{cluster}"
        self._feeds = {feed.name: feed for feed in feeds}
        self._status = status
        self._clock = clock
        self._batch_s = batch_s
        self._batch_rows = batch_rows
        tables = dict.fromkeys(table for feed in feeds for table in feed.tables)
        self._claims: dict[AnyTable, Claims[Any, Any]] = {table: Claims(table.key_of) for table in tables}
        self._unlisted = {table: {f.name for f in feeds if table in f.tables} for table in tables}
        self._tokens: dict[AnyTable, Any] = {}
        self._inherited: dict[AnyTable, list[Any]] = {}
        self._pending: dict[str, Upsert | Delete] = {}
        self._pending_rows = 0
        self._since: float | None = None
        self._withheld: dict[str, set[str]] = {}
        self._uncounted = False
        self.withholds = False
        """Whether single deletes are withheld as well, until `release`: the server says them, and is not believed."""

    @property
    def tables(self) -> tuple[AnyTable, ...]:
        """The tables that the feeds fill."""
        return tuple(self._claims)

    def begin(self, *, gates: bool = True) -> None:
        """Become the tables' source and register their initializers. Raises OwnedElsewhere.

        Without ``gates`` nobody waits for this source: the tables may be initialized before it has brought a list.
        Rows of this cluster that an earlier source left, or a warm start brought, stay until the first full list tells
        which are true; until then the table is stale. What an earlier source promised and never brought, this one does.
        """
        self._status.own()
        promised = _promised.setdefault(self._db, {})
        with self._db.write(*self._claims) as txn:
            for table in self._claims:
                left = promised.get((self._cluster, table))
                if left is not None:
                    txn[table].finish_initializer(left)
                if gates or left is not None:
                    self._tokens[table] = txn[table].begin_initializer(self._name)
                self._inherited[table] = [table.key_of(row) for row in _rows_of_cluster(txn[table], self._cluster)]
        promised |= {(self._cluster, table): token for table, token in self._tokens.items()}
        self._status.inherit([table for table, keys in self._inherited.items() if keys])

    def offer(self, event: Event) -> None:
        """Take an event into the batch. A list is written at once, before what was offered of other feeds."""
        match event:
            case Delete() if self.withholds:
                if self._is_known(event):
                    self._withheld.setdefault(event.feed, set()).add(event.object)
                    self._uncounted = True
            case Upsert() | Delete():
                self._status.heal(event.feed, event.object)
                if self._withheld:
                    self._confirm(event.feed, event.object)
                self._pending.pop(event.object, None)  # the last word takes the last place
                self._pending[event.object] = event
                self._pending_rows += len(event.rows) if isinstance(event, Upsert) else 1
                if self._since is None:
                    self._since = self._clock()
            case Bad():
                self._reject(event)
            case Listed():
                self._pending = {name: e for name, e in self._pending.items() if e.feed != event.feed}
                self._list(event)
            case _:
                assert_never(event)

    @property
    def due(self) -> bool:
        """Whether the batch must not wait for more."""
        return self._since is not None and (
            self._pending_rows >= self._batch_rows or self._clock() - self._since >= self._batch_s
        )

    def flush(self) -> None:
        """Write the batch, if there is anything in it, in one transaction."""
        if not self._pending:
            self._since = None
            if self._uncounted:
                self._count()
            return
        started = time.perf_counter()
        pending, self._pending, self._pending_rows, self._since = self._pending, {}, 0, None
        changes: _Changes = {}
        for name, event in pending.items():
            feed = self._feeds[event.feed]
            if isinstance(event, Delete):
                for table in feed.tables:
                    self._claims[table].withdraw(feed.name, name, changes.setdefault(table, {}))
            elif feed.mixed:
                self._claim_mixed(feed, event, changes)
            else:
                table = feed.tables[0]
                self._claims[table].claim(feed.name, name, event.rows, changes.setdefault(table, {}))
        self.split.claims_s += time.perf_counter() - started
        self._commit(changes, ())
        self._count()

    def withheld(self, feed: str) -> int:
        """How many objects of a feed would go if the last list were believed."""
        return len(self._withheld.get(feed, ()))

    def release(self, feed: str | None = None) -> None:
        """Believe the server after all, of one feed or all: what was withheld is deleted."""
        withholds, self.withholds = self.withholds, False
        for each in (*self._withheld,) if feed is None else (feed,):
            for name in self._withheld.pop(each, ()):
                self.offer(Delete(each, name))
        self.withholds = withholds
        self.flush()
        self._count()

    def drain(self) -> None:
        """Delete all rows of this cluster, in one transaction: it is none of ours any more."""
        self._pending, self._pending_rows, self._since = {}, 0, None
        self._withheld = {}
        changes: _Changes = {table: {} for table in self._claims}
        for feed in self._feeds.values():
            for table in feed.tables:
                for name in tuple(self._claims[table].names(feed.name)):
                    self._claims[table].withdraw(feed.name, name, changes[table])
            for name in self._status.rejected(feed.name):
                self._status.heal(feed.name, name)
        for table in self._claims:
            self._disinherit(table, changes[table])
        self._commit(changes, ())
        self._count()

    def _list(self, listed: Listed) -> None:
        """Replace what this feed has in its tables, in one transaction, and finish their initializers."""
        started = time.perf_counter()
        feed = self._feeds[listed.feed]
        upserts = [event for event in listed.objects if isinstance(event, Upsert)]
        bad = [event for event in listed.objects if isinstance(event, Bad)]
        present = {event.object for event in listed.objects}
        missing = self._names(feed) - present
        self._believe(feed, listed.full, missing)
        changes: _Changes = {table: {} for table in feed.tables}
        for table in feed.tables:
            of_table = [(u.object, _of_type(u.rows, table, feed.mixed)) for u in upserts]
            if feed.mixed:
                known = self._claims[table].names(feed.name)
                of_table = [(name, rows) for name, rows in of_table if rows or name in known]
            gone = missing if listed.full else ()
            self._claims[table].relist(feed.name, gone, of_table, changes[table])
        finished = self._finished(feed) if listed.full else ()
        for table in finished:
            self._disinherit(table, changes[table])
        for name in set(self._status.rejected(feed.name)) - {event.object for event in bad}:
            self._status.heal(feed.name, name)
        for event in bad:
            self._reject(event)
        self.split.claims_s += time.perf_counter() - started
        self._commit(changes, finished)
        for table in feed.tables:
            self._status.relisted(table)
        self._count()

    def _claim_mixed(self, feed: Feed, event: Upsert, changes: _Changes) -> None:
        for table in feed.tables:
            rows = _of_type(event.rows, table, mixed=True)
            claims = self._claims[table]
            if rows or event.object in claims.names(feed.name):
                claims.claim(feed.name, event.object, rows, changes.setdefault(table, {}))

    def _is_known(self, event: Delete) -> bool:
        names = self._feeds[event.feed]
        return event.object in self._pending or any(
            event.object in self._claims[table].names(event.feed) for table in names.tables
        )

    def _names(self, feed: Feed) -> set[str]:
        """The objects of the feed that have rows or wait for one."""
        return set().union(*(self._claims[table].names(feed.name) for table in feed.tables))

    def _believe(self, feed: Feed, full: bool, missing: set[str]) -> None:
        """Remember which objects only a doubtful list left out."""
        self._withheld.pop(feed.name, None)
        if missing and not full:
            self._withheld[feed.name] = missing

    def _confirm(self, feed: str, name: str) -> None:
        """The server spoke of this object: whatever it said holds."""
        names = self._withheld.get(feed)
        if names is not None:
            names.discard(name)
            if not names:
                del self._withheld[feed]

    def _finished(self, feed: Feed) -> tuple[AnyTable, ...]:
        """The tables that this list was the last one missing for; each once."""
        finished = []
        for table in feed.tables:
            self._unlisted[table].discard(feed.name)
            if not self._unlisted[table] and table in self._inherited:
                finished.append(table)
        return tuple(finished)

    def _disinherit(self, table: AnyTable, changes: dict[Any, Any]) -> None:
        """Rows that an earlier source left and nobody claims now are orphans."""
        claims = self._claims[table]
        for key in self._inherited.pop(table, ()):
            if key not in claims:
                changes.setdefault(key, None)

    def _reject(self, event: Bad) -> None:
        if self._withheld:
            self._confirm(event.feed, event.object)
        table = event.table or self._feeds[event.feed].tables[0].name
        self._status.reject(event.feed, table, event.object, event.error, event.excerpt)

    def _commit(self, changes: _Changes, finished: Iterable[AnyTable]) -> None:
        """One transaction over the tables that change."""
        touched = {table: change for table, change in changes.items() if change or table in finished}
        if not touched:
            return
        started = time.perf_counter()
        with self._db.write(*touched) as txn:
            for table, change in touched.items():
                self._write(txn[table], table, change)
            for table in finished:
                if table in self._tokens:
                    txn[table].finish_initializer(self._tokens[table])
        for table in finished:
            self._tokens.pop(table, None)
            _promised[self._db].pop((self._cluster, table), None)
        self.split.commit_s += time.perf_counter() - started
        self.split.rows += sum(map(len, touched.values()))

    def _write(self, writer: Any, table: AnyTable, change: dict[Any, Any]) -> None:
        """Orphans first, then the rows; a row that the table refuses costs only itself."""
        rows = []
        for key, row in change.items():
            if row is None:
                writer.delete(key)
            else:
                rows.append(row)
        refused = _insert(writer, rows)
        while refused:  # a key of a unique index may have become free by a later row
            again = _insert(writer, [row for row, _ in refused])
            if len(again) == len(refused):
                break
            refused = again
        for row, error in refused:
            self._refuse(table, row, error)

    def _refuse(self, table: AnyTable, row: Any, error: Exception) -> None:
        claims = self._claims[table]
        name = claims.holder(table.key_of(row)) or ""
        feed = next(f for f in self._feeds.values() if name in claims.names(f.name))
        self._status.reject(feed.name, table.name, name, str(error), excerpt(repr(row)))

    def _count(self) -> None:
        self._uncounted = False
        for table, claims in self._claims.items():
            withheld = 0
            for feed, names in self._withheld.items():
                withheld += len(names.intersection(claims.names(feed)))
            self._status.count(table, len(claims), withheld)


def _insert(writer: Any, rows: list[Any]) -> list[tuple[Any, Exception]]:
    """Insert rows; those that the table refuses come back."""
    try:
        writer.insert_all(rows)
    except _ROW_ERRORS:
        return _insert_each(writer, rows)
    return []


def _insert_each(writer: Any, rows: list[Any]) -> list[tuple[Any, Exception]]:
    refused: list[tuple[Any, Exception]] = []
    insert = writer.insert
    for row in rows:
        try:
            insert(row)
        except _ROW_ERRORS as error:
            refused.append((row, error))
    return refused


def _of_type(rows: tuple[Any, ...], table: AnyTable, mixed: bool) -> tuple[Any, ...]:
    if not mixed:
        return rows
    return tuple([row for row in rows if type(row) is table.row_type])


def _rows_of_cluster(view: Any, cluster: str) -> Iterable[Any]:
    """The rows of one cluster; all of them where the table's keys do not begin with a cluster."""
    first = next(iter(view.keys()), None)
    fields: tuple[str, ...] = getattr(first, "__struct_fields__", ())
    rows: Iterable[Any] = view.prefix((cluster,)) if fields[:1] == ("cluster",) else view.values()
    return rows
