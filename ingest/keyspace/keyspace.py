"""All prefixes that one source reads from an etcd: lists, watches, and the known history of the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from heapq import nlargest
from typing import Protocol, TypeVar

from ..belief import Absence, History, No, Verdict, Yes
from ..etcd import (
    DELETE,
    Client,
    Compacted,
    Header,
    KeyValue,
    PermissionDenied,
    Unavailable,
    WatchBatch,
    WatchEvent,
    WatchStream,
)
from ..events import Bad, Listed, Upsert
from ..reflect import Reflector
from .absence import explain
from .kind import Copy, Kind
from .lineage import WITNESSES, Fingerprint, Lineage, fingerprint
from .prefix import Prefix

T = TypeVar("T")

_WHY = {
    History.OTHER: "the keys that changed last are not there as they were",
    History.UNPROVEN: "the keys that changed last are no longer there to show it",
}


class Judge(Protocol):
    """Decides for its backend whether rows may be deleted: it collects the evidence and calls `may_delete`."""

    @property
    def needs_causes(self) -> bool:
        """Whether it matters if a key was deleted or has expired. If not, leases are not queried."""
        ...

    def explains_lists(self, prefix: Prefix) -> bool:
        """Whether to find out why each key that a list lacks is gone: it was on this very server before."""
        ...

    def list_verdict(self, prefix: Prefix, revision: int) -> Verdict:
        """Whether rows of keys that a list at this revision lacks may be deleted."""
        ...

    def verdict(self, prefix: Prefix, absence: Absence) -> Verdict:
        """Whether rows of keys that are gone for this reason may be deleted."""
        ...


class Keyspace:
    """The prefixes by their keys. Their events go to the reflector. For one thread at a time."""

    def __init__(
        self,
        kinds: Iterable[Kind],
        reflector: Reflector,
        page_limit: int,
        judge: Judge,
        stopping: Callable[[], bool],
    ) -> None:
        """``stopping`` is checked between pages and between batches."""
        self.prefixes: dict[bytes, Prefix] = {prefix.key: prefix for prefix in map(Prefix, kinds)}
        self.lineage = Lineage()
        self._reflector = reflector
        self._page_limit = page_limit
        self._judge = judge
        self._stopping = stopping

    # --- the server ---------------------------------------------------------------------------------------------------

    def replan(self, kinds: Iterable[Kind]) -> None:
        """Use other prefixes or decoders from now on. What is known of a feed with the same prefix is kept.

        A prefix with rows was listed, if not on the last server: it was left out there, or was read into another feed.
        """
        before = {prefix.feed: prefix for prefix in self.prefixes.values()}
        self.prefixes = {prefix.key: prefix for prefix in map(Prefix, kinds)}
        for prefix in self.prefixes.values():
            known = before.get(prefix.feed)
            if known is not None:
                prefix.listed = known.listed
                prefix.known = known.known if known.key == prefix.key else 0
            prefix.listed = prefix.listed or any(map(self._reflector.names, prefix.kind.feeds))

    def forget(self) -> None:
        """Forget everything, as if nothing had been listed."""
        for prefix in self.prefixes.values():
            prefix.listed, prefix.due, prefix.known = False, True, 0

    def begin(self, header: Header, *, same: bool = False) -> None:
        """Follow this server's history from now on, and list everything again.

        With ``same`` it continues the history that we knew, so that known revisions stay valid.
        """
        if not same:
            self.lineage.begin(header)
        for prefix in self.prefixes.values():
            prefix.due = True
            prefix.known = prefix.known if same else 0

    def history(self, client: Client, header: Header) -> tuple[History, str]:
        """Whether this server continues the history that we know; and if not, what differs."""
        if not self.lineage.known:
            if self._reflector.has_inherited:
                return History.UNPROVEN, "it is not known which etcd the earlier rows came from"
            return History.NONE, ""
        broken = self.lineage.broken_by(header)
        if broken:
            return History.OTHER, f"{broken}"
        answer = self.lineage.compare(partial(_look, client))
        return answer, _WHY.get(answer, "")

    def check(self, client: Client, header: Header) -> None:
        """Check that the server is the one that the connection began with. Raises Unavailable."""
        broken = self.lineage.broken_by(header)
        if broken:
            raise Unavailable(f"{client.endpoint}: the server was replaced: {broken}")
        self.lineage.observe_header(header)

    def probe(self, client: Client) -> None:
        """Check that the server still answers, and that it is the one we knew. Raises EtcdError."""
        prefix = next(iter(self.prefixes), b"a")
        self.check(client, client.get(prefix).header)

    @property
    def covers_rows(self) -> bool:
        """Whether ``lineage`` is at least as new as all rows. It is not while something is listed or has to be."""
        return not any(prefix.due for prefix in self.prefixes.values())

    # --- lists --------------------------------------------------------------------------------------------------------

    def list(self, client: Client, prefix: Prefix) -> None:
        """List a prefix at one revision, and replace its rows. Raises Compacted if a compaction comes between pages."""
        allowed(prefix.key, partial(self._list, client, prefix))

    def _list(self, client: Client, prefix: Prefix) -> None:
        split, clock = self._reflector.split, time.perf_counter
        objects: list[Upsert | Bad] = []
        copies: list[Upsert | Bad] = []
        kind, copy = prefix.kind, prefix.kind.copy
        newest: list[KeyValue] = []
        leases: set[int] = set()
        revision = 0
        started = clock()
        for page in client.list(prefix.key, self._page_limit):
            arrived = clock()
            self.check(client, page.header)
            if page.kvs:
                newest = nlargest(WITNESSES, (*newest, *page.kvs), key=_mod_revision)
                leases.update(kv.lease for kv in page.kvs)
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
        if kind.tables:
            self.replace(client, prefix, Listed(prefix.feed, objects), revision)
        if copy is not None:
            self.replace(client, prefix, Listed(copy.feed, copies), revision, copy)
        self.lineage.witness([(kv.key, revision, fingerprint(kv)) for kv in newest])
        prefix.known, prefix.listed, prefix.due, prefix.leases = revision, True, False, leases

    def replace(self, client: Client, prefix: Prefix, listed: Listed, revision: int, copy: Copy | None = None) -> None:
        """Decide what becomes of keys that a list of this revision lacks, and write the list. Raises EtcdError."""
        missing = self._reflector.names(listed.feed) - {event.object for event in listed.objects}
        if copy is not None:
            missing.discard(copy.feed)
        if (missing or self._reflector.has_inherited) and self.lineage.known:
            self._recheck_server(client, prefix)
        verdict = self._judge.list_verdict(prefix, revision)
        full = isinstance(verdict, Yes)
        doubts: dict[str, str] = dict.fromkeys(missing, "" if isinstance(verdict, Yes) else verdict.reason)
        if missing and self._judge.needs_causes and prefix.known and self._judge.explains_lists(prefix):
            doubts |= self._explained(client, prefix, missing, copy)
        gone = frozenset(name for name, doubt in doubts.items() if not doubt)
        reason = next(filter(None, doubts.values()), "" if full else _doubt(verdict))
        complete = () if copy is None else completion(copy)
        objects = [*listed.objects, *(complete if full else ())]
        believed = full and len(gone) == len(missing)
        self._reflector.offer(Listed(listed.feed, objects, believed, reason, gone))

    def _explained(self, client: Client, prefix: Prefix, names: Iterable[str], copy: Copy | None) -> dict[str, str]:
        """Doubts about keys that are gone since we were last connected to this server, by the reason why they are gone.

        Where etcd no longer knows the reason, the verdict on the list counts.
        """
        keys = {prefix.key_of(name, copy): name for name in names}
        causes = explain(client, [(key, prefix.known) for key in keys])
        known = {key: absence for key, absence in causes.items() if absence is not Absence.UNEXPLAINED}
        doubts = {absence: _doubt(self._judge.verdict(prefix, absence)) for absence in set(known.values())}
        return {keys[key]: doubts[absence] for key, absence in known.items()}

    def _recheck_server(self, client: Client, prefix: Prefix) -> None:
        """Before anything is deleted, check that one server sent the whole list: its address may lead elsewhere by now.

        Raises Unavailable if that cannot be shown, because `Judge` has judged the server that answered before the list.
        On the next connection it judges again.
        """
        header = client.get(prefix.key).header
        self.check(client, header)
        history, why = self.history(client, header)
        if history is History.OTHER:
            raise Unavailable(f"{client.endpoint}: the server was replaced while it was listed: {why}")
        if history is History.UNPROVEN:
            raise Unavailable(f"{client.endpoint}: the server may have been replaced while it was listed: {why}")

    def require_relist(self, revision: int) -> None:
        """The history before this revision is compacted. 0: the revision is unknown, or a list was interrupted."""
        for prefix in self.prefixes.values():
            prefix.due = prefix.due or not revision or prefix.known + 1 < revision

    # --- watches ------------------------------------------------------------------------------------------------------

    def gather(self, client: Client, stream: WatchStream, wait_s: float, other: Callable[[WatchBatch], None]) -> None:
        """Collect events until none is waiting or the batch is due, and write them.

        ``other`` is called with events of keys that belong to none of the prefixes.
        """
        batch = stream.next(wait_s)
        while batch is not None:
            prefix = self.prefixes.get(batch.prefix)
            if prefix is None:
                other(batch)
            else:
                self._on_batch(client, prefix, batch)
            batch = None if self._reflector.due or self._stopping() else stream.next(0)
        self._reflector.flush()

    def _on_batch(self, client: Client, prefix: Prefix, batch: WatchBatch) -> None:
        split, clock = self._reflector.split, time.perf_counter
        started = clock()
        known, events = prefix.known, batch.events
        # Before the rows: a dump of them must not be older than what it says of their server.
        self.lineage.observe(batch.resume - 1)
        self.lineage.witness([_version(event) for event in _newest(events)])
        if events and events[0].kv.mod_revision <= known:  # a list has come since, and older events would undo it
            events = [event for event in events if event.kv.mod_revision > known]
        copy = prefix.kind.copy
        deleted = [event.kv for event in events if event.type == DELETE]
        doubts: Mapping[bytes, str] = {}
        if self._judge.needs_causes:
            # First of all, because a key may be created and deleted in the same batch.
            prefix.leases.update([event.kv.lease for event in events if event.type != DELETE])
            doubts = self._doubts(client, prefix, deleted) if deleted else {}
        if prefix.kind.tables:
            self._reflector.offer_all(prefix.feed, [prefix.read_event(event, doubts) for event in events])
        if copy is not None:
            self._reflector.offer_all(copy.feed, [prefix.copy_event(event, copy, doubts) for event in events])
        split.decode_s += clock() - started
        prefix.known = max(known, batch.resume - 1)
        if events:
            prefix.changes += len(events) - len(deleted)
            prefix.lease = next((event.kv.lease for event in reversed(events) if event.type != DELETE), prefix.lease)

    def _doubts(self, client: Client, prefix: Prefix, deleted: Sequence[KeyValue]) -> Mapping[bytes, str]:
        """The keys whose deletion is doubted, each with the reason."""
        causes = explain(client, [(kv.key, kv.mod_revision - 1) for kv in deleted], prefix.leases)
        verdicts = {absence: self._judge.verdict(prefix, absence) for absence in set(causes.values())}
        return {key: verdict.reason for key, absence in causes.items() if isinstance(verdict := verdicts[absence], No)}


def _look(client: Client, key: bytes, revision: int) -> tuple[KeyValue | None, bool]:
    """The key at a revision; or if that is compacted, the key of now and True."""
    try:
        return client.get(key, revision).kv, False
    except Compacted:
        return client.get(key).kv, True


def _newest(events: Sequence[WatchEvent]) -> Iterable[WatchEvent]:
    """The last event of each of the keys that changed last, as many as `Lineage` keeps."""
    newest: dict[bytes, WatchEvent] = {}
    for event in reversed(events):
        newest.setdefault(event.kv.key, event)
        if len(newest) == WITNESSES:
            break
    return newest.values()


def _version(event: WatchEvent) -> tuple[bytes, int, Fingerprint]:
    kv = event.kv
    return kv.key, kv.mod_revision, None if event.type == DELETE else fingerprint(kv)


def _mod_revision(kv: KeyValue) -> int:
    return kv.mod_revision


def _doubt(verdict: Verdict) -> str:
    return verdict.reason if isinstance(verdict, No) else ""


def completion(copy: Copy) -> tuple[Upsert]:
    """The object that marks a copy as complete."""
    return (Upsert(copy.feed, copy.feed, (copy.complete,)),)


def allowed(key: bytes, ask: Callable[[], T]) -> T:
    """The result of ``ask``. Where etcd denies permission, the error names the key that the user may not read."""
    try:
        return ask()
    except PermissionDenied as error:
        raise PermissionDenied(f"{error}; the user needs the right to read {key.decode()}") from None
