"""The feeds that a cluster does not announce. They hold nothing, and rows of them go where the etcd is believed."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from ..etcd import Client
from ..events import Listed
from ..keyspace.keyspace import Keyspace
from ..keyspace.kind import Copy, Kind
from ..keyspace.prefix import Prefix
from ..reflect import Reflector
from ..source import AnyTable
from .kinds import COPIES, MIRROR_FEEDS, Layout, copy_of, feeds_of

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
        self.prefix = Prefix(Kind(layout.config_key.decode(), (), lambda *_: (), feed=_NAME))
        """Stands for all of them. ``due``: they must be cleared, once all other prefixes are listed. ``listed``: they
        have been, or they have rows of another etcd."""

    def forget(self) -> None:
        """All rows are gone, as if these feeds had never been cleared."""
        self.prefix.listed = False

    def plan(self, kinds: Iterable[Kind], *, read: Collection[str]) -> None:
        """The cluster announces these kinds. ``read``: the prefixes that were read from this very etcd already.

        To clear these feeds needs the canaries of all other prefixes: what replaces their rows must be there.
        """
        kinds = tuple(kinds)
        used = {kind.feed for kind in kinds if kind.tables} | {kind.copy.feed for kind in kinds if kind.copy}
        self._empty = [(feed, copy) for feed, copy in self._feeds if feed not in used]
        canaries = [canary for kind in kinds if kind.prefix not in read for canary in kind.canaries]
        was_listed = self.prefix.listed or any(self._reflector.names(feed) for feed, _ in self._empty)
        for feed, copy in self._empty:
            if copy is None and self._reflector.names(feed):
                self._reflector.disown(feed)
        kind = Kind(self.prefix.name, self._fills(), lambda *_: (), feed=_NAME, canaries=tuple(dict.fromkeys(canaries)))
        self.prefix = Prefix(kind)
        self.prefix.listed = was_listed

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
            # A table that several of these feeds fill waits for the last of them alone.
            held = filled.union(*(self._tables[other] for other, _ in self._empty if other != feed))
            if copy is None and held >= set(self._tables[feed]):
                if self._reflector.awaits(feed):
                    self._reflector.offer(Listed(feed, ()))
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
        for feed, copy in self._empty:
            keyspace.replace(client, self.prefix, Listed(feed, ()), found.header.revision, copy)
        self.prefix.due, self.prefix.listed = False, True
