"""The feeds that a cluster does not announce. They hold nothing, and rows of them go where the etcd is believed."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from statedb import Database
from statedb.catalog import Services

from ..etcd import Client
from ..events import Listed, Upsert
from ..keyspace.keyspace import Keyspace
from ..keyspace.kind import Copy, Kind
from ..keyspace.prefix import Prefix
from ..reflect import Reflector
from ..source import AnyTable
from ..status import Status
from .kinds import COPIES, MIRROR_FEEDS, Layout, copy_of, feeds_of, in_other_form, service_key

_NAME = "unannounced"


class Unannounced:
    """These feeds of one source. For one thread at a time.

    A config tells which feeds there are, and a dead writer leaves its config behind. So these feeds are judged like a
    list that is empty: as one prefix, which needs the canaries of all others.

    A service is there in both forms. If it cannot be read in the one that is announced, the list has its last good row
    of the other form, without the backends.
    """

    def __init__(
        self, db: Database, layout: Layout, tables: tuple[AnyTable, ...], reflector: Reflector, status: Status
    ) -> None:
        """There are none yet."""
        self._db = db
        self._cluster = layout.cluster
        self._status = status
        feeds = {feed.name: feed.tables for feed in feeds_of(layout, tables)}
        copies = [copy_of(layout.cluster, name) for name in COPIES] if layout.mirror else []
        of_mirror = {feed.name for feed in MIRROR_FEEDS}
        self._tables = feeds
        self._feeds = [*((feed, None) for feed in feeds if feed not in of_mirror), *((c.feed, c) for c in copies)]
        self._reflector = reflector
        self._empty: list[tuple[str, Copy | None]] = []
        self._finished: set[str] = set()
        self._unread: set[tuple[str, str]] = set()
        self.prefix = Prefix(Kind(layout.config_key.decode(), (), lambda *_: (), feed=_NAME))
        """Stands for all of them. ``due``: they must be cleared, once all other prefixes are listed. ``listed``: they
        have been, or they have rows of another etcd."""
        self.is_withdrawn = False
        """Whether it was on this very etcd that they were announced before. Then somebody has withdrawn them."""

    def forget(self) -> None:
        """All rows are gone, as if these feeds had never been cleared."""
        self.prefix.listed = False

    def plan(self, kinds: Iterable[Kind], *, is_withdrawn: bool) -> None:
        """The cluster announces these kinds."""
        kinds = tuple(kinds)
        used = {kind.feed for kind in kinds if kind.tables} | {kind.copy.feed for kind in kinds if kind.copy}
        self._empty = [(feed, copy) for feed, copy in self._feeds if feed not in used]
        self._finished -= used
        canaries = tuple(dict.fromkeys(canary for kind in kinds for canary in kind.canaries))
        was_listed = self.prefix.listed or any(self._reflector.names(feed) for feed, _ in self._empty)
        self.prefix = Prefix(Kind(self.prefix.name, self._fills(), lambda *_: (), feed=_NAME, canaries=canaries))
        self.prefix.listed = was_listed
        self.is_withdrawn = is_withdrawn

    def _fills(self) -> tuple[AnyTable, ...]:
        return tuple(dict.fromkeys(table for feed, _ in self._empty for table in self._tables[feed]))

    def finish_idle(self, prefixes: Collection[Prefix]) -> None:
        """Some of these prefixes were listed. Their tables do not wait for feeds without rows.

        That holds only where no list of the table is doubted: rows of before may be of any of its feeds.
        """
        is_doubted = self._reflector.is_doubted
        waiting = {table for each in prefixes if each.due or is_doubted(each.feed) for table in each.kind.tables}
        filled = {table for each in prefixes for table in each.kind.tables} - waiting
        for feed, copy in tuple(self._empty):
            pending = {other for other, _ in self._empty if other != feed} - self._finished
            # A table that several of these feeds fill waits for the last of them alone.
            held = filled.union(*(self._tables[other] for other in pending))
            if copy is None and held >= set(self._tables[feed]) and not self._reflector.names(feed):
                if feed not in self._finished:
                    self._reflector.offer(Listed(feed, ()))
                    self._finished.add(feed)
                self._empty.remove((feed, copy))
        self.prefix.kind = msgspec.structs.replace(self.prefix.kind, tables=self._fills())

    @property
    def withheld(self) -> int:
        """The number of objects of these feeds whose deletes are withheld."""
        return sum(self._reflector.withheld(feed) for feed, _ in self._empty)

    def clear(self, client: Client, keyspace: Keyspace, config: bytes | None, *, accepted: bool) -> None:
        """Clear these feeds, or withhold that. Does nothing if the etcd has another config than this one, or none.

        ``accepted``: the operator has accepted the etcd, also without a config. A mesh cache has a completion mark for
        these feeds as well. Raises EtcdError.
        """
        found = client.get(self.prefix.key)
        keyspace.check(client, found.header)
        is_believed = accepted if found.kv is None else found.kv.value == config
        if not is_believed:
            return
        self._unread.clear()
        for feed, copy in self._empty:
            kept = self._last_good(feed)
            keyspace.replace(client, self.prefix, Listed(feed, ()), found.header.revision, copy, kept)
        self.prefix.due, self.prefix.listed = False, True

    def _last_good(self, feed: str) -> list[Upsert]:
        """The services of this feed that cannot be read in the other form, which is announced."""
        found: list[Upsert] = []
        other, _ = in_other_form(feed, "")
        if Services not in self._tables[feed] or not self._status.rejected(other):
            return found
        view = self._db.snapshot()[Services]
        for name in self._reflector.names(feed):
            of_other = in_other_form(feed, name)
            row = view.get(service_key(self._cluster, name)) if self._is_unread(*of_other) else None
            if row is not None:
                found.append(Upsert(feed, name, (row,)))
                self._unread.add(of_other)
        return found

    def recheck(self) -> None:
        """Clear them again if a service can be read by now, or is gone."""
        self.prefix.due = self.prefix.due or not all(self._is_unread(*each) for each in self._unread)

    def _is_unread(self, feed: str, name: str) -> bool:
        return name in self._status.rejected(feed) and not self._reflector.is_claiming(feed, name)
