"""The kvstore backend: one thread, one etcd client, all prefixes on one watch stream.

connect ─▶ is it the etcd we know? ─▶ list what is due ─▶ watch from the next revision ─▶ batches
   ▲                                        ▲                        │ compacted        │
   │                                        └────────────────────────┘                  │
   └── the next endpoint, or wait, longer each time ◀── any error; what we know stays ──┘
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from statedb import Database

from ..etcd import PUT, Client, Compacted, EtcdError, PermissionDenied, Unauthenticated, Unavailable, WatchBatch
from ..keyspace.connect import Connector, servers_of
from ..keyspace.keyspace import Keyspace, allowed
from ..keyspace.line import Line
from ..keyspace.prefix import Prefix
from ..keyspace.trust import Trust
from ..reflect import Feed, Reflector, Split
from ..source import AnyTable
from ..status import State, Status
from .kinds import HEARTBEAT, Kind, chosen
from .options import KvstoreOptions

_PROBE_S = 30.0
_LONGEST_WAIT_S = 1.0
_COMPACTIONS_MAX = 5
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
        self._status = Status(db, cluster_name, self.backend, self.tables)
        feeds = [Feed(kind.prefix, kind.tables, mixed=kind.mixed) for kind in kinds]
        self._reflector = Reflector(db, cluster_name, self.backend, feeds, self._status)
        self._line = Line(
            f"kvstore {cluster_name}",
            Connector(servers_of(options)),
            self._status,
            self._session,
            self._lost,
            self._ended,
            retry_min_s=options.retry_min_s,
            retry_max_s=options.retry_max_s,
            clock=clock,
        )
        self._keyspace = Keyspace(kinds, self._reflector, options.page_limit, lambda: self._line.stopping)
        self._prefixes = tuple(self._keyspace.prefixes.values())
        self._trust = Trust(options.lease_time_s)
        self._accepted = False
        self._heartbeat_known = 0

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread against expectation, or None."""
        return self._line.failure

    @property
    def split(self) -> Split:
        """Where the time went."""
        return self._reflector.split

    def start(self) -> None:
        """Claim the tables and begin to connect. Raises OwnedElsewhere."""
        self._reflector.begin()
        self._line.start()

    def stop(self) -> None:
        """Ask it to end; a request under way is cut off."""
        self._line.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended."""
        return self._line.join(timeout)

    def accept(self) -> None:
        """Believe the etcd that answers now: what was withheld is deleted within a second, or when it answers again."""
        self._accepted = True

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _ended(self, failure: Exception | None) -> None:
        if failure is None:
            self._status.disown()
        else:
            self._status.report("failed", f"{type(failure).__name__}: {failure}")

    def _session(self, client: Client) -> None:
        """One connection, until it breaks (EtcdError) or we are asked to stop."""
        try:
            self._recognise(client)
            compactions = 0
            while not self._line.stopping:
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
            self._reflector.flush()

    # --- whom we talk to ----------------------------------------------------------------------------------------------

    def _recognise(self, client: Client) -> None:
        """Find out whether this is the etcd that we know; if not, everything is listed anew and deletes wait."""
        lineage = self._keyspace.lineage
        heartbeat = allowed(HEARTBEAT, partial(client.get, HEARTBEAT))
        broken = lineage.broken_by(heartbeat.header) or self._keyspace.contradiction(client)
        if broken:
            self._trust.doubt(f"this etcd is not the one that filled the table: {broken}")
        if broken or not lineage.known:
            self._keyspace.begin(heartbeat.header)
        self._heartbeat_known = heartbeat.header.revision
        if heartbeat.kv is None:
            self._trust.silence()
        else:
            self._trust.heartbeat(self._clock())

    # --- lists --------------------------------------------------------------------------------------------------------

    def _list_due(self, client: Client) -> None:
        due = [prefix for prefix in self._prefixes if prefix.due]
        self._report("syncing", "", [prefix for prefix in due if not prefix.listed])
        for prefix in due:
            if not self._line.stopping:
                self._keyspace.list(client, prefix, self._is_full)

    def _is_full(self, prefix: Prefix, _revision: int) -> bool:
        """A first list replaces nothing: there is nothing to doubt about it."""
        return not (self._trust.reason and prefix.listed)

    def _outdate(self, revision: int) -> None:
        """History before this revision is gone; 0: we were not told, or a list was cut in two."""
        self._heartbeat_known = max(self._heartbeat_known, revision - 1)
        self._keyspace.outdate(revision)

    # --- watches ------------------------------------------------------------------------------------------------------

    def _follow(self, client: Client) -> None:
        """Watch until we are asked to stop, or everything is to be listed anew."""
        relist_s = self._options.relist_s
        relist_at = None if relist_s is None else self._clock() + relist_s
        starts = {prefix.key: prefix.known + 1 for prefix in self._prefixes}
        starts[HEARTBEAT] = self._heartbeat_known + 1
        with client.watch(starts) as stream:
            probe_at = self._clock() + _PROBE_S
            while not self._line.stopping:
                self._keyspace.gather(stream, self._patience(probe_at), self._beat)
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

    def _patience(self, probe_at: float) -> float:
        """For how long there is nothing to do unless an event comes."""
        waits = [_LONGEST_WAIT_S, probe_at - self._clock()]
        waits += [wait for wait in (self._status.due_in(), self._trust.due_in(self._clock())) if wait is not None]
        return max(0.001, min(waits))

    def _beat(self, batch: WatchBatch) -> None:
        self._heartbeat_known = batch.resume - 1
        for event in batch.events:
            if event.type == PUT:
                self._trust.heartbeat(self._clock())
            else:
                self._trust.silence()

    def _probe(self, client: Client) -> None:
        """A silent watch may have a dead or another server behind it. Raises EtcdError."""
        broken = self._keyspace.lineage.broken_by(client.get(HEARTBEAT).header)
        if broken:
            raise Unavailable(f"{client.endpoint}: the server was replaced: {broken}")

    # --- what we say of ourselves -------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Say how much of what we see is believed; carry out what was withheld once it is."""
        self._line.is_well()
        trust = self._trust
        if self._accepted or trust.restored(self._clock()):
            self._accepted = False
            trust.restore()
            self._reflector.release()
        withheld = sum(self._reflector.withheld(prefix.name) for prefix in self._prefixes)
        if withheld and trust.reason:
            self._report("stale", f"withholding {withheld} deletes: {trust.reason}")
        else:
            trust.restore()
            self._report("synced", "")

    def _lost(self, error: EtcdError) -> None:
        refused = isinstance(error, _REFUSALS)
        listed = [prefix for prefix in self._prefixes if prefix.listed]
        unlisted = [prefix for prefix in self._prefixes if not prefix.listed]
        self._report("failed" if refused else "stale", str(error), listed)
        self._report("failed" if refused else "connecting", str(error), unlisted)

    def _report(self, state: State, error: str, prefixes: Sequence[Prefix] | None = None) -> None:
        prefixes = self._prefixes if prefixes is None else prefixes
        tables = dict.fromkeys(table for prefix in prefixes for table in prefix.kind.tables)
        if tables:
            self._status.report(state, error, tables)
