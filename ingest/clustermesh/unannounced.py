"""The feeds that a cluster does not announce. They hold nothing, and rows of them go where the etcd is believed."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from ..etcd import Client
from ..events import Listed
from ..keyspace.keyspace import Keyspace
from ..keyspace.kind import Copy, Kind
from ..keyspace.prefix import Prefix
from ..keyspace.writers import Writers
from ..reflect import Reflector
from ..source import AnyTable
from .kinds import COPIES, MIRROR_FEEDS, SERVICE_FEEDS, Layout, copy_of, feeds_of

_NAME = "unannounced"


class Unannounced:
    """These feeds of one source. For one thread at a time.

    A config tells which feeds there are, and a dead writer leaves its config behind. So the rows that such a feed had
    become rows of before, and its keys count as a list that is empty. All these lists are judged as one prefix.
    """

    def __init__(self, layout: Layout, tables: tuple[AnyTable, ...], reflector: Reflector) -> None:
        """There are none yet."""
        self._tables = {feed.name: feed.tables for feed in feeds_of(layout, tables)}
        of_mirror = {feed.name for feed in MIRROR_FEEDS}
        copies = [copy_of(layout.cluster, name) for name in COPIES] if layout.mirror else []
        self._feeds: tuple[tuple[str, Copy | None], ...] = (
            *((feed, None) for feed in self._tables if feed not in of_mirror),
            *((copy.feed, copy) for copy in copies),
        )
        self._reflector = reflector
        self._empty: list[tuple[str, Copy | None]] = []
        self._unproven: set[str] = set()
        self.prefix = Prefix(Kind(layout.config_key.decode(), (), lambda *_: (), feed=_NAME))
        """Stands for all of them. ``due``: they must be cleared, once all other prefixes are listed. ``listed``: they
        have been, or they have rows of another etcd."""

    def forget(self) -> None:
        """All rows are gone, as if these feeds had never been cleared."""
        self.prefix.listed = False

    def plan(self, kinds: Iterable[Kind], *, before: Collection[str]) -> None:
        """The cluster announces these kinds. ``before``: the feeds that it announced until now, on any etcd.

        To clear the others needs the canaries of all prefixes: what replaces their rows must be there.
        """
        kinds = tuple(kinds)
        used = {kind.feed for kind in kinds if kind.tables} | {kind.copy.feed for kind in kinds if kind.copy}
        self._empty = [(feed, copy) for feed, copy in self._feeds if feed not in used]
        canaries = tuple(dict.fromkeys(canary for kind in kinds for canary in kind.canaries))
        was_listed = self.prefix.listed or any(self._reflector.names(feed) for feed, _ in self._empty)
        for feed, copy in self._empty:
            if copy is None and self._reflector.has_any(feed):
                self._reflector.disown(feed)
        self.prefix = Prefix(Kind(self.prefix.name, self._fills(), lambda *_: (), feed=_NAME, canaries=canaries))
        self.prefix.listed = was_listed
        self._unproven.update(kind.feed for kind in kinds if kind.feed not in before)

    def require_newer(self, writers: Writers, prefixes: Collection[Prefix], revision: int) -> None:
        """A canary that is older than the config, which has this revision, may be of another form.

        So it does not count for prefixes that were not announced before, nor where rows of before are at stake.
        """
        for prefix in prefixes:
            if prefix.feed in self._unproven or self._reflector.has_orphans(prefix.kind.tables):
                self._unproven.add(prefix.feed)
                writers.require_newer(prefix.feed, prefix.kind.canaries, revision)
        is_at_stake = self._reflector.has_orphans(self.prefix.kind.tables)
        of_services = [canary for each in prefixes if each.feed in SERVICE_FEEDS for canary in each.kind.canaries]
        writers.require_newer(self.prefix.feed, of_services if is_at_stake else (), revision)

    def proven(self, writers: Writers, prefix: Prefix) -> None:
        """All of this prefix is listed and believed."""
        if not self._reflector.has_orphans(prefix.kind.tables):
            self._unproven.discard(prefix.feed)
            writers.require_newer(prefix.feed, ())

    def _fills(self) -> tuple[AnyTable, ...]:
        return tuple(dict.fromkeys(table for feed, _ in self._empty for table in self._tables[feed]))

    def finish_idle(self, prefixes: Collection[Prefix]) -> None:
        """Some of these prefixes were listed. Their tables do not wait for feeds that are not announced.

        That holds only where no list of the table is doubted: rows of before may be of any of its feeds.
        """
        is_doubted = self._reflector.is_doubted
        waiting = {table for each in prefixes if each.due or is_doubted(each.feed) for table in each.kind.tables}
        filled = {table for each in prefixes for table in each.kind.tables} - waiting
        for feed, copy in tuple(self._empty):
            others = [other for other, _ in self._empty if other != feed]
            if copy is None and all(table in filled or self._waits(table, others) for table in self._tables[feed]):
                if any(self._reflector.awaits(feed, table) for table in self._tables[feed]):
                    self._reflector.offer(Listed(feed, ()))
                self._empty.remove((feed, copy))
        self.prefix.kind = msgspec.structs.replace(self.prefix.kind, tables=self._fills())

    def _waits(self, table: AnyTable, feeds: Iterable[str]) -> bool:
        """Whether the table waits for another one of these feeds: the last one of them is judged."""
        return any(table in self._tables[feed] and self._reflector.awaits(feed, table) for feed in feeds)

    @property
    def feeds(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(feed for feed, _ in self._empty)

    @property
    def incomplete(self) -> int:
        """The number of copies of these feeds that are not complete yet."""
        return sum(self.prefix.listed and not self.is_complete(copy) for _, copy in self._empty)

    def is_complete(self, copy: Copy | None) -> bool:
        """Whether there is no copy, or one that has been listed and believed."""
        return copy is None or self._reflector.is_claiming(copy.feed, copy.feed)

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
        for feed, copy in self._empty:
            keyspace.replace(client, self.prefix, Listed(feed, ()), found.header.revision, copy)
        self.prefix.due, self.prefix.listed = False, True
