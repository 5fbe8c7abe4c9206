"""One cluster of a mesh: one thread, one etcd client at a time, all prefixes on one watch stream.

heartbeat ─▶ cluster config ─▶ claim its id ─▶ canary of each prefix ─▶ list it ─▶ watch it
(locks the    (waits for it)    (drains if        (waits for it)       (replaces the
etcd's id)                       it changed)                            rows of it)

Servers may be replicas that do not know of each other. A revision of one means nothing on another one, so each
connection lists everything again. `ingest.belief` decides whether missing and deleted keys are believed to be gone;
this module collects the evidence, with `writers` and `judging` of `ingest.keyspace`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from statedb import Database
from statedb.catalog import Mirror
from statedb.catalog.wire.cluster_configs import ClusterConfig

from ..belief import Absence, History, Verdict, Yes
from ..etcd import (
    DELETE,
    PUT,
    Client,
    EtcdError,
    Page,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    WatchBatch,
    WatchEvent,
    WatchStream,
)
from ..keyspace import judging
from ..keyspace.acceptance import Acceptance
from ..keyspace.connect import Connector, Servers
from ..keyspace.connection import ConnectionLoop
from ..keyspace.keyspace import Keyspace, allowed
from ..keyspace.kind import check_names, chosen
from ..keyspace.origin import OriginKeeper
from ..keyspace.prefix import Prefix
from ..keyspace.session import Session
from ..keyspace.source import EtcdSource
from ..keyspace.writers import Writers
from ..reflect import Reflector
from ..source import AnyTable
from ..status import State, Status
from .admission import Admission, IncompatibleCluster
from .connection import Connection
from .ids import ClusterIds
from .kinds import HEARTBEAT, TABLES, Layout, feeds_of, kinds
from .mirror_config import MirrorConfig
from .options import ClusterMeshOptions, RemoteClustersOptions, config_wait_s
from .unannounced import Unannounced

_LONGEST_WAIT_S = 1.0
_WRITERS = "heartbeat"
_BEST_FIRST: tuple[State, ...] = ("synced", "stale", "syncing")
_REFUSALS = (PermissionDenied, Unauthenticated, IncompatibleCluster)


class ClusterSource(EtcdSource):
    """One cluster of a mesh as a `Source`; made by `local` and `remote` of `factory`."""

    backend = "clustermesh"
    needs_causes = True

    def __init__(
        self,
        db: Database,
        layout: Layout,
        servers: Servers,
        options: ClusterMeshOptions | RemoteClustersOptions,
        *,
        own_id: int | None = None,
        ids: ClusterIds | None = None,
        tables: tuple[str, ...] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Not yet started. ``own_id`` is the id that the cluster must have. Without it ``ids`` decides."""
        names = check_names(self.backend, TABLES, tables)
        self.cluster = layout.cluster
        self.tables = (*(table for table in TABLES if table.name in names), *((Mirror,) if layout.mirror else ()))
        self._layout = layout
        self._options = options
        self._clock = clock
        self._status = Status(db, self.cluster, self.backend, self.tables)
        self._reflector = Reflector(
            db, self.cluster, self.backend, feeds_of(layout, self.tables), self._status, with_initializers=ids is None
        )
        self._admission = Admission(layout, own_id, ids)
        self._mirror_config = MirrorConfig(db, layout, self._reflector)
        self._unannounced = Unannounced(layout, self.tables, self._reflector)
        self._writers = Writers(options.heartbeat_timeout_s, options.lease_time_s)
        self._loop = ConnectionLoop(
            f"clustermesh {self.cluster}",
            Connector(servers),
            self._status,
            lambda client: Session(self, self._loop, self._keyspace, self._reflector, self._status, self._clock).run(
                client
            ),
            self._lost,
            self._ended,
            retry_min_s=options.retry_min_s,
            retry_max_s=options.retry_max_s,
            clock=clock,
        )
        self._keyspace = Keyspace((), self._reflector, options.page_limit, self, lambda: self._loop.stopping)
        self._origin = OriginKeeper(self._status, self._keyspace, {_WRITERS: self._writers}, clock)
        self._acceptance = Acceptance(f"{self.backend}/{self.cluster}")
        self._leaving = False
        self._connection = Connection()

    @property
    def servers(self) -> Servers:
        """The servers that it connects to."""
        return self._loop.connector.servers

    def start(self) -> None:
        """Claim the tables and connect. Tables do not wait for the lists of a remote cluster. Raises OwnedElsewhere."""
        self._reflector.begin()
        if self._reflector.has_inherited:
            self._origin.load()
        self._loop.start()

    def remove(self) -> None:
        """Ask it to end because the cluster has left: its rows are deleted, and its id is released."""
        self._leaving = True
        self._loop.stop()
        if self.failure is not None:  # the thread ended before, by a bug, and cannot do it any more
            self._leave()

    def accept(self) -> None:
        """Trust the etcd that answers now, even without canaries: rows of keys that it does not have are deleted.

        This is done within a second, on this connection only. What goes afterwards is judged as ever.
        """
        self._acceptance.press()

    def reconnect(self, servers: Servers) -> None:
        """Use other servers or other credentials from now on. Rows stay. Raises InvalidOptions."""
        self._loop.replace(Connector(servers))

    # --- evidence -----------------------------------------------------------------------------------------------------

    def explains_lists(self, prefix: Prefix) -> bool:
        """Whether the keys came from this etcd, and its writer has not written all keys again since."""
        return self._writers.explains_lists(prefix.feed)

    def list_verdict(self, prefix: Prefix, revision: int) -> Verdict:
        """Whether rows of keys that a list lacks may be deleted. The canaries must exist at the list's revision."""
        client, inherited = self._connection.client, self._reflector.has_inherited
        return judging.list_verdict(self._writers, prefix, client, revision, self._clock(), has_inherited=inherited)

    def verdict(self, prefix: Prefix, absence: Absence) -> Verdict:
        """Whether rows of keys that are gone from this etcd for this reason may be deleted."""
        return judging.verdict(self._writers, prefix, absence, self._clock())

    # --- the connection -----------------------------------------------------------------------------------------------

    def identify(self, client: Client) -> Mapping[bytes, int]:
        """Read the heartbeat and the cluster config."""
        self._connection = Connection(client, self._clock(), self._options.renewal_s)
        heartbeat = allowed(HEARTBEAT, partial(client.get, HEARTBEAT))
        self._writers.connected(heartbeat.header.cluster_id, heartbeat.kv, self._clock())
        key = self._layout.config_key
        config = allowed(key, partial(client.get, key))
        self._admission.read(config.kv)
        return {HEARTBEAT: heartbeat.header.revision + 1, key: config.header.revision + 1}

    def admit(self, client: Client, stream: WatchStream) -> bool:
        """Wait for the cluster config, admit the cluster, and choose the prefixes to read."""
        self._await_config(client, stream)
        if self._loop.stopping or self._connection.reconnect_due:
            return False
        config, moved = self._admission.admit()
        if moved:
            self._reflector.drain()
            self._keyspace.forget()
            self._unannounced.forget()
        self._mirror_config.admit(self._admission.raw or b"")
        self._check_history(client, config)
        if config.synced_canaries:
            self._watch_canaries(client, stream)
        return True

    def _await_config(self, client: Client, stream: WatchStream) -> None:
        """Raises Unavailable if the config does not come in time."""
        until = self._clock() + config_wait_s(self._options, has_others=self._loop.connector.has_others)
        key = self._admission.key
        if self._admission.raw is None and self._writers.has_known_canaries:
            self._find_lost_canaries(client)
        while self._admission.raw is None and not self._loop.stopping:
            left = until - self._clock()
            if left <= 0:
                raise Unavailable(f"{client.endpoint}: there is no {key}")
            self._report_unavailable(f"{client.endpoint}: waiting for {key}")
            self._status.write_if_due()
            batch = stream.next(min(left, _LONGEST_WAIT_S))
            if batch is not None:
                self.on_other(batch)

    def _check_history(self, client: Client, config: ClusterConfig) -> None:
        """Compare this etcd, and its prefixes, with the ones that we knew."""
        names = [table.name for table in self.tables]
        plan = chosen(kinds(self._layout, config), tuple(names))
        header = client.get(HEARTBEAT).header
        history, why = self._keyspace.history(client, header)
        is_shown = bool(self._keyspace.lineage.witnesses)
        before = {prefix.feed: prefix.name for prefix in self._keyspace.prefixes.values()}
        self._origin.connected()
        self._unannounced.plan(plan, before=before)
        if history is History.SAME and any(before.get(kind.feed, kind.prefix) != kind.prefix for kind in plan):
            history, why = History.OTHER, "it keeps its state elsewhere"
        self._keyspace.replan(plan)
        self._keyspace.begin(header, same=history is History.SAME)
        feeds = [prefix.feed for prefix in self._all_prefixes]
        self._acceptance.connected()
        self._writers.identified(history, why, feeds, is_shown=is_shown)
        self._unannounced.require_newer(self._writers, self._keyspace.prefixes.values(), self._admission.revision)

    def _find_lost_canaries(self, client: Client) -> None:
        """Without a config the writer has not begun. Canaries that are missing now count as new when they appear."""
        self._writers.canaries_lost_except({kv.key for page in self._canary_pages(client) for kv in page.kvs})

    def _canary_pages(self, client: Client) -> list[Page]:
        prefix = self._layout.synced_prefix
        return allowed(prefix, lambda: list(client.list(prefix, self._options.page_limit)))

    def _watch_canaries(self, client: Client, stream: WatchStream) -> None:
        prefix = self._layout.synced_prefix
        revision = 0
        for page in self._canary_pages(client):
            for kv in page.kvs:
                self._writers.canary_found(kv, self._clock(), self._parts(), written=False)
            revision = page.revision
        stream.add(prefix, revision + 1)

    # --- events -------------------------------------------------------------------------------------------------------

    def on_other(self, batch: WatchBatch) -> None:
        """Events of the heartbeat, the cluster config, or canaries."""
        if batch.prefix == HEARTBEAT:
            for event in batch.events:
                if event.type == PUT:
                    self._writers.beat(event.kv, self._clock())
        elif batch.prefix == self._layout.config_key:
            self._connection.reconnect_due |= self._admission.on_events(batch)
        else:
            for event in batch.events:
                self._on_canary(event)

    def _on_canary(self, event: WatchEvent) -> None:
        if event.type == DELETE:
            self._writers.canary_lost(event.kv.key)
            return
        self._writers.canary_found(event.kv, self._clock(), self._parts(), written=True)

    def _parts(self) -> list[tuple[str, tuple[bytes, ...]]]:
        return [(prefix.feed, prefix.kind.canaries) for prefix in self._all_prefixes]

    def may_list(self, prefix: Prefix) -> bool:
        """Whether the prefix's canaries are there."""
        return not self._writers.missing(prefix.kind.canaries)

    def listed(self, prefixes: Iterable[Prefix]) -> None:
        """Check canaries again, and let tables be initialized that now wait for nothing else."""
        for prefix in prefixes:
            self._writers.listed(prefix.feed)
            prefix.due = not self.may_list(prefix)
        self._unannounced.finish_idle(self._keyspace.prefixes.values())

    def check(self) -> bool:
        """Whether to keep this connection. Raises Unavailable if the writer is silent."""
        now = self._clock()
        if self._acceptance.take():
            self._reflector.accept()
            self._writers.accept()
            for prefix in self._all_prefixes:
                prefix.due = True
        heartbeat = self._writers.heartbeat
        if heartbeat.is_silent(now) and now - self._connection.since > heartbeat.timeout_s:
            raise Unavailable(f"{self._connection.client.endpoint}: {self._writers.describe_silence(now)}")
        self._connection.check_credentials(self._loop.connector, now)
        return not self._connection.reconnect_due

    def waits(self) -> Iterable[float | None]:
        """The seconds until certificates are checked, a heartbeat is late, or a writer has caught up."""
        return (self._options.renewal_s, self._writers.heartbeat.timeout_s, *self._writers.due_in(self._clock()))

    # --- reports ------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Judge withheld deletes again, and report. A list carries them out, for events may still be on their way."""
        now = self._clock()
        prefixes = self._all_prefixes
        if not any(prefix.due for prefix in self._keyspace.prefixes.values()):
            if self._unannounced.prefix.due:
                self._clear_unannounced()
            self._loop.mark_healthy()
        is_cleared = not self._unannounced.prefix.due
        doubtful = [prefix for prefix in prefixes if self._withheld(prefix)]
        for prefix in prefixes:
            if not prefix.due and prefix not in doubtful:
                self._unannounced.proven(self._writers, prefix)
        looked_at = [(self._writers, prefix) for prefix in doubtful or prefixes[:1]]
        self._connection.leases.check(self._connection.client, looked_at, now)
        judging.settle(self._writers, prefixes, self._withheld, now)
        is_listed = not any(prefix.due for prefix in prefixes)
        self._origin.settle(is_settled=is_listed and not doubtful and not self._writers.is_doubted)
        self._report(prefixes, now, is_cleared=is_cleared)

    def _clear_unannounced(self) -> None:
        """Clear the feeds that this cluster does not announce. Those that replace them are listed by now."""
        feed, config = self._unannounced.prefix.feed, self._admission.raw
        accepted = self._writers.is_accepted(feed)
        if self._mirror_config.is_withheld:
            found = self._connection.client.get(self._layout.config_key)
            verdict = self.list_verdict(self._unannounced.prefix, found.header.revision)
            if isinstance(verdict, Yes) and (accepted or (found.kv is not None and found.kv.value == config)):
                self._mirror_config.write()  # before the copies are cleared, which would seem to be announced still
        self._unannounced.clear(self._connection.client, self._keyspace, config, accepted=accepted)
        self._writers.listed(feed)

    @property
    def _all_prefixes(self) -> tuple[Prefix, ...]:
        """The prefixes, and the one that stands for all feeds that are not announced."""
        return (*self._keyspace.prefixes.values(), self._unannounced.prefix)

    def _withheld(self, prefix: Prefix) -> int:
        feeds = self._unannounced.feeds if prefix is self._unannounced.prefix else prefix.kind.feeds
        return sum(map(self._reflector.withheld, feeds)) + self._kept_from_mirror(prefix)

    def _kept_from_mirror(self, prefix: Prefix) -> int:
        """What the mirror lacks though the prefix is listed: the config, and that copies are complete."""
        if prefix is self._unannounced.prefix:
            return self._unannounced.incomplete + self._mirror_config.is_withheld
        return int(prefix.listed and not self._unannounced.is_complete(prefix.kind.copy))

    def _hold_back_mirror(self, prefixes: Sequence[Prefix], now: float) -> None:
        """Tell what is kept from the mirror, besides the deletes, which the reflector counts."""
        kept = {prefix: count for prefix in prefixes if (count := self._kept_from_mirror(prefix))}
        verdicts = [self._writers.verdict(each.feed, each.kind.canaries, None, now) for each in kept]
        doubt = next((each.reason for each in verdicts if not isinstance(each, Yes)), "")
        self._status.hold_back(Mirror, sum(kept.values()), doubt)

    def _report(self, prefixes: Sequence[Prefix], now: float, *, is_cleared: bool) -> None:
        worst: dict[AnyTable, tuple[State, str]] = dict.fromkeys(self.tables, ("synced", ""))
        for prefix in prefixes:
            judged = self._state(prefix, now, is_cleared=is_cleared)
            for table in prefix.kind.fills:
                worst[table] = max(worst[table], judged, key=lambda each: _BEST_FIRST.index(each[0]))
        if self._layout.mirror:
            self._hold_back_mirror(prefixes, now)
        for table, (state, error) in worst.items():
            self._status.report(state, error or self._connection.warning, (table,))

    def _state(self, prefix: Prefix, now: float, *, is_cleared: bool) -> tuple[State, str]:
        is_waiting = prefix is self._unannounced.prefix and not is_cleared
        awaited = self._all_prefixes if is_waiting else (prefix,)
        missing = next(filter(None, [judging.missing_canary(self._writers, each) for each in awaited]), "")
        if missing:
            return "stale" if prefix.listed else "syncing", missing
        if self._admission.is_lost or is_waiting:  # nothing is cleared without the config
            return "stale", f"its writer is away: {self._admission.key} is gone"
        return ("stale", self._writers.describe_silence(now)) if self._writers.is_silent(now) else ("synced", "")

    def _lost(self, error: EtcdError) -> None:
        self._report_unavailable(str(error), refused=isinstance(error, _REFUSALS))

    def _report_unavailable(self, error: str, *, refused: bool = False) -> None:
        """Report an outage: listed tables are stale, and the others are still connecting."""
        listed = {table for prefix in self._all_prefixes if prefix.listed for table in prefix.kind.fills}
        known = [table for table in self.tables if table in listed]
        unknown = [table for table in self.tables if table not in listed]
        if known:
            self._status.report("failed" if refused else "stale", error, known)
        if unknown:
            self._status.report("failed" if refused else "connecting", error, unknown)

    def _ended(self, failure: Exception | None) -> None:
        if failure is not None:
            self._status.fail(failure)
        elif self._leaving:
            self._leave()
        else:
            self._origin.end()
            self._status.release()

    def _leave(self) -> None:
        self._reflector.drain()
        self._admission.leave()
        self._status.forget()
