"""The feeds that a cluster does not announce. They hold nothing, and rows of them go where the etcd is believed."""

from __future__ import annotations

from collections.abc import Iterable

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

    A config tells which feeds there are, and a dead writer leaves its config behind. So these feeds are judged like a
    list that is empty: as one prefix, which needs the canaries of all others.
    """

    def __init__(self, layout: Layout, tables: tuple[AnyTable, ...], reflector: Reflector) -> None:
        """There are none yet."""
        self._layout = layout
        self._tables = tables
        self._reflector = reflector
        self._empty: list[tuple[str, Copy | None]] = []
        self._finished: set[str] = set()
        self.prefix = Prefix(Kind(layout.config_key.decode(), (), lambda *_: (), feed=_NAME))
        """Stands for all of them. ``due``: they must be cleared, once all other prefixes are listed."""
        self.is_withdrawn = False
        """Whether it was on this very etcd that they were announced before. Then somebody has withdrawn them."""

    def plan(self, kinds: Iterable[Kind], *, is_withdrawn: bool) -> None:
        """The cluster announces these kinds."""
        kinds = tuple(kinds)
        used = {kind.feed for kind in kinds if kind.tables} | {kind.copy.feed for kind in kinds if kind.copy}
        copies = [copy_of(self._layout.cluster, name) for name in COPIES] if self._layout.mirror else []
        feeds = [feed.name for feed in feeds_of(self._layout, self._tables) if feed not in MIRROR_FEEDS]
        empty = [*((feed, None) for feed in feeds), *((copy.feed, copy) for copy in copies)]
        self._empty = [(feed, copy) for feed, copy in empty if feed not in used]
        canaries = tuple(dict.fromkeys(canary for kind in kinds for canary in kind.canaries))
        self.prefix = Prefix(Kind(self.prefix.name, (), lambda *_: (), feed=_NAME, canaries=canaries))
        self.prefix.listed = True
        self.is_withdrawn = is_withdrawn
        self._finish_idle({table for kind in kinds for table in kind.tables})

    def _finish_idle(self, filled: set[AnyTable]) -> None:
        """Tables do not wait for a feed without rows. Rows of before are judged with the feeds that fill the table."""
        feeds = {feed.name: feed for feed in feeds_of(self._layout, self._tables)}
        for feed, copy in tuple(self._empty):
            is_filled = not self._reflector.has_inherited or filled >= set(feeds[feed].tables)
            if copy is None and is_filled and not self._reflector.names(feed):
                if feed not in self._finished:
                    self._reflector.offer(Listed(feed, ()))
                    self._finished.add(feed)
                self._empty.remove((feed, copy))

    @property
    def withheld(self) -> int:
        """The number of objects of these feeds whose deletes are withheld."""
        return sum(self._reflector.withheld(feed) for feed, _ in self._empty)

    def clear(self, client: Client, keyspace: Keyspace, config: bytes | None) -> None:
        """Clear these feeds, or withhold that. Does nothing if ``config`` is not in the etcd any more.

        A mesh cache has a completion mark for these feeds as well. Raises EtcdError.
        """
        found = client.get(self.prefix.key)
        keyspace.check(client, found.header)
        if found.kv is None or found.kv.value != config:
            return
        for feed, copy in self._empty:
            keyspace.replace(client, self.prefix, Listed(feed, ()), found.header.revision, copy)
        self.prefix.due = False
