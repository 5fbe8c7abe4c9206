"""The thread that keeps the etcd of a cache equal to the table `Mirror`: level-triggered, one connection at a time.

connect ─▶ what stands there? ─▶ what is wanted (all rows, then changes) ─▶ queue of keys ─▶ batches, paced
   ▲                                                                                            │
   └── any error: pause, and all of that anew ◀─────────────────────────────────────────────────┘

The queue holds each key once; what is written is what the table says then. Keys are written in the order in which they
came in, and the key that tells that a prefix is complete comes in behind all of it.

Nothing is deleted because it is unknown. A single key goes when the mirror of its prefix is complete and lacks it; that
finds also what an earlier process left. A cluster goes when the mirror has let go of it, or when it is in no
configuration any more: first what it says of itself, so that nobody begins to read it, and after a grace all of it.
Keys of an earlier process whose cluster is still on its way stay, and their leases are renewed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any

import msgspec

from consumers.running.retries import delay_s
from statedb import ChangeBatch, ChangeStream, Database, Snapshot
from statedb.catalog import Mirror, MirrorKey, Rejected, SourceKey, Sources
from statedb.catalog.wire import cluster_configs, keys

from ..held import Held
from .names import KINDS, canaries, config_name, is_canary, is_config, owner, rank
from .options import MeshCacheOptions
from .store import Connect, Store

log = logging.getLogger("statedb.consumers")

_DIRECTORY = SourceKey("*", "*")
_SELF = ""
"""Stands for the cluster of the heartbeat."""
_LONGEST_WAIT_S = 1.0


class Stats(msgspec.Struct, frozen=True):
    """Since the start, but for ``clusters``, ``keys`` and ``leases``: those are now."""

    puts: int
    deletes: int
    transactions: int
    connections: int
    clusters: int
    keys: int
    leases: int


class MeshCache:
    """Started once, stopped once; from any thread. `meshcache` makes it."""

    name = "meshcache"

    def __init__(
        self,
        db: Database,
        connect: Connect,
        options: MeshCacheOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` paces it, ``wall`` dates heartbeat and canaries."""
        for table in (Mirror, Sources, Rejected):
            db.snapshot()[table]  # one that is not there is told here and not in the thread
        self.crash: BaseException | None = None
        """What ended its thread against expectation, or None."""
        self._db = db
        self._connect = connect
        self._options = options
        self._clock = clock
        self._wall = wall
        self._thread = threading.Thread(target=self._run, name="meshcache", daemon=True)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._stream: ChangeStream[Any, Any] | None = None
        self._state = "not started"
        self._ready = threading.Event()
        self._began = 0.0
        self._counts: Counter[str] = Counter()
        self._tries = 0
        # What outlives a connection:
        self._own_leases: set[int] = set()
        self._seen: set[str] = set()
        self._ids: dict[str, int] = {}
        self._leaving: dict[str, float] = {}
        # Of the present connection:
        self._held = Held()
        self._snapshot: Snapshot = db.snapshot()
        self._queue: dict[str, str] = {}
        self._renew_at = self._beat_at = self._enforce_at = self._write_at = 0.0

    # --- for its owner ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. Raises RuntimeError the second time."""
        self._began = self._clock()
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; a request under way is cut off. What it has written stays for the time of its leases."""
        self._stop.set()
        with self._lock:
            store, stream = self._store, self._stream
        if stream is not None:
            stream.close()
        if store is not None:
            store.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; True at once if it never started."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def ready(self) -> bool:
        """Whether all that is to be waited for was written once; from then on for ever."""
        return self._ready.is_set()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait for that; False when ``timeout`` seconds passed before."""
        return self._ready.wait(timeout)

    @property
    def health(self) -> str:
        """How it is doing, in one line, which begins with OK where it does well."""
        return f"crashed: {self.crash!r}" if self.crash is not None else self._state

    @property
    def queue_size(self) -> int:
        """How many keys wait to be written."""
        return len(self._queue)

    @property
    def stats(self) -> Stats:
        """What it has done."""
        count, held = self._counts, self._held
        return Stats(
            count["puts"],
            count["deletes"],
            count["transactions"],
            count["connections"],
            len([cluster for cluster in held.clusters() if cluster != _SELF]),
            len(held),
            len(held.leases()),
        )

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._state = "connecting" if not self._tries else self._state
                try:
                    self._session()
                except Exception as error:  # whatever an etcd, or the way to it, can raise: all is done anew
                    if self._stop.is_set():
                        break
                    self._tries += 1
                    self._state = f"failing, {self._tries} tries: {error}"
                    log.warning("meshcache: %s", self._state)
                    self._stop.wait(delay_s(self._tries - 1, self._options.retry_min_s, self._options.retry_max_s))
            self._state = "stopped"
        except BaseException as error:
            self.crash = error
            raise

    def _session(self) -> None:
        store = self._connect()
        stream = self._db.changes(Mirror)
        with self._lock:
            self._store, self._stream = store, stream
        try:
            if self._stop.is_set():
                return
            self._counts["connections"] += 1
            self._load(store)
            while not self._stop.is_set():
                batch = stream.next(0 if self._queue else self._due_in())
                if batch is not None:
                    self._take(batch)
                self._tend(store)
                if self._write(store):
                    self._tries, self._state = 0, "OK"
                self._look_if_ready()
        finally:
            with self._lock:
                self._store = self._stream = None
            stream.close()
            store.close()

    def _load(self, store: Store) -> None:
        """What stands there, of whichever process."""
        self._held, self._queue = Held(), {}
        for prefix in (keys.CACHE, keys.CLUSTER_CONFIG, keys.SYNCED):
            for page in store.list(f"{prefix}/".encode(), self._options.page_limit):
                for kv in page.kvs:
                    name = kv.key.decode("utf-8", "surrogateescape")
                    cluster = owner(name, kv.value)
                    if cluster:
                        self._held.put(cluster, name, kv.value, kv.lease)
                        if is_config(name):
                            self._ids.setdefault(cluster, cluster_configs.decode(kv.value).id)
        self._renew_at = self._beat_at = self._write_at = 0.0
        self._enforce_at = self._clock() + self._options.enforce_s

    def _due_in(self) -> float:
        """For how long there is nothing to do unless the table changes."""
        until = min(self._renew_at, self._beat_at, self._enforce_at, *self._leaving.values())
        return max(0.0, min(until - self._clock(), _LONGEST_WAIT_S))

    # --- what is wanted -----------------------------------------------------------------------------------------------

    def _take(self, batch: ChangeBatch[Any]) -> None:
        """Changes of the table into the queue; a key that waits already keeps its place."""
        self._snapshot = batch.snapshot
        for change in sorted(batch, key=lambda each: rank(each.row.key.name)):
            cluster, name = change.row.key.cluster, change.row.key.name
            if not change.deleted:
                if is_config(name):
                    self._seen.add(cluster)
                if is_canary(name):
                    self._queue.pop(name, None)
                    self._prune(cluster, name)
            self._queue.setdefault(name, cluster)

    def _prune(self, cluster: str, canary: str) -> None:
        """The mirror of a prefix is complete: what stands there and is not in it is to go."""
        mirror = self._snapshot[Mirror]
        for name in self._held.names(cluster):
            if rank(name) == 1 and keys.synced(cluster, name) == canary and MirrorKey(cluster, name) not in mirror:
                self._queue.setdefault(name, cluster)

    def _is_there(self, cluster: str) -> bool:
        return MirrorKey(cluster, config_name(cluster)) in self._snapshot[Mirror]

    def _wanted(self, cluster: str, name: str) -> bytes | None:
        """The value that a key should have; None: it should not be there."""
        row = self._snapshot[Mirror].get(MirrorKey(cluster, name))
        if row is None:
            return None
        if is_canary(name):
            held = self._held.get(cluster, name)
            return self._now() if held is None else held.value
        return _cached(row.value) if is_config(name) else row.value

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write(self, store: Store) -> bool:
        """The first keys of the queue, if it is time. True when nothing waits any more."""
        if not self._queue:
            return True
        pause = self._write_at - self._clock()
        if pause > 0 and self._stop.wait(min(pause, _LONGEST_WAIT_S)):
            return False
        if pause > _LONGEST_WAIT_S:
            return False
        names = list(islice(self._queue, self._options.batch_keys_max))
        written = 0
        for wanted_rank in (0, 1, 2):
            some = [name for name in names if rank(name) == wanted_rank and name in self._queue]
            written += self._write_some(store, [(self._queue[name], name) for name in some])
        for name in names:
            self._queue.pop(name, None)
        if self._options.writes_per_s is not None:
            self._write_at = self._clock() + written / self._options.writes_per_s
        return not self._queue

    def _write_some(self, store: Store, names: list[tuple[str, str]]) -> int:
        """Keys of one rank; how many had to be written."""
        puts: list[tuple[str, str, bytes]] = []
        deletes: list[tuple[str, str]] = []
        for cluster, name in names:
            if not self._is_there(cluster):
                continue  # it leaves as a whole, or has never been ours
            if is_config(name):
                self._admit(store, cluster, name)
            value, held = self._wanted(cluster, name), self._held.get(cluster, name)
            if value is not None:
                if held is None or held.value != value or held.lease not in self._own_leases:
                    puts.append((cluster, name, value))
            elif held is not None and rank(name) == 1 and self._is_complete(cluster, name):
                deletes.append((cluster, name))
        self._put(store, puts)
        for cluster, name in deletes:
            store.delete(_key(name))
            self._held.drop(cluster, name)
        self._counts["deletes"] += len(deletes)
        self._counts["transactions"] += len(deletes)
        return len(puts) + len(deletes)

    def _is_complete(self, cluster: str, name: str) -> bool:
        return MirrorKey(cluster, keys.synced(cluster, name)) in self._snapshot[Mirror]

    def _put(self, store: Store, puts: list[tuple[str, str, bytes]]) -> None:
        by_lease: dict[int, list[tuple[str, str, bytes]]] = {}
        coming: Counter[int] = Counter()
        for each in puts:
            held = self._held.get(each[0], each[1])
            lease = held.lease if held is not None and held.lease in self._own_leases else self._lease(store, coming)
            by_lease.setdefault(lease, []).append(each)
            coming[lease] += 1
        for lease, some in by_lease.items():
            store.put_many([(_key(name), value) for _, name, value in some], lease)
            for cluster, name, value in some:
                self._held.put(cluster, name, value, lease)
            self._counts["puts"] += len(some)
            self._counts["transactions"] += 1

    def _admit(self, store: Store, cluster: str, name: str) -> None:
        """A cluster under another id is another cluster: what the old one had goes before it says so."""
        row = self._snapshot[Mirror].get(MirrorKey(cluster, name))
        if row is None:
            return
        number = cluster_configs.decode(row.value).id
        if self._ids.get(cluster, number) != number:
            self._remove(store, cluster)
            for each in sorted(self._snapshot[Mirror.by_cluster][cluster], key=lambda row: rank(row.key.name)):
                self._queue.setdefault(each.key.name, cluster)
        self._ids[cluster] = number

    # --- leases -------------------------------------------------------------------------------------------------------

    def _lease(self, store: Store, coming: Counter[int]) -> int:
        """A lease with room for one more key beside those that come."""
        most = self._options.lease_keys_max
        for lease in self._own_leases:
            if self._held.keys_of(lease) + coming[lease] < most:
                return lease
        lease = store.grant(max(1, round(self._options.lease_time_s)))
        self._own_leases.add(lease)
        return lease

    def _renew(self, store: Store) -> None:
        """All leases that have keys, an earlier process's too; what went with one that ended is written anew."""
        lost: list[tuple[str, str]] = []
        for lease in set(self._held.leases()):
            if not store.renew(lease):
                self._own_leases.discard(lease)
                lost += self._held.drop_lease(lease)
        self._own_leases &= set(self._held.leases())
        for cluster, name in sorted(lost, key=lambda each: rank(each[1])):
            self._queue.setdefault(name, cluster)
        if lost:
            log.warning("meshcache: a lease has ended, %d keys are written anew", len(lost))
            self._beat_at = 0.0

    # --- what is due by time ------------------------------------------------------------------------------------------

    def _tend(self, store: Store) -> None:
        now, options = self._clock(), self._options
        if now >= self._renew_at:
            self._renew(store)
            self._renew_at = now + options.lease_time_s / 3
        if now >= self._beat_at:
            value, lease = self._now(), self._lease(store, Counter())
            store.put(keys.HEARTBEAT.encode(), value, lease)
            self._held.put(_SELF, keys.HEARTBEAT, value, lease)
            self._beat_at = now + options.heartbeat_s
        if now >= self._enforce_at:
            self._enforce()
            self._enforce_at = now + options.enforce_s
        self._part(store, now)

    def _enforce(self) -> None:
        """Write again what clusters say of themselves: somebody else may have touched it."""
        for cluster in self._held.clusters():
            if cluster != _SELF and self._is_there(cluster):
                self._held.drop(cluster, config_name(cluster))
                self._queue.setdefault(config_name(cluster), cluster)

    def _part(self, store: Store, now: float) -> None:
        """Clusters that are none of ours any more."""
        for cluster in self._held.clusters():
            if cluster == _SELF:
                continue
            if self._is_there(cluster):
                self._leaving.pop(cluster, None)
            elif cluster not in self._leaving and (cluster in self._seen or self._is_forgotten(cluster)):
                self._leaving[cluster] = now + self._options.grace_s
                log.info("meshcache: cluster %s has left; its keys go in %g s", cluster, self._options.grace_s)
            if cluster in self._leaving and self._held.get(cluster, config_name(cluster)) is not None:
                store.delete(_key(config_name(cluster)))
                self._held.drop(cluster, config_name(cluster))
        for cluster in [cluster for cluster, at in self._leaving.items() if now >= at]:
            self._remove(store, cluster)
            del self._leaving[cluster]
            self._ids.pop(cluster, None)

    def _is_forgotten(self, cluster: str) -> bool:
        """Whether a cluster of an earlier process is in no configuration. In doubt it is not."""
        snapshot = self._db.snapshot()
        directory = snapshot[Sources].get(_DIRECTORY)
        if directory is None or directory.state != "synced":
            return False
        if any(row.key.cluster == _DIRECTORY.cluster for row in snapshot[Rejected].values()):
            return False
        return not any(row.key.cluster == cluster for row in snapshot[Sources].values())

    def _remove(self, store: Store, cluster: str) -> None:
        """All keys of a cluster, those first that say that they are all there."""
        prefixes = [keys.join(keys.SYNCED, cluster), *[f"{kind}/{cluster}" for kind in KINDS]]
        for prefix in prefixes:
            self._counts["deletes"] += store.delete_prefix(f"{prefix}/".encode())
            self._counts["transactions"] += 1
        for name in list(self._held.names(cluster)):
            if not is_config(name):
                self._held.drop(cluster, name)

    # --- what we say of ourselves -------------------------------------------------------------------------------------

    def _look_if_ready(self) -> None:
        """Whether every cluster that was configured when we looked is written, or need not be waited for."""
        if self._ready.is_set():
            return
        sources = self._db.snapshot()[Sources]
        waited_s = self._clock() - self._began
        if _DIRECTORY in sources and all(
            self._is_written(row.key.cluster)
            or waited_s > self._options.sync_wait_s
            or (waited_s > self._options.connect_wait_s and not self._is_there(row.key.cluster))
            for row in sources.values()
            if row.key.table == Mirror.name
        ):
            self._ready.set()

    def _is_written(self, cluster: str) -> bool:
        """Whether all canaries of a cluster were written by us."""
        entries = [self._held.get(cluster, name) for name in canaries(cluster)]
        return all(entry is not None and entry.lease in self._own_leases for entry in entries)

    def _now(self) -> bytes:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall())).encode()


def open_meshcache(db: Database, connect: Connect, options: MeshCacheOptions = MeshCacheOptions()) -> MeshCache:  # noqa: B008
    """Keep the etcd behind ``connect`` equal to the table `Mirror`; not yet started.

    ``db`` has the tables `Mirror`, `Sources` and `Rejected`; the sources of remote clusters fill the first one where
    they are opened with ``mirror``.
    """
    return MeshCache(db, connect, options)


def _key(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _cached(value: bytes) -> bytes:
    """What a cluster says of itself, as a cache says it."""
    config = cluster_configs.decode(value)
    return cluster_configs.encode(msgspec.structs.replace(config, synced_canaries=True, cached=True))
