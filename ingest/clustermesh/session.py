"""One cluster of a mesh: one thread, one etcd client at a time, all prefixes on one watch stream.

connect ─▶ heartbeat ─▶ cluster config ─▶ take its id ─▶ canary of each prefix ─▶ list it ─▶ watch it
   ▲       (locks the    (waits for it)    (drains if       (waits for it)      (replaces what
   │       etcd's id)                       it changed)                          we had of it)
   └── the next server, or wait ◀── any error, another etcd's id, no heartbeat; what we know stays ──┘

Servers may be replicas that know nothing of each other: revisions mean nothing on another one, so every connection
lists anew. A list may delete only what it was complete for: its canary is there, at the very revision of the list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

from statedb import Database
from statedb.catalog import Mirror
from statedb.catalog.wire import WireError, cluster_configs
from statedb.catalog.wire.cluster_configs import ClusterConfig

from ..errors import InvalidOptions
from ..etcd import (
    DELETE,
    PUT,
    Client,
    Compacted,
    EtcdError,
    KeyValue,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    WatchBatch,
    WatchStream,
)
from ..events import Listed, Upsert
from ..keyspace.connect import Connector, Servers, servers_of
from ..keyspace.keyspace import Keyspace, allowed, completion
from ..keyspace.kind import Kind, check_names, chosen
from ..keyspace.line import Line
from ..keyspace.prefix import Prefix
from ..keyspace.trust import Trust
from ..reflect import Feed, Reflector, Split
from ..source import AnyTable
from ..status import State, Status
from .away import Away
from .heartbeat import Heartbeat
from .ids import ClusterIds
from .kinds import (
    COPIES,
    FEEDS,
    HEARTBEAT,
    MIRROR_CONFIG,
    MIRROR_FEEDS,
    TABLES,
    Layout,
    copy_of,
    kinds,
    mirrored_config,
)
from .options import ClusterMeshOptions, RemoteClustersOptions

_LONGEST_WAIT_S = 1.0
_PROBE_S = 30.0
_COMPACTIONS_MAX = 5


class _Unfit(EtcdError):
    """The etcd answers, but the cluster behind it cannot be taken into this mesh."""


_WORSE: tuple[State, ...] = ("synced", "stale", "syncing")
_REFUSALS = (PermissionDenied, Unauthenticated, _Unfit)


class ClusterSource:
    """One cluster of a mesh as a `Source`; made by `local` and `remote`."""

    backend = "clustermesh"

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
        """Not yet started. ``own_id`` is the id that the cluster must have; else ``ids`` says which it may have."""
        names = check_names(self.backend, TABLES, tables)
        self.cluster = layout.cluster
        self.tables: tuple[AnyTable, ...] = tuple(table for table in TABLES if table.name in names)
        if layout.mirror:
            self.tables = (*self.tables, Mirror)
        self._names = names
        self._layout = layout
        self._options = options
        self._own_id = own_id
        self._ids = ids
        self._clock = clock
        self._status = Status(db, self.cluster, self.backend, self.tables)
        feeds = [
            Feed(feed.name, tuple(table for table in feed.tables if table in self.tables), mixed=feed.mixed)
            for feed in FEEDS
        ]
        self._feeds = tuple(feed for feed in feeds if feed.tables) + (MIRROR_FEEDS if layout.mirror else ())
        self._reflector = Reflector(db, self.cluster, self.backend, self._feeds, self._status)
        self._line = Line(
            f"clustermesh {self.cluster}",
            Connector(servers),
            self._status,
            self._session,
            self._lost,
            self._ended,
            retry_min_s=options.retry_min_s,
            retry_max_s=options.retry_max_s,
            clock=clock,
        )
        self._keyspace = Keyspace((), self._reflector, options.page_limit, lambda: self._line.stopping)
        self._trust = Trust(options.lease_time_s)
        self._heartbeat = Heartbeat(options.heartbeat_timeout_s)
        self._away = Away(options.lease_time_s)
        self._away_from = 0
        self._canary_versions: dict[bytes, tuple[int, int]] = {}
        self._config: ClusterConfig | None = None
        self._accepted = False
        self._removed = False
        # Of the present connection:
        self._raw_config: bytes | None = None
        self._renewed = False
        self._etcd_id = 0
        self._canaries: set[bytes] = set()
        self._believed = False
        self._watched: set[bytes] = set()
        self._warning = ""

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread against expectation, or None."""
        return self._line.failure

    @property
    def split(self) -> Split:
        """Where the time went."""
        return self._reflector.split

    def start(self) -> None:
        """Claim the tables and begin to connect. Raises OwnedElsewhere. Nobody waits for a remote cluster's lists."""
        self._reflector.begin(gates=self._ids is None)
        self._line.start()

    def stop(self) -> None:
        """Ask it to end; its rows stay."""
        self._line.stop()

    def remove(self) -> None:
        """Ask it to end; the cluster is none of ours any more: its rows go, its id is free."""
        self._removed = True
        self._line.stop()
        if self.failure is not None:  # the thread ended before, by a bug, and cannot do it any more
            self._leave()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended."""
        return self._line.join(timeout)

    def accept(self) -> None:
        """Believe the etcd that answers now, canaries or not: what it does not hold is deleted."""
        self._accepted = True

    def reconnect(self, servers: Servers) -> None:
        """Connect to other servers, or in another way, from now on; rows stay. Raises InvalidOptions."""
        self._line.replace(Connector(servers))

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _ended(self, failure: Exception | None) -> None:
        if failure is not None:
            self._status.report("failed", f"{type(failure).__name__}: {failure}")
        elif self._removed:
            self._leave()
        else:
            self._status.disown()

    def _leave(self) -> None:
        self._reflector.drain()
        if self._ids is not None:
            self._ids.give_back(self.cluster)
        self._status.forget()

    def _session(self, client: Client) -> None:
        """One connection, until it breaks (EtcdError), should be made anew, or we are asked to stop."""
        self._believed, self._renewed, self._warning = False, False, ""
        compactions = 0
        try:
            while not self._line.stopping and not self._renewed:
                try:
                    self._follow(client)
                except Compacted:
                    compactions += 1
                    if compactions > _COMPACTIONS_MAX:
                        raise Unavailable(f"{client.endpoint}: compacts faster than its keys can be listed") from None
        finally:
            self._reflector.flush()

    def _follow(self, client: Client) -> None:
        """List and watch all that there is. Raises EtcdError, Compacted to begin again on this connection."""
        self._watched.clear()
        self._canaries.clear()
        connected_at = self._clock()
        starts = {HEARTBEAT: self._hear(client), self._layout.config_key: self._ask_config(client)}
        with client.watch(starts, keys=tuple(starts)) as stream:
            self._await_config(client, stream)
            if self._line.stopping or self._renewed:
                return
            config = self._admit()
            self._recognise(client, config)
            if config.synced_canaries:
                self._watch_canaries(client, stream)
            probe_at = self._clock() + _PROBE_S
            renewal_at = self._clock() + self._options.renewal_s
            while not self._line.stopping and not self._renewed:
                self._judge_writer()
                self._list_due(client, stream)
                if stream.ready:
                    self._settle()
                self._status.write_if_due()
                self._keyspace.gather(stream, self._patience(), self._hear_of)
                now = self._clock()
                if now >= probe_at:
                    client.get(HEARTBEAT)  # a silent watch may have a dead server behind it
                    probe_at = now + _PROBE_S
                if now >= renewal_at:
                    self._look_for_renewal()
                    renewal_at = now + self._options.renewal_s
                self._check_heartbeat(client, connected_at)

    def _patience(self) -> float:
        """For how long there is nothing to do unless an event comes."""
        now = self._clock()
        waits = [_LONGEST_WAIT_S, self._options.renewal_s, self._heartbeat.timeout_s]
        waits += [
            wait
            for wait in (self._status.due_in(), self._trust.due_in(now), self._away.due_in(now))
            if wait is not None
        ]
        return max(0.001, min(waits))

    def _hear_of(self, batch: WatchBatch) -> None:
        """An event of a key that is no row: heartbeat, cluster config, or a canary."""
        if batch.prefix == HEARTBEAT:
            self._hear_heartbeat(batch)
        elif batch.prefix == self._layout.config_key:
            self._hear_config(batch)
        else:
            written = [event.kv for event in batch.events if event.type == PUT]
            self._noted(written)
            self._hear_canaries([kv.key for kv in written])

    def _look_for_renewal(self) -> None:
        """Whether certificates or password have changed: then a new connection is made, if they are in order."""
        try:
            self._renewed = self._renewed or self._line.connector.renewed()
            self._warning = ""
        except OSError as error:
            self._warning = f"renewed credentials are not used: {error}"

    # --- heartbeat ----------------------------------------------------------------------------------------------------

    def _hear(self, client: Client) -> int:
        """The heartbeat as it is now; from which revision on to watch it."""
        answer = allowed(HEARTBEAT, partial(client.get, HEARTBEAT))
        self._etcd_id = answer.header.cluster_id
        if answer.kv is None:
            self._heartbeat.absent()
            self._trust.silence()
        else:
            self._heartbeat.beat(self._etcd_id, answer.kv.mod_revision, self._clock())
            self._trust.heartbeat(self._clock())
        return answer.header.revision + 1

    def _hear_heartbeat(self, batch: WatchBatch) -> None:
        for event in batch.events:
            if event.type == PUT:
                self._heartbeat.beat(self._etcd_id, event.kv.mod_revision, self._clock())
                self._trust.heartbeat(self._clock())
                self._away.returned(self._clock())
                if (
                    self._away.in_doubt and self._etcd_id != self._away_from
                ):  # another etcd, with a writer that is there
                    self._hear_canaries(list(self._canaries))
            else:
                self._trust.silence()
                self._doubt_writer("its writer is away: the lease of its heartbeat has ended")

    def _check_heartbeat(self, client: Client, connected_at: float) -> None:
        """A server without a living writer is left for another one, each as long as a writer may be silent."""
        now = self._clock()
        if self._heartbeat.is_silent(now) and now - connected_at > self._heartbeat.timeout_s:
            raise Unavailable(f"{client.endpoint}: {self._silence(now)}")

    def _judge_writer(self) -> None:
        """While its writer is away an etcd loses its keys by itself: those deletes are withheld."""
        now = self._clock()
        if self._heartbeat.is_silent(now):
            self._doubt_writer(self._silence(now))
        elif self._away.is_over(now):
            self._believe_writer()
        self._keyspace.doubt = self._away.reason

    def _doubt_writer(self, reason: str) -> None:
        self._away.begin(reason)
        self._away_from = self._etcd_id

    def _believe_writer(self) -> None:
        if self._away.in_doubt:
            self._away.end()
            self._keyspace.doubt = ""
            self._reflector.release()

    def _silence(self, now: float) -> str:
        return f"its writer is silent: no heartbeat for {self._heartbeat.silent_s(now) or 0:.0f} s"

    # --- cluster config -----------------------------------------------------------------------------------------------

    def _ask_config(self, client: Client) -> int:
        """The cluster config as it is now, if it is there; from which revision on to watch it."""
        key = self._layout.config_key
        answer = allowed(key, partial(client.get, key))
        self._raw_config = None if answer.kv is None else answer.kv.value
        return answer.header.revision + 1

    def _hear_config(self, batch: WatchBatch) -> None:
        """Another config than the one that this connection was begun with makes it begin anew; its absence does not."""
        for event in batch.events:
            if event.type == DELETE:
                continue
            if self._raw_config is not None and event.kv.value != self._raw_config:
                self._renewed = True
            self._raw_config = event.kv.value

    def _await_config(self, client: Client, stream: WatchStream) -> None:
        """Wait until the cluster has said who it is. Raises Unavailable after the time for it."""
        until = self._clock() + self._options.config_timeout_s
        key = self._layout.config_key.decode()
        while self._raw_config is None and not self._line.stopping:
            left = until - self._clock()
            if left <= 0:
                raise Unavailable(f"{client.endpoint}: there is no {key}")
            self._report_lack(f"{client.endpoint}: waiting for {key}")
            self._status.write_if_due()
            batch = stream.next(min(left, _LONGEST_WAIT_S))
            if batch is not None:
                self._hear_of(batch)

    def _admit(self) -> ClusterConfig:
        """Take up what the cluster says of itself, and drain what we had under another id. Raises _Unfit."""
        key = self._layout.config_key.decode()
        try:
            config = cluster_configs.decode(self._raw_config or b"")
        except WireError as error:
            raise _Unfit(f"{key}: {error}") from None
        before = self._config
        why = self._why_not(config)
        if why:
            raise _Unfit(f"{key}: {why}")
        if before is not None and before.id != config.id and self._ids is not None:
            self._reflector.drain()
            self._keyspace.forget()
        self._config = config
        if self._layout.mirror:
            row = mirrored_config(self._layout, self._raw_config or b"")
            self._reflector.offer(Listed(MIRROR_CONFIG.name, [Upsert(MIRROR_CONFIG.name, row.key.name, (row,))]))
        return config

    def _why_not(self, config: ClusterConfig) -> str:
        """Why this cluster cannot be taken in; else its id is taken."""
        if self._own_id is not None:
            if config.id != self._own_id:
                return f"its id is {config.id}, our own is {self._own_id}"
            if config.id == 0:
                config = ClusterConfig(1, max_connected_clusters=config.max_connected_clusters)
        why = cluster_configs.why_incompatible(config, self._layout.max_clusters)
        return why or ("" if self._ids is None else self._ids.take(self.cluster, config.id))

    # --- whom we talk to ----------------------------------------------------------------------------------------------

    def _recognise(self, client: Client, config: ClusterConfig) -> None:
        """Plan what to read. A server that is not the one we knew is not believed yet: without canaries its lists are
        not; with them they are, but a doubt outlives this connection until they have come: the next may have none.
        """
        plan = chosen(kinds(self._layout, config), self._names)
        keyspace = self._keyspace
        header = client.get(HEARTBEAT).header
        broken = keyspace.lineage.broken_by(header)
        if keyspace.lineage.known and not config.synced_canaries:
            moved = {kind.prefix for kind in plan} != {prefix.name for prefix in keyspace.prefixes.values()}
            broken = "it keeps its state elsewhere" if moved else broken or keyspace.contradiction(client)
        keyspace.replan(plan)
        keyspace.begin(header)
        if broken:
            self._trust.doubt(f"this etcd is not the one that filled the table: {broken}")
            self._hear(client)

    # --- canaries and lists -------------------------------------------------------------------------------------------

    def _watch_canaries(self, client: Client, stream: WatchStream) -> None:
        prefix = self._layout.synced_prefix
        revision = 0
        for page in allowed(prefix, lambda: list(client.list(prefix, self._options.page_limit))):
            self._canaries.update(kv.key for kv in page.kvs)
            self._hear_canaries(self._noted(page.kvs))
            revision = page.revision
        stream.add(prefix, revision + 1)

    def _noted(self, kvs: Iterable[KeyValue]) -> list[bytes]:
        """The canaries among them that this etcd had not, when we last looked, or had older ones of."""
        newer = []
        for kv in kvs:
            etcd_id, revision = self._canary_versions.get(kv.key, (self._etcd_id, 0))
            if etcd_id == self._etcd_id and revision < kv.mod_revision:
                newer.append(kv.key)
            self._canary_versions[kv.key] = self._etcd_id, kv.mod_revision
        return newer

    def _hear_canaries(self, written: list[bytes]) -> None:
        """Prefixes begin when their canaries are there; those that a returned writer writes again are listed anew."""
        self._canaries.update(written)
        if self._away.in_doubt:
            for canary in written:
                self._away.renew(canary)
            for prefix in self._keyspace.prefixes.values():
                if not set(prefix.kind.canaries).isdisjoint(written) and self._away.is_renewed(prefix.kind.canaries):
                    prefix.due = True

    def _missing(self, kind: Kind) -> list[str]:
        """The canaries that a prefix waits for."""
        if self._believed:
            return []
        return [canary.decode() for canary in kind.canaries if canary not in self._canaries]

    def _list_due(self, client: Client, stream: WatchStream) -> None:
        if self._accepted:
            self._accepted, self._believed = False, True
            self._trust.restore()
            self._away.end()
            self._keyspace.doubt = ""
            self._reflector.release()
        listed = False
        for prefix in tuple(self._keyspace.prefixes.values()):
            if prefix.due and not self._missing(prefix.kind) and not self._line.stopping:
                if not prefix.listed:
                    self._status.report("syncing", "", prefix.kind.fills)
                self._keyspace.list(client, prefix, partial(self._is_full, client))
                prefix.due = bool(self._missing(prefix.kind))  # one may have gone: then the list was not complete
                listed = True
                if prefix.key not in self._watched:
                    self._watched.add(prefix.key)
                    stream.add(prefix.key, prefix.known + 1)
        if listed and not any(prefix.due for prefix in self._keyspace.prefixes.values()):
            self._leave_out()
            if all(self._away.is_renewed(prefix.kind.canaries) for prefix in self._keyspace.prefixes.values()):
                self._believe_writer()

    def _is_full(self, client: Client, prefix: Prefix, revision: int) -> bool:
        """Whether a list may delete: its canaries are there at its revision; or it is of the etcd that we knew."""
        if self._believed:
            return True
        if self._away.in_doubt and not self._away.is_renewed(prefix.kind.canaries):
            return False
        for canary in prefix.kind.canaries:
            if client.get(canary, revision).kv is None:
                self._canaries.discard(canary)
                return False
        # Without canaries a first list is believed: it replaces nothing.
        return bool(prefix.kind.canaries) or not (self._trust.reason and prefix.listed)

    def _leave_out(self) -> None:
        """Feeds that this cluster does not announce are empty, now that those are there which replace them."""
        kinds_used = [prefix.kind for prefix in self._keyspace.prefixes.values()]
        used = {kind.feed for kind in kinds_used if kind.tables}
        used |= {kind.copy.feed for kind in kinds_used if kind.copy is not None}
        for feed in self._feeds:
            if feed.name not in used and feed not in MIRROR_FEEDS:
                self._reflector.offer(Listed(feed.name, ()))
        for name in COPIES if self._layout.mirror else ():
            copy = copy_of(self.cluster, name)  # a cache tells of it too that all of it is there
            if copy.feed not in used:
                self._reflector.offer(Listed(copy.feed, completion(copy)))

    # --- what we say of ourselves -------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Say how much of what we see is believed; carry out what was withheld once it is."""
        prefixes = tuple(self._keyspace.prefixes.values())
        now = self._clock()
        if not any(prefix.due for prefix in prefixes):
            self._line.is_well()
        trust = self._trust
        if trust.restored(now):
            self._reflector.release()
        withheld = sum(self._reflector.withheld(feed.name) for feed in self._feeds)
        if not withheld and not any(prefix.due for prefix in prefixes):
            trust.restore()
        reason = trust.reason or self._away.reason
        silent = self._silence(now) if self._heartbeat.is_silent(now) else ""
        worst: dict[AnyTable, tuple[State, str]] = dict.fromkeys(self.tables, ("synced", ""))
        for prefix in prefixes:
            judged = self._judged(prefix, silent, withheld, reason)
            for table in prefix.kind.fills:
                worst[table] = max(worst[table], judged, key=lambda each: _WORSE.index(each[0]))
        for table, (state, error) in worst.items():
            self._status.report(state, error or self._warning, (table,))

    def _judged(self, prefix: Prefix, silent: str, withheld: int, reason: str) -> tuple[State, str]:
        missing = self._missing(prefix.kind)
        if prefix.due and missing:
            return "stale" if prefix.listed else "syncing", f"waiting for {missing[0]}: not all of it is there yet"
        if withheld and reason:
            return "stale", f"withholding {withheld} deletes: {reason}"
        return ("stale", silent) if silent else ("synced", "")

    def _lost(self, error: EtcdError) -> None:
        self._report_lack(str(error), refused=isinstance(error, _REFUSALS))

    def _report_lack(self, error: str, *, refused: bool = False) -> None:
        """Of tables that were listed once the last good rows stand; of the others nothing is known."""
        listed = {table for prefix in self._keyspace.prefixes.values() if prefix.listed for table in prefix.kind.fills}
        known = [table for table in self.tables if table in listed]
        unknown = [table for table in self.tables if table not in listed]
        if known:
            self._status.report("failed" if refused else "stale", error, known)
        if unknown:
            self._status.report("failed" if refused else "connecting", error, unknown)


def local(db: Database, cluster: str, cluster_id: int, options: ClusterMeshOptions) -> ClusterSource:
    """The local cluster's own state. Raises InvalidOptions."""
    layout = Layout(
        cluster=cluster,
        max_clusters=options.max_connected_clusters,
        checked=False,
        prefer_endpoint_slices=options.prefer_endpoint_slices,
    )
    servers = servers_of(options, locked=True)
    return ClusterSource(db, layout, servers, options, own_id=cluster_id, tables=options.tables)


def remote(
    db: Database,
    cluster: str,
    servers: Servers,
    options: RemoteClustersOptions,
    ids: ClusterIds,
    *,
    mirror: bool = False,
) -> ClusterSource:
    """Another cluster; with ``mirror`` its raw values too, in the table `Mirror`. Raises InvalidOptions."""
    if not servers.locked:
        raise InvalidOptions("a connection to another cluster must be locked to one etcd")
    layout = Layout(
        cluster=cluster,
        max_clusters=options.max_connected_clusters,
        prefer_endpoint_slices=options.prefer_endpoint_slices,
        mirror=mirror,
    )
    return ClusterSource(db, layout, servers, options, ids=ids)
