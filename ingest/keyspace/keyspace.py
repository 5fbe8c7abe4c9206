"""All prefixes that one source reads of an etcd: lists, watches, and what we know of the server's history."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from ..etcd import PUT, Client, Compacted, Header, PermissionDenied, WatchBatch, WatchStream
from ..events import Bad, Listed, Upsert
from ..reflect import Reflector
from .kind import Copy, Kind
from .lineage import Lineage
from .prefix import Prefix

T = TypeVar("T")

_WITNESSES = 2


class Keyspace:
    """The prefixes by their keys. What they say goes to the reflector. For one thread at a time."""

    def __init__(
        self, kinds: Iterable[Kind], reflector: Reflector, page_limit: int, stopping: Callable[[], bool]
    ) -> None:
        """``stopping`` is looked at between two pages and two batches."""
        self.prefixes: dict[bytes, Prefix] = {prefix.key: prefix for prefix in map(Prefix, kinds)}
        self.lineage = Lineage()
        self._reflector = reflector
        self._page_limit = page_limit
        self._stopping = stopping
        self.doubt = ""
        """Why deletes are withheld; empty while they are believed."""

    def replan(self, kinds: Iterable[Kind]) -> None:
        """Other prefixes, or other decoders, from now on; whether a feed was listed once is kept."""
        listed = {prefix.feed for prefix in self.prefixes.values() if prefix.listed}
        self.prefixes = {prefix.key: prefix for prefix in map(Prefix, kinds)}
        for prefix in self.prefixes.values():
            prefix.listed = prefix.feed in listed

    def forget(self) -> None:
        """Nothing was ever listed."""
        for prefix in self.prefixes.values():
            prefix.listed, prefix.due = False, True

    def begin(self, header: Header) -> None:
        """From now on this server's history is the one we know; everything is to be listed anew."""
        self.lineage.begin(header)
        for prefix in self.prefixes.values():
            prefix.due = True

    def contradiction(self, client: Client) -> str:
        """Why the witnesses say that this is another history; empty if they do not."""
        witnesses = self.lineage.witnesses
        gone = 0
        for key in witnesses:
            known = next(prefix.known for prefix in self.prefixes.values() if key.startswith(prefix.key))
            try:
                kv = client.get(key, known).kv
            except Compacted:
                kv = client.get(key).kv
                if kv is None:
                    gone += 1
                    continue
                if kv.mod_revision > known:
                    continue
            broken = self.lineage.contradicted_by(key, None if kv is None else kv.mod_revision)
            if broken:
                return broken
        return "none of the keys that would show it is left" if witnesses and gone == len(witnesses) else ""

    def list(self, client: Client, prefix: Prefix, is_full: Callable[[Prefix, int], bool]) -> None:
        """List a prefix at one revision and replace what we had of it. Raises Compacted between two pages.

        ``is_full`` is asked, of the list's revision, whether what the list leaves out is gone.
        """
        allowed(prefix.key, partial(self._list, client, prefix, is_full))

    def _list(self, client: Client, prefix: Prefix, is_full: Callable[[Prefix, int], bool]) -> None:
        split, clock = self._reflector.split, time.perf_counter
        objects: list[Upsert | Bad] = []
        copies: list[Upsert | Bad] = []
        kind, copy = prefix.kind, prefix.kind.copy
        witnesses: list[tuple[int, bytes]] = []
        revision = 0
        started = clock()
        for page in client.list(prefix.key, self._page_limit):
            arrived = clock()
            if not revision:
                witnesses = heapq.nsmallest(_WITNESSES, [(kv.mod_revision, kv.key) for kv in page.kvs])
            if kind.tables:
                objects += prefix.read_page(page.kvs)
            if copy is not None:
                copies += [prefix.copy(kv.key, kv.value, copy) for kv in page.kvs]
            revision = page.revision
            split.client_s += arrived - started
            started = clock()
            split.decode_s += started - arrived
            if self._stopping():
                return
        split.client_s += clock() - started
        full = is_full(prefix, revision)
        if kind.tables:
            self._reflector.offer(Listed(prefix.feed, objects, full=full))
        if copy is not None:
            self._reflector.offer(Listed(copy.feed, [*copies, *(completion(copy) if full else ())], full=full))
        prefix.known, prefix.listed, prefix.due = revision, True, False
        self.lineage.saw(revision)
        for version, key in witnesses:
            self.lineage.witness(key, version)

    def outdate(self, revision: int) -> None:
        """History before this revision is gone; 0: we were not told, or a list was cut in two."""
        for prefix in self.prefixes.values():
            prefix.due = prefix.due or not revision or prefix.known + 1 < revision

    def gather(self, stream: WatchStream, wait_s: float, other: Callable[[WatchBatch], None]) -> None:
        """Take what comes until nothing more is waiting or the batch is due, and write it.

        ``other`` is given what is of none of the prefixes.
        """
        batch = stream.next(wait_s)
        while batch is not None:
            prefix = self.prefixes.get(batch.prefix)
            if prefix is None:
                other(batch)
            else:
                self._take(prefix, batch)
            batch = None if self._reflector.due or self._stopping() else stream.next(0)
        self._reflector.flush()

    def _take(self, prefix: Prefix, batch: WatchBatch) -> None:
        split, clock, offer, lineage = self._reflector.split, time.perf_counter, self._reflector.offer, self.lineage
        started = clock()
        known, events = prefix.known, batch.events
        if events and events[0].kv.mod_revision <= known:  # listed since: what is older would turn back what we know
            events = [event for event in events if event.kv.mod_revision > known]
        decoded, copy = bool(prefix.kind.tables), prefix.kind.copy
        for event in events:
            lineage.changed(event.kv.key, event.kv.mod_revision if event.type == PUT else None)
            if decoded:
                offer(prefix.read_event(event, self.doubt))
        if copy is not None:
            for event in events:
                offer(prefix.copy_event(event, copy, self.doubt))
        split.decode_s += clock() - started
        prefix.known = max(known, batch.resume - 1)
        lineage.saw(prefix.known)


def completion(copy: Copy) -> tuple[Upsert]:
    """The object that says that all of a copy is there."""
    return (Upsert(copy.feed, copy.feed, (copy.complete,)),)


def allowed(key: bytes, ask: Callable[[], T]) -> T:
    """What etcd answers; a refusal says what we may not read."""
    try:
        return ask()
    except PermissionDenied as error:
        raise PermissionDenied(f"{error}; the user needs the right to read {key.decode()}") from None
