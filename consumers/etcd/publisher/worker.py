"""The thread that keeps an etcd equal to the tables: level-triggered, one connection at a time.

connect ─▶ what stands there? ─▶ all objects ─▶ what is left over ─▶ canaries ─▶ changes, as they come
   ▲                                  └── queue of objects ──▶ transactions, paced ──┘           │
   └── any error: pause, and all of that anew ◀─────────────────────────────────────────────────┘

The queue holds an object once; what is written is what the tables say then. Nothing is written before the tables are
complete, and what an earlier process left is only deleted while their sources are in order: absence counts where it can
be believed. All hangs on leases, so that it goes, in the end, with us.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any, Self

import msgspec

from consumers.running.retries import delay_s
from consumers.running.steps import bell
from statedb import Database, Snapshot, WatchSet
from statedb.catalog import EndpointSlices, SourceKey, Sources
from statedb.catalog.wire import WireError, keys

from ..held import Held
from .guard import Guard
from .layout import KINDS, Layout, Object
from .options import PublisherOptions
from .store import Connect, KvStore
from .users import Access, Users

log = logging.getLogger("statedb.consumers")

_LONGEST_WAIT_S = 1.0
_SHORT_WAIT_S = 0.1
_LOOK_AT_MAX = 1000
_USERS_S = 1.0
_OURS = "ours"
"""What stands in the etcd is all of one cluster."""
_LEFTOVERS, _CANARIES = "leftovers", "canaries"
"""Tasks beside the objects: each stands in the queue behind what must have been written before it."""


class Stats(msgspec.Struct, frozen=True):
    """Since the start, but for ``keys`` and ``leases``: those are now. ``refused``: objects that no value can say."""

    puts: int
    deletes: int
    transactions: int
    connections: int
    failures: int
    refused: int
    keys: int
    leases: int


class Publisher:
    """Started once, stopped once; from any thread. `publisher` makes it."""

    name = "publisher"

    def __init__(
        self,
        db: Database,
        layout: Layout,
        connect: Connect,
        options: PublisherOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` paces it, ``wall`` dates heartbeat and canaries."""
        for table in (*layout.tables, Sources):
            db.snapshot()[table]  # one that is not there is told here and not in the thread
        self.crash: BaseException | None = None
        """What ended its thread against expectation, or None."""
        self._db = db
        self._layout = layout
        self._connect = connect
        self._options = options
        self._clock = clock
        self._wall = wall
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._stop = threading.Event()
        self._bell = bell()
        self._lock = threading.Lock()
        self._store: KvStore | None = None
        self._state = "not started"
        self._ready = threading.Event()
        self._counts: Counter[str] = Counter()
        self._refused: dict[Object, str] = {}
        self._tries = 0
        self._own_leases: set[int] = set()
        self._users = None if options.users is None else Users(layout.cluster, options.users)
        # Of the present connection:
        self._held = Held()
        self._keys_of: dict[Object, tuple[str, ...]] = {}
        self._queue: dict[Object | str, None] = {}
        self._snapshot: Snapshot = db.snapshot()
        self._is_new = True
        self._left_over = False
        self._renew_at = self._beat_at = self._enforce_at = self._write_at = 0.0
        self._allowed: Access | None = None
        self._users_at = 0.0

    # --- for its owner ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. Raises RuntimeError the second time."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; a request under way is cut off. What it has written stays for the time of its leases."""
        self._stop.set()
        self._bell.trip()
        with self._lock:
            store = self._store
        if store is not None:
            store.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; True at once if it never started."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and wait for its end."""
        self.stop()
        self.join()

    @property
    def ready(self) -> bool:
        """Whether all canaries are out: all that the tables held when they were complete is written."""
        return self._ready.is_set()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait for that; False when ``timeout`` seconds passed before."""
        return self._ready.wait(timeout)

    @property
    def health(self) -> str:
        """How it is doing, in one line, which begins with OK where it does well."""
        if self.crash is not None:
            return f"crashed: {self.crash!r}"
        refused = next(iter(self._refused.items()), None) if self._state == "OK" else None
        if refused is not None:
            return f"OK, but {len(self._refused)} objects cannot be written: {_told(refused[0])}: {refused[1]}"
        if self._users is not None and self._users.problem and self._state == "OK":
            return f"OK, but {self._users.problem}"
        return self._state

    @property
    def queue_size(self) -> int:
        """How many objects wait to be written; never more than there are."""
        return len(self._queue)

    def stats(self) -> Stats:
        """What it has done."""
        count = self._counts
        return Stats(
            count["puts"],
            count["deletes"],
            count["transactions"],
            count["connections"],
            count["failures"],
            len(self._refused),
            len(self._held),
            len(self._held.leases()),
        )

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._await_tables():
                while not self._stop.is_set():
                    self._connect_and_follow()
            self._state = "stopped"
        except BaseException as error:
            self.crash = error
            raise

    def _await_tables(self) -> bool:
        """Nothing is known of a cluster before all of it is: False if we are stopped before."""
        while not self._stop.is_set():
            pending = [table for table in self._layout.tables if not (view := self._db.snapshot()[table]).initialized]
            if not pending:
                return True
            self._state = f"waiting until initialized: {', '.join([table.name for table in pending])}"
            watches = [view.watch() for table in pending if not (view := self._db.snapshot()[table]).initialized]
            WatchSet(self._bell, *watches).wait(None if watches else 0)
        return False

    def _connect_and_follow(self) -> None:
        if not self._tries:
            self._state = "connecting"
        try:
            self._session()
        except Exception as error:  # whatever an etcd, or the way to it, can raise: all is done anew
            if self._stop.is_set():
                return
            self._tries += 1
            self._counts["failures"] += 1
            self._state = f"failing, {self._tries} tries: {error}"
            log.warning("publisher: %s", self._state)
            self._stop.wait(delay_s(self._tries - 1, self._options.retry_min_s, self._options.retry_max_s))

    def _session(self) -> None:
        store = self._connect()
        with self._lock:
            self._store = store
        try:
            if self._stop.is_set():
                return
            self._counts["connections"] += 1
            self._allowed, self._users_at = None, 0.0
            self._allow(store)  # before there is anything to read
            self._load(store)
            with (
                self._db.changes(*self._layout.tables) as stream,
                Guard(store, self._layout.config_key, self._layout.config()) as guard,
            ):
                while not self._stop.is_set():
                    batch = stream.next(timeout=0)
                    if batch is not None:
                        self._take(batch)
                    del batch
                    guard.check()
                    self._tend(store, tampered=guard.take())
                    self._write(store)
                    if not self._queue:
                        self._tries, self._state = 0, "OK"
                        self._rest(guard)
        finally:
            with self._lock:
                self._store = None
            store.close()

    def _rest(self, guard: Guard) -> None:
        """Nothing is to be written: wait until the tables change, or something is due."""
        until = min(self._renew_at, self._beat_at, self._enforce_at)
        if self._users is not None:
            until = min(until, self._users_at)
        watches = [self._snapshot[table].watch() for table in self._layout.tables]
        WatchSet(self._bell, guard.bell, *watches).wait(max(0.0, min(until - self._clock(), _LONGEST_WAIT_S)))

    def _load(self, store: KvStore) -> None:
        """What stands there of our cluster, of whichever process; and all is to be looked at."""
        self._held, self._keys_of, self._queue = Held(), {}, {}
        self._is_new, self._left_over = True, False
        synced = keys.join(keys.SYNCED, self._layout.cluster)
        for prefix in (f"{keys.STATE}/", f"{synced}/", f"{keys.CLUSTER_CONFIG}/"):
            for page in store.list(prefix.encode(), self._options.page_limit):
                for kv in page.kvs:
                    key = kv.key.decode("utf-8", "surrogateescape")
                    if self._layout.is_own(key):
                        self._held.put(_OURS, key, kv.value, kv.lease)
        # Leases are renewed first: ours may have gone with a server that was replaced.
        self._renew_at = self._beat_at = self._enforce_at = self._write_at = 0.0

    def _take(self, batch: Any) -> None:
        """Changes into the queue; what waits already keeps its place. The first batch of a connection is all rows."""
        self._snapshot = batch.snapshot
        if self._is_new:
            self._is_new = False
            for of in sorted(self._layout.objects(self._snapshot), key=_rank):
                self._queue[of] = None
            self._queue[_LEFTOVERS] = self._queue[_CANARIES] = None
            return
        for table in self._layout.tables:
            for change in batch[table]:
                for of in self._layout.affected(self._snapshot, table, change.row):
                    self._queue.setdefault(of, None)

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write(self, store: KvStore) -> None:
        """The first objects of the queue, in one transaction, if it is time."""
        if not self._queue:
            return
        pause = self._write_at - self._clock()
        if pause > 0:
            self._stop.wait(min(pause, _SHORT_WAIT_S))  # leases and heartbeat do not wait
            return
        most = self._options.batch_keys
        if self._options.rate_limit:
            most = max(1, min(most, int(self._options.rate_limit * _SHORT_WAIT_S)))
        first = next(iter(self._queue))
        if first == _LEFTOVERS:
            written, done = self._write_leftovers(store, most)
        elif first == _CANARIES:
            written, done = self._write_canaries(store)
        else:
            written, done = self._write_objects(store, most)
        for task in done:
            self._queue.pop(task, None)
        if self._options.rate_limit:
            self._write_at = max(self._write_at, self._clock() - _SHORT_WAIT_S) + written / self._options.rate_limit

    def _write_objects(self, store: KvStore, most: int) -> tuple[int, list[Object | str]]:
        """Objects until there are so many keys to write, or something else is next; how many keys, and which tasks."""
        puts: dict[str, bytes] = {}
        deletes: dict[str, None] = {}
        known: dict[Object, tuple[str, ...]] = {}
        done: list[Object | str] = []
        for of in islice(self._queue, _LOOK_AT_MAX):
            if not isinstance(of, Object) or len(puts) + len(deletes) >= most:
                break
            done.append(of)
            try:
                entries = self._layout.entries(self._snapshot, of)
            except WireError as error:
                self._refuse(of, str(error))
                continue
            self._refused.pop(of, None)
            puts.update({key: value for key, value in entries.items() if not self._stands(key, value)})
            deletes.update(dict.fromkeys([key for key in self._keys_of.get(of, ()) if key not in entries]))
            known[of] = tuple(entries)
        for key in puts:
            deletes.pop(key, None)
        self._commit(store, puts, deletes)
        for of, its in known.items():
            if its:
                self._keys_of[of] = its
            else:
                self._keys_of.pop(of, None)
        return len(puts) + len(deletes), done

    def _write_leftovers(self, store: KvStore, most: int) -> tuple[int, list[Object | str]]:
        """Delete what an earlier process left, and no object has now, where it can be believed that there is none."""
        if not self._sources_are_in_order():
            self._left_over = True
            return 0, [_LEFTOVERS]
        self._left_over = False
        wanted = {key for its in self._keys_of.values() for key in its}
        wanted.update((*self._layout.canaries, self._layout.config_key, keys.HEARTBEAT))
        for of in self._refused:
            wanted.update(self._keys_of.get(of, ()))
        left = [key for key in self._held.names(_OURS) if key not in wanted]
        self._commit(store, {}, dict.fromkeys(left[:most]))
        return min(len(left), most), [_LEFTOVERS] if len(left) <= most else []

    def _write_canaries(self, store: KvStore) -> tuple[int, list[Object | str]]:
        """All is there: say so."""
        now = self._now()
        self._commit(store, dict.fromkeys(self._layout.canaries, now), {})
        self._ready.set()
        return len(self._layout.canaries), [_CANARIES]

    def _stands(self, key: str, value: bytes) -> bool:
        """Whether a key is there with this value, under a lease of ours."""
        held = self._held.get(_OURS, key)
        return held is not None and held.value == value and held.lease in self._own_leases

    def _commit(self, store: KvStore, puts: dict[str, bytes], deletes: dict[str, None]) -> None:
        """Write; in several transactions where one object alone has more keys than one of them may have."""
        coming: Counter[int] = Counter()
        writes: list[tuple[str, bytes | None, int]] = []
        for key, value in puts.items():
            held = self._held.get(_OURS, key)
            lease = held.lease if held is not None and held.lease in self._own_leases else self._lease(store, coming)
            coming[lease] += 1
            writes.append((key, value, lease))
        writes += [(key, None, 0) for key in deletes]
        for start in range(0, len(writes), self._options.batch_keys):
            some = writes[start : start + self._options.batch_keys]
            store.write(
                [(_bytes(key), value, lease) for key, value, lease in some if value is not None],
                [_bytes(key) for key, value, _ in some if value is None],
            )
            for key, written, lease in some:
                if written is None:
                    self._held.drop(_OURS, key)
                else:
                    self._held.put(_OURS, key, written, lease)
            self._counts["transactions"] += 1
        self._counts["puts"] += len(puts)
        self._counts["deletes"] += len(deletes)

    def _refuse(self, of: Object, error: str) -> None:
        """No value can say it: what stands there of it stays."""
        if self._refused.get(of) != error:
            log.warning("publisher: %s cannot be written: %s", _told(of), error)
        self._refused[of] = error

    def _sources_are_in_order(self) -> bool:
        sources = self._db.snapshot()[Sources]
        rows = [sources.get(SourceKey(self._layout.cluster, table.name)) for table in self._layout.tables]
        return all(row is None or row.state in ("synced", "absent") for row in rows)

    # --- what is due by time ------------------------------------------------------------------------------------------

    def _tend(self, store: KvStore, *, tampered: bool) -> None:
        now, options = self._clock(), self._options
        self._allow(store)
        if now >= self._renew_at:
            self._renew(store)
            self._renew_at = now + options.lease_time_s / 3
        if now >= self._beat_at:
            self._commit(store, {keys.HEARTBEAT: self._now()}, {})
            self._beat_at = now + options.heartbeat_s
        if now >= self._enforce_at or tampered:
            self._commit(store, {self._layout.config_key: self._layout.config()}, {})
            self._enforce_at = now + options.enforce_s
        if self._left_over and self._sources_are_in_order():
            self._left_over = False
            self._queue.setdefault(_LEFTOVERS, None)

    def _allow(self, store: KvStore) -> None:
        """Users and roles, where they are wanted and are others than before."""
        if self._users is None or self._clock() < self._users_at:
            return
        access = self._users.access()
        if access != self._allowed:
            store.ensure_users(access.roles, access.users)
            self._allowed = access
        self._users_at = self._clock() + _USERS_S

    def _renew(self, store: KvStore) -> None:
        """All leases; what went with one that had ended is written anew, and that all is there is said again."""
        lost: set[str] = set()
        for lease in tuple(self._own_leases):
            if not store.renew(lease):
                self._own_leases.discard(lease)
                lost.update([key for _, key in self._held.drop_lease(lease)])
        if not lost:
            return
        log.warning("publisher: a lease has ended, %d keys are written anew", len(lost))
        for of, its in self._keys_of.items():
            if not lost.isdisjoint(its):
                self._queue.setdefault(of, None)
        self._queue.pop(_CANARIES, None)
        self._queue[_CANARIES] = None
        self._beat_at = self._enforce_at = 0.0

    def _lease(self, store: KvStore, coming: Counter[int]) -> int:
        """A lease with room for one more key beside those that come."""
        for lease in self._own_leases:
            if self._held.keys_of(lease) + coming[lease] < self._options.lease_keys:
                return lease
        lease = store.grant(max(1, round(self._options.lease_time_s)))
        self._own_leases.add(lease)
        return lease

    def _now(self) -> bytes:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall())).encode()


def open_publisher(
    db: Database,
    cluster: str,
    cluster_id: int,
    connect: Connect,
    options: PublisherOptions = PublisherOptions(),  # noqa: B008
) -> Publisher:
    """Keep the etcd behind ``connect`` equal to this cluster's tables; not yet started."""
    layout = Layout(cluster, cluster_id, options, copies=EndpointSlices in db.tables)
    return Publisher(db, layout, connect, options)


def _rank(of: Object) -> int:
    return KINDS.index(of.kind)


def _told(of: Object) -> str:
    return f"{of.kind} {' '.join(map(str, msgspec.structs.astuple(of.key)))}"


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")
