"""The state of the one writer of a published table, by its heartbeat and its canary."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from statedb.catalog.wire import published

from ..belief import History
from ..etcd import PUT, Client, Header, WatchEvent
from ..keyspace import judging
from ..keyspace.keyspace import allowed
from ..keyspace.prefix import Prefix
from ..keyspace.writers import Writers
from ..status import State


class TableEvidence:
    """The evidence about one table, over all connections. For the source's thread."""

    def __init__(self, prefix: Prefix, heartbeat: bytes, heartbeat_timeout_s: float, lease_time_s: float) -> None:
        """Nothing is known yet. ``prefix`` has one canary."""
        self.prefix = prefix
        self.heartbeat = heartbeat
        (self.canary,) = prefix.kind.canaries
        self.writers = Writers(heartbeat_timeout_s, lease_time_s)
        self._leases = judging.LeaseChecks()
        self._doubt = ""

    def connect(self, client: Client, now: float) -> tuple[Header, Mapping[bytes, int]]:
        """Begin a connection with the heartbeat. Returns the header, and the revision from which to watch the key."""
        found = allowed(self.heartbeat, partial(client.get, self.heartbeat))
        self.writers.connected(found.header.cluster_id, found.kv, now)
        self._doubt = "" if found.kv is None else published.doubt_of(found.kv.value)
        self._leases = judging.LeaseChecks()
        return found.header, {self.heartbeat: found.header.revision + 1}

    def identified(
        self, client: Client, history: History, difference: str, now: float, *, is_shown: bool
    ) -> Mapping[bytes, int]:
        """Read the canary, once the server is known. Returns the revision from which to watch the key."""
        self.writers.identified(history, difference, (self.prefix.feed,), is_shown=is_shown)
        found = allowed(self.canary, partial(client.get, self.canary))
        if found.kv is not None:  # counted after `identified`, which forgets what was seen before
            self.writers.canary_found(found.kv, now, self._parts, written=False)
        return {self.canary: found.header.revision + 1}

    def on_event(self, event: WatchEvent, now: float) -> None:
        """Handle a change of the heartbeat or the canary."""
        if event.kv.key == self.heartbeat:
            if event.type == PUT:
                self.writers.beat(event.kv, now)
                self._doubt = published.doubt_of(event.kv.value)
        elif event.type == PUT:
            self.writers.canary_found(event.kv, now, self._parts, written=True)
        else:
            self.writers.canary_lost(event.kv.key)

    def check_leases(self, client: Client, now: float) -> None:
        """Check whether the writer renews its leases, if that is due. Raises EtcdError."""
        self._leases.check(client, [(self.writers, self.prefix)], now)

    @property
    def is_complete(self) -> bool:
        """Whether the canary exists."""
        return not self.writers.missing(self.prefix.kind.canaries)

    def state(self, now: float) -> tuple[State, str]:
        """The state of the table while the connection works."""
        missing = judging.missing_canary(self.writers, self.prefix)
        if missing:
            return "stale" if self.prefix.listed else "syncing", missing
        if self.writers.is_silent(now):
            return "stale", self.writers.describe_silence(now)
        if self._doubt:
            return "stale", f"at its writer the table is {self._doubt}"
        return "synced", self._leases.warning

    @property
    def _parts(self) -> tuple[tuple[str, tuple[bytes, ...]], ...]:
        return ((self.prefix.feed, self.prefix.kind.canaries),)
