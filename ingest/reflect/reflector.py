"""What a source says, into tables. An event goes one way: decoded, judged, claimed, written. Knows no transport.

Events gather until nothing more is waiting, at most 50 ms or 10 000 rows; of an object's events in a batch the last
one counts. A list replaces exactly what its source owns, in one transaction, and is the only thing that initialises a
table. A bad object is recorded, keeps its last good rows and stops nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, assert_never

from statedb import Database
from statedb.catalog import Backends, Endpoints, Namespaces
from statedb.catalog.backends import takes_traffic_first
from statedb.catalog.wire import faults_of

from ..events import Bad, Delete, Event, Listed, Upsert, excerpt
from ..source import AnyTable
from ..status import Status
from .batch import Batch
from .claims import Claims, Preference
from .feed import Feed, Timings
from .initializers import Initializers
from .ownership import Owns, owned, owns_all_rows
from .visibility import Visibility
from .withheld import Withheld
from .writer import Changes, TableWriter

_BATCH_S = 0.05
_BATCH_ROWS = 10_000


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
        owns: Owns | None = None,
        with_initializers: bool = True,
        clock: Callable[[], float] = time.monotonic,
        batch_s: float = _BATCH_S,
        batch_rows: int = _BATCH_ROWS,
    ) -> None:
        """``feeds`` are all that will ever be offered; a table may be filled by several of them.

        ``owns`` says which rows of a table that several sources share are this source's; without it they are those of
        the cluster, or all where the table's keys do not begin with one. From now on the tables are not initialized
        before the first full list, unless another source fills them. With ``with_initializers=False`` nobody waits for
        this source.
        """
        self.split = Timings()
        self._db = db
        self._cluster = cluster
        self._name = f"{backend}/{cluster}"
        self._feeds = {feed.name: feed for feed in feeds}
        self._status = status
        self._owns = owns
        self._with_initializers = with_initializers
        tables = dict.fromkeys(table for feed in feeds for table in feed.tables)
        self._visibility = Visibility()
        preferences: Mapping[AnyTable, Preference[Any]] = {
            Backends: takes_traffic_first,
            Endpoints: self._visibility.place,
        }
        self._claims: dict[AnyTable, Claims[Any, Any]] = {
            table: Claims(table.key_of, partial(self._current_row, table), preferences.get(table)) for table in tables
        }
        self._unlisted = {table: {f.name for f in feeds if table in f.tables} for table in tables}
        self._inherited: dict[AnyTable, list[Any]] = {}
        self._initializers = Initializers(db, cluster)
        self._batch = Batch(clock, batch_s, batch_rows)
        self._withheld = Withheld()
        self._doubted: set[str] = set()
        self._unconfirmed: dict[str, str] = {}
        self._writer = TableWriter(db, status, self._initializers, self.split, self._refused, self._accepted, clock)
        if with_initializers:
            self._promise([table for table in tables if not status.is_filled(table)])

    @property
    def tables(self) -> tuple[AnyTable, ...]:
        """The tables that the feeds fill."""
        return tuple(self._claims)

    def _promise(self, tables: Sequence[AnyTable]) -> None:
        """Nobody takes a table for filled that waits for its source to start."""
        if tables:
            with self._db.write(*tables) as txn:
                for table in tables:
                    self._initializers.begin(txn[table], table, self._name, register=True)

    def begin(self) -> None:
        """Become the tables' source and register their initializers. Raises OwnedElsewhere.

        Rows that an earlier source left, or a warm start brought, stay until the first full list tells which are true;
        until then the table is stale. What an earlier source promised and never brought, this one does.
        """
        self._status.claim([table.name for table in self._claims if owns_all_rows(table, self._owns)])
        with self._db.write(*self._claims) as txn:
            for table in self._claims:
                self._initializers.begin(txn[table], table, self._name, register=self._with_initializers)
                before = owned(txn[table], table, self._cluster, self._owns)
                self._inherited[table] = [table.key_of(row) for row in before]
        self._status.inherit([table for table, keys in self._inherited.items() if keys])

    @property
    def has_inherited(self) -> bool:
        """Whether rows of before are there that no full list has confirmed yet: a first list could delete them."""
        return any(self._inherited.values())

    def offer(self, event: Event) -> None:
        """Take an event into the batch. A list is written at once, before what was offered of other feeds."""
        match event:
            case Delete(doubt=doubt) if doubt:
                self._withhold(event)
            case Upsert() | Delete():
                self._heal(event)
                self._confirm(event.feed, event.object)
                self._batch.add(event)
            case Bad():
                self._reject(event)
            case Listed():
                self._list(event)
            case _:
                assert_never(event)

    @property
    def due(self) -> bool:
        """Whether the batch must not wait for more."""
        return self._batch.due

    def flush(self) -> None:
        """Write the batch, and what the source has to say of itself, in one transaction."""
        if not self._batch and not self._doubted:
            self._writer.retry()
            return
        self._flush({}, ())

    def _flush(self, changes: Changes, finished: Sequence[AnyTable]) -> None:
        started = time.perf_counter()
        self._status.figures.events += len(self._batch)
        self._status.figures.record_contact()
        for event in self._batch.take():
            self._claim(event, changes)
        self._settle(changes)
        finished = [*finished, *self._confirm_lists(changes)]
        self._doubt(changes)
        self._count(changes)
        self.split.claims_s += time.perf_counter() - started
        self._writer.commit(changes, finished)
        self._writer.retry()

    def names(self, feed: str) -> set[str]:
        """The objects of a feed that have rows, or wait for one."""
        return set().union(*(self._claims[table].names(feed) for table in self._feeds[feed].tables))

    def withheld(self, feed: str) -> int:
        """How many objects of a feed, and rows of before, would go if the server were believed."""
        orphans = (
            sum(len(self._orphans(table)) for table in self._feeds[feed].tables) if feed in self._unconfirmed else 0
        )
        return len(self._withheld.names(feed)) + orphans

    def is_doubted(self, feed: str) -> bool:
        """Whether a list or a delete of a feed was not believed, and something would still go by it."""
        return feed in self._unconfirmed or bool(self._withheld.names(feed))

    def release(self, feed: str | None = None) -> None:
        """Believe the server after all, of one feed or all: what was withheld is deleted."""
        finished: list[AnyTable] = []
        changes: Changes = {}
        for each in tuple(self._feeds) if feed is None else (feed,):
            for name in self._withheld.release(each):
                self._batch.add(Delete(each, name))
            if each in self._unconfirmed:  # its list counts as full now
                del self._unconfirmed[each]
                finished += self._finished(self._feeds[each])
        for table in finished:
            self._delete_orphans(table, changes.setdefault(table, {}))
        self._flush(changes, finished)

    def drain(self) -> None:
        """Delete all rows of this cluster, in one transaction: it is none of ours any more."""
        self._batch.take()
        self._withheld.clear()
        self._unconfirmed.clear()
        changes: Changes = {table: {} for table in self._claims}
        for feed in self._feeds.values():
            for table in feed.tables:
                for name in tuple(self._claims[table].names(feed.name)):
                    self._claims[table].withdraw(feed.name, name, changes[table])
            for name in self._status.rejected(feed.name):
                self._status.heal(feed.name, name)
        for table in self._claims:
            self._delete_orphans(table, changes[table])
        self._count(changes)
        self._writer.commit(changes, ())

    # --- events -------------------------------------------------------------------------------------------------------

    def _claim(self, event: Upsert | Delete, changes: Changes) -> None:
        feed, name = self._feeds[event.feed], event.object
        if isinstance(event, Delete):
            for table in feed.tables:
                self._claims[table].withdraw(feed.name, name, changes.setdefault(table, {}))
        elif feed.mixed:
            self._claim_mixed(feed, event, changes)
        else:
            table = feed.tables[0]
            self._claims[table].claim(feed.name, name, event.rows, changes.setdefault(table, {}))

    def _claim_mixed(self, feed: Feed, event: Upsert, changes: Changes) -> None:
        for table in feed.tables:
            rows = feed.rows_of(event.rows, table)
            claims = self._claims[table]
            if rows or event.object in claims.names(feed.name):
                claims.claim(feed.name, event.object, rows, changes.setdefault(table, {}))

    def _settle(self, changes: Changes) -> None:
        """Namespaces say which of two pods holds an address that both claim."""
        if Namespaces in changes and self._visibility.learn(changes[Namespaces]) and Endpoints in self._claims:
            self._claims[Endpoints].settle(changes.setdefault(Endpoints, {}))

    def _withhold(self, event: Delete) -> None:
        """Keep an object that is said to be gone, if we know it."""
        tables = self._feeds[event.feed].tables
        if self._batch.has(event.feed, event.object) or any(
            event.object in self._claims[table].names(event.feed) for table in tables
        ):
            self._withheld.add(event.feed, event.object, event.doubt)
            self._doubted.add(event.feed)

    def _confirm(self, feed: str, name: str) -> None:
        """The server spoke of this object: whatever it said holds. Cheap where nothing is withheld."""
        if self._withheld and name in self._withheld.names(feed):
            self._withheld.confirm(feed, name)
            self._doubted.add(feed)

    def _heal(self, event: Upsert | Delete) -> None:
        """The object could be read, or is gone; of one that was read in part its faults are told."""
        faults = faults_of(event.rows) if isinstance(event, Upsert) else ()
        if isinstance(event, Upsert) and faults:
            table = event.table or self._feeds[event.feed].tables[0].name
            self._status.reject(event.feed, table, event.object, "; ".join(faults), "")
        else:
            self._status.heal(event.feed, event.object)

    def _reject(self, event: Bad) -> None:
        self._confirm(event.feed, event.object)
        table = event.table or self._feeds[event.feed].tables[0].name
        self._status.reject(event.feed, table, event.object, event.error, event.excerpt)

    def _doubt(self, changes: Changes) -> None:
        """Objects that are withheld yield to those that are not; of feeds where that changed since the last commit."""
        for feed in self._doubted:
            for table in self._feeds[feed].tables:
                self._claims[table].doubt(feed, self._withheld.names(feed), changes.setdefault(table, {}))
        self._doubted.clear()

    # --- lists --------------------------------------------------------------------------------------------------------

    def _list(self, listed: Listed) -> None:
        """Replace what this feed has in its tables, in one transaction, and finish their initializers."""
        started = time.perf_counter()
        feed = self._feeds[listed.feed]
        changes: Changes = {table: {} for table in feed.tables}
        bad = [event for event in listed.objects if isinstance(event, Bad)]
        for event in self._batch.drop_feed(feed.name, {event.object for event in bad}):
            self._claim(event, changes)
        missing = self.names(feed.name) - {event.object for event in listed.objects}
        gone = missing if listed.full else missing & listed.gone
        self._withheld.replace(feed.name, missing - gone, listed.doubt)
        self._doubted.add(feed.name)
        upserts = [event for event in listed.objects if isinstance(event, Upsert)]
        said = {event.object for event in upserts}
        for table, rows in feed.sort_out(upserts).items():
            claims = self._claims[table]
            without = {name: () for name in claims.names(feed.name) if name in said and name not in rows}
            claims.relist(feed.name, gone, [*without.items(), *rows.items()], changes[table])
        self._settle(changes)
        self._doubt(changes)
        self._unconfirmed.pop(feed.name, None)
        if not listed.full:
            self._unconfirmed[feed.name] = listed.doubt
        finished = self._finished(feed) if listed.full else []
        for table in finished:
            self._delete_orphans(table, changes[table])
        finished += self._confirm_lists(changes)
        self._reject_anew(feed.name, listed.objects)
        for table in feed.tables:
            self._status.relisted(table)
        self._count(changes)
        self.split.claims_s += time.perf_counter() - started
        self._writer.commit(changes, finished)

    def _reject_anew(self, feed: str, objects: Sequence[Upsert | Bad]) -> None:
        """Tell which of all objects of the feed cannot be read, wholly or in part; the others are healed."""
        faulty = [event for event in objects if isinstance(event, Bad) or faults_of(event.rows)]
        for name in set(self._status.rejected(feed)) - {event.object for event in faulty}:
            self._status.heal(feed, name)
        for event in faulty:
            if isinstance(event, Bad):
                self._reject(event)
            else:
                self._heal(event)

    def _confirm_lists(self, changes: Changes) -> list[AnyTable]:
        """A list that leaves nothing out any more needs nobody to vouch for it; the tables that this finishes."""
        finished: list[AnyTable] = []
        for name in [name for name in self._unconfirmed if not self._leaves_out(name)]:
            del self._unconfirmed[name]
            finished += self._finished(self._feeds[name])
        for table in finished:
            self._delete_orphans(table, changes.setdefault(table, {}))
        return finished

    def _leaves_out(self, feed: str) -> bool:
        """Whether an object, or a row of before that may be of this feed, would go if its list were believed."""
        return bool(self._withheld.names(feed)) or any(
            key not in self._claims[table]
            for table in self._feeds[feed].tables
            for key in self._inherited.get(table, ())
        )

    def _finished(self, feed: Feed) -> list[AnyTable]:
        """The tables that this list was the last one missing for; each once."""
        for table in feed.tables:
            self._unlisted[table].discard(feed.name)
        return [table for table in feed.tables if not self._unlisted[table] and table in self._inherited]

    def _orphans(self, table: AnyTable) -> Sequence[Any]:
        """Keys of rows of before that nobody claims, though all lists have come; as some of those are not believed."""
        if table not in self._inherited or not self._unlisted[table] <= self._unconfirmed.keys():
            return ()
        claims = self._claims[table]
        self._inherited[table] = orphans = [key for key in self._inherited[table] if key not in claims]
        return orphans

    def _delete_orphans(self, table: AnyTable, changes: dict[Any, Any]) -> None:
        """Rows that an earlier source left and nobody claims now are orphans."""
        claims = self._claims[table]
        for key in self._inherited.pop(table, ()):
            if key not in claims and key not in changes:
                changes[key] = None

    # --- what is said of rows -----------------------------------------------------------------------------------------

    def _refused(self, table: AnyTable, row: Any, error: Exception) -> None:
        found = self._object_of(table, table.key_of(row))
        if found is not None:
            self._status.reject(found[0], table.name, found[1], str(error), excerpt(repr(row)))

    def _current_row(self, table: AnyTable, key: Any) -> Any:
        """The row that the table has under a key, or would have if it did not refuse it."""
        refused = self._writer.refused(table, key)
        return self._db.snapshot()[table].get(key) if refused is None else refused

    def _accepted(self, table: AnyTable, key: Any) -> None:
        found = self._object_of(table, key)
        if found is not None:
            self._status.heal(*found)

    def _object_of(self, table: AnyTable, key: Any) -> tuple[str, str] | None:
        """The feed and the object whose row stands, or should stand, under a key."""
        claims = self._claims[table]
        name = claims.holder(key)
        return None if name is None else (next(feed for feed in self._feeds if name in claims.names(feed)), name)

    def _count(self, changes: Iterable[AnyTable]) -> None:
        """How many rows are ours and how many withheld, of the tables that change, or of all while any is withheld."""
        withheld = self._withheld
        for table in self._claims if withheld or self._status.withholds else changes:
            claims = self._claims[table]
            count, doubt = 0, ""
            for feed in withheld.feeds():
                of_table = sum(claims.holds(feed, name) for name in withheld.names(feed))
                count += of_table
                doubt = withheld.reason(feed) if of_table else doubt
            if self._unconfirmed and (orphans := len(self._orphans(table))):
                count, doubt = count + orphans, doubt or next(iter(self._unconfirmed.values()))
            self._status.count(table, len(claims), count, doubt)
