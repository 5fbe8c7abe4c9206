"""The kvstore backend: one thread, one etcd client, all prefixes on one watch stream.

connect ─▶ is it the etcd we know? ─▶ list what is due ─▶ watch from the next revision ─▶ batches
   ▲                                        ▲                        │ compacted        │
   │                                        └────────────────────────┘                  │
   └── the next endpoint, or wait, longer each time ◀── any error; what we know stays ──┘
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from statedb import Database

from ..backoff import Backoff
from ..etcd import (
    PUT,
    Client,
    Compacted,
    EtcdError,
    Header,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    WatchBatch,
    WatchStream,
)
from ..events import Bad, Listed, Upsert
from ..reflect import Feed, Reflector, Split
from ..source import AnyTable
from ..status import State, Status
from ..worker import Worker
from .connect import Connector
from .kinds import HEARTBEAT, Kind, chosen
from .lineage import Lineage
from .options import KvstoreOptions
from .prefix import Prefix
from .trust import Trust

T = TypeVar("T")

_PROBE_S = 30.0
_LONGEST_WAIT_S = 1.0
_COMPACTIONS_MAX = 5
_WITNESSES = 2
_REFUSALS = (PermissionDenied, Unauthenticated)


class KvstoreSource:
    """An etcd in Cilium's KVStore layout as a `Source`."""

    backend = "kvstore"

    def __init__(
        self,
        db: Database,
        cluster_name: str,
        cluster_id: int,
        options: KvstoreOptions,
        *,
        kinds: Sequence[Kind] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Not yet started. ``kinds`` are for prefixes of your own. Raises InvalidOptions."""
        kinds = chosen(cluster_name, cluster_id, options.tables) if kinds is None else tuple(kinds)
        self.cluster = cluster_name
        self.tables: tuple[AnyTable, ...] = tuple(dict.fromkeys(table for kind in kinds for table in kind.tables))
        self._options = options
        self._clock = clock
        self._connector = Connector(options)
        self._prefixes = {prefix.key: prefix for prefix in map(Prefix, kinds)}
        self._status = Status(db, cluster_name, self.backend, self.tables)
        feeds = [Feed(kind.prefix, kind.tables, mixed=kind.mixed) for kind in kinds]
        self._reflector = Reflector(db, cluster_name, self.backend, feeds, self._status)
        self._lineage = Lineage()
        self._trust = Trust(options.lease_time_s)
        self._accepted = False
        self._heartbeat_known = 0
        self._synced_at: float | None = None
        self._client: Client | None = None
        self._worker = Worker(f"kvstore {cluster_name}", self._run, self._ended)

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread against expectation, or None."""
        return self._worker.failure

    @property
    def split(self) -> Split:
        """Where the time went."""
        return self._reflector.split

    def start(self) -> None:
        """Claim the tables and begin to connect. Raises OwnedElsewhere."""
        self._reflector.begin()
        self._worker.start()

    def stop(self) -> None:
        """Ask it to end; a request under way is cut off."""
        self._worker.stop()
        client = self._client
        if client is not None:
            client.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended."""
        return self._worker.join(timeout)

    def accept(self) -> None:
        """Believe the etcd that answers now: what was withheld is deleted within a second, or when it answers again."""
        self._accepted = True

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = Backoff(self._options.retry_min_s, self._options.retry_max_s)
        while not self._worker.stopping:
            self._synced_at = None
            try:
                self._session()
            except EtcdError as error:
                if self._worker.stopping:
                    return
                self._lost(error)
            if self._synced_at is not None:
                backoff.lasted(self._clock() - self._synced_at)
            if not self._connector.failed():
                self._rest(backoff.next())

    def _ended(self, failure: Exception | None) -> None:
        if failure is None:
            self._status.disown()
        else:
            self._status.report("failed", f"{type(failure).__name__}: {failure}")

    def _rest(self, seconds: float) -> None:
        """Wait before the next try; what the status still has to write is written meanwhile."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            due_in = self._status.due_in()
            if self._worker.pause(left if due_in is None else min(left, due_in)):
                return
            self._status.write_if_due()

    def _session(self) -> None:
        """One connection, until it breaks (EtcdError) or we are asked to stop."""
        self._client = client = self._connector.connect()
        try:
            if self._worker.stopping:  # stop() may have looked for a client before there was one
                return
            self._recognise(client)
            compactions = 0
            while not self._worker.stopping:
                try:
                    self._list_due(client)
                    self._follow(client)
                    compactions = 0
                except Compacted as error:
                    compactions += 1
                    if compactions > _COMPACTIONS_MAX:
                        raise Unavailable(f"{client.endpoint}: compacts faster than its keys can be listed") from None
                    self._outdate(error.revision)
        finally:
            self._client = None
            client.close()
            self._reflector.flush()

    # --- whom we talk to ----------------------------------------------------------------------------------------------

    def _recognise(self, client: Client) -> None:
        """Find out whether this is the etcd that we know; if not, everything is listed anew and deletes wait."""
        heartbeat = _allowed(HEARTBEAT, partial(client.get, HEARTBEAT))
        broken = self._lineage.broken_by(heartbeat.header) or self._contradiction(client)
        if broken:
            self._trust.doubt(f"this etcd is not the one that filled the table: {broken}")
        if broken or not self._lineage.known:
            self._begin(heartbeat.header)
        self._heartbeat_known = heartbeat.header.revision
        if heartbeat.kv is None:
            self._trust.silence()
        else:
            self._trust.heartbeat(self._clock())

    def _begin(self, header: Header) -> None:
        self._lineage.begin(header)
        for prefix in self._prefixes.values():
            prefix.due = True

    def _contradiction(self, client: Client) -> str:
        """Why the witnesses say that this is another history; empty if they do not."""
        witnesses = self._lineage.witnesses
        gone = 0
        for key in witnesses:
            known = next(prefix.known for prefix in self._prefixes.values() if key.startswith(prefix.key))
            try:
                kv = client.get(key, known).kv
            except Compacted:
                kv = client.get(key).kv
                if kv is None:
                    gone += 1
                    continue
                if kv.mod_revision > known:
                    continue
            broken = self._lineage.contradicted_by(key, None if kv is None else kv.mod_revision)
            if broken:
                return broken
        return "none of the keys that would show it is left" if witnesses and gone == len(witnesses) else ""

    # --- lists --------------------------------------------------------------------------------------------------------

    def _list_due(self, client: Client) -> None:
        due = [prefix for prefix in self._prefixes.values() if prefix.due]
        self._report("syncing", "", [prefix for prefix in due if not prefix.listed])
        for prefix in due:
            if not self._worker.stopping:
                _allowed(prefix.key, partial(self._list, client, prefix))

    def _list(self, client: Client, prefix: Prefix) -> None:
        """List a prefix at one revision and replace what we had of it. Raises Compacted between two pages."""
        split, clock = self.split, time.perf_counter
        objects: list[Upsert | Bad] = []
        witnesses: list[tuple[int, bytes]] = []
        revision = 0
        started = clock()
        for page in client.list(prefix.key, self._options.page_limit):
            arrived = clock()
            if not revision:
                witnesses = heapq.nsmallest(_WITNESSES, [(kv.mod_revision, kv.key) for kv in page.kvs])
            objects += prefix.read_page(page.kvs)
            revision = page.revision
            split.client_s += arrived - started
            started = clock()
            split.decode_s += started - arrived
            if self._worker.stopping:
                return
        split.client_s += clock() - started
        # A first list replaces nothing: there is nothing to doubt about it.
        self._reflector.offer(Listed(prefix.name, objects, full=not (self._trust.reason and prefix.listed)))
        prefix.known, prefix.listed, prefix.due = revision, True, False
        self._lineage.saw(revision)
        for version, key in witnesses:
            self._lineage.witness(key, version)

    def _outdate(self, revision: int) -> None:
        """History before this revision is gone; 0: we were not told, or a list was cut in two."""
        self._heartbeat_known = max(self._heartbeat_known, revision - 1)
        for prefix in self._prefixes.values():
            prefix.due = prefix.due or not revision or prefix.known + 1 < revision

    # --- watches ------------------------------------------------------------------------------------------------------

    def _follow(self, client: Client) -> None:
        """Watch until we are asked to stop, or everything is to be listed anew."""
        relist_s = self._options.relist_s
        relist_at = None if relist_s is None else self._clock() + relist_s
        starts = {prefix.key: prefix.known + 1 for prefix in self._prefixes.values()}
        starts[HEARTBEAT] = self._heartbeat_known + 1
        with client.watch(starts) as stream:
            probe_at = self._clock() + _PROBE_S
            while not self._worker.stopping:
                self._gather(stream, probe_at)
                if stream.ready:
                    self._settle()
                self._status.write_if_due()
                now = self._clock()
                if now >= probe_at:
                    self._probe(client)
                    probe_at = now + _PROBE_S
                if relist_at is not None and now >= relist_at:
                    self._outdate(0)
                    return

    def _gather(self, stream: WatchStream, probe_at: float) -> None:
        """Take what comes until nothing more is waiting or the batch is due, and write it."""
        batch = stream.next(self._patience(probe_at))
        while batch is not None:
            self._take(batch)
            batch = None if self._reflector.due or self._worker.stopping else stream.next(0)
        self._reflector.flush()

    def _patience(self, probe_at: float) -> float:
        """For how long there is nothing to do unless an event comes."""
        waits = [_LONGEST_WAIT_S, probe_at - self._clock()]
        waits += [wait for wait in (self._status.due_in(), self._trust.due_in(self._clock())) if wait is not None]
        return max(0.001, min(waits))

    def _take(self, batch: WatchBatch) -> None:
        prefix = self._prefixes.get(batch.prefix)
        if prefix is None:
            self._beat(batch)
            return
        split, clock, offer, lineage = self.split, time.perf_counter, self._reflector.offer, self._lineage
        started = clock()
        for event in batch.events:
            said = prefix.read_event(event)
            lineage.changed(event.kv.key, event.kv.mod_revision if event.type == PUT else None)
            offer(said)
        split.decode_s += clock() - started
        prefix.known = batch.resume - 1
        lineage.saw(prefix.known)

    def _beat(self, batch: WatchBatch) -> None:
        self._heartbeat_known = batch.resume - 1
        for event in batch.events:
            if event.type == PUT:
                self._trust.heartbeat(self._clock())
            else:
                self._trust.silence()

    def _probe(self, client: Client) -> None:
        """A silent watch may have a dead or another server behind it. Raises EtcdError."""
        broken = self._lineage.broken_by(client.get(HEARTBEAT).header)
        if broken:
            raise Unavailable(f"{client.endpoint}: the server was replaced: {broken}")

    # --- what we say of ourselves -------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Say how much of what we see is believed; carry out what was withheld once it is."""
        if self._synced_at is None:
            self._synced_at = self._clock()
            self._connector.worked()
        trust = self._trust
        if self._accepted or trust.restored(self._clock()):
            self._accepted = False
            trust.restore()
            self._reflector.release()
        withheld = sum(self._reflector.withheld(prefix.name) for prefix in self._prefixes.values())
        if withheld and trust.reason:
            self._report("stale", f"withholding {withheld} deletes: {trust.reason}")
        else:
            trust.restore()
            self._report("synced", "")

    def _lost(self, error: EtcdError) -> None:
        refused = isinstance(error, _REFUSALS)
        listed = [prefix for prefix in self._prefixes.values() if prefix.listed]
        unlisted = [prefix for prefix in self._prefixes.values() if not prefix.listed]
        self._report("failed" if refused else "stale", str(error), listed)
        self._report("failed" if refused else "connecting", str(error), unlisted)

    def _report(self, state: State, error: str, prefixes: Sequence[Prefix] | None = None) -> None:
        prefixes = tuple(self._prefixes.values()) if prefixes is None else prefixes
        tables = dict.fromkeys(table for prefix in prefixes for table in prefix.kind.tables)
        if tables:
            self._status.report(state, error, tables)


def _allowed(key: bytes, ask: Callable[[], T]) -> T:
    """What etcd answers; a refusal says what we may not read."""
    try:
        return ask()
    except PermissionDenied as error:
        raise PermissionDenied(f"{error}; the user needs the right to read {key.decode()}") from None
