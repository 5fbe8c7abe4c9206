"""Published tables of an etcd as a source: one thread, one connection, evidence per table.

heartbeat of each table ─▶ which etcd is it? ─▶ canary of each ─▶ list each table once its canary exists ─▶ watch it

Each table has its own writer, which may run in another process: the heartbeat of one says nothing about another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from statedb import Database
from statedb.catalog.wire import published

from ..belief import Absence, History, Verdict
from ..etcd import Client, EtcdError, PermissionDenied, Unauthenticated, WatchBatch, WatchStream
from ..keyspace import judging
from ..keyspace.acceptance import Acceptance
from ..keyspace.connect import Connector, servers_of
from ..keyspace.connection import ConnectionLoop
from ..keyspace.keyspace import Keyspace
from ..keyspace.options import EtcdReading
from ..keyspace.origin import OriginKeeper
from ..keyspace.prefix import Prefix
from ..keyspace.session import Session
from ..keyspace.source import EtcdSource
from ..keyspace.writers import Writers
from ..reflect import Feed, Reflector
from ..source import AnyTable
from ..status import State, Status
from .evidence import TableEvidence
from .kinds import kind


class FanoutSource(EtcdSource):
    """Tables that agents publish to an etcd, as a `Source`."""

    backend = "etcd"
    needs_causes = True

    def __init__(
        self,
        db: Database,
        cluster: str,
        tables: Sequence[AnyTable],
        options: EtcdReading,
        *,
        prefix: str = published.PREFIX,
        heartbeat_timeout_s: float = 120.0,
        owns: Callable[[Any], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Not yet started. ``owns`` is for tables that several sources fill. Raises InvalidOptions."""
        self.cluster = cluster
        self.tables = tuple(tables)
        self._clock = clock
        self._status = Status(db, cluster, self.backend, self.tables)
        kinds = [kind(table, prefix, cluster, owns) for table in tables]
        feeds = [Feed(each.prefix, each.tables) for each in kinds]
        self._reflector = Reflector(db, cluster, self.backend, feeds, self._status, owns=owns)
        self._loop = ConnectionLoop(
            f"etcd {cluster}",
            Connector(servers_of(options, locked=True)),
            self._status,
            self._run,
            self._lost,
            self._ended,
            retry_min_s=options.retry_min_s,
            retry_max_s=options.retry_max_s,
            clock=clock,
        )
        self._keyspace = Keyspace(kinds, self._reflector, options.page_limit, self, lambda: self._loop.stopping)
        self._evidence = {
            each.key: TableEvidence(
                each, published.heartbeat(prefix, table.name).encode(), heartbeat_timeout_s, options.lease_time_s
            )
            for table, each in zip(tables, self._keyspace.prefixes.values(), strict=True)
        }
        self._watched = {key: each for each in self._evidence.values() for key in (each.heartbeat, each.canary)}
        writers = {each.prefix.name: each.writers for each in self._evidence.values()}
        self._origin = OriginKeeper(self._status, self._keyspace, writers, clock)
        self._client: Client | None = None
        self._acceptance = Acceptance(f"{self.backend}/{cluster}")

    def start(self) -> None:
        """Claim the tables and begin to connect. Raises OwnedElsewhere."""
        self._reflector.begin()
        if self._reflector.has_inherited:
            self._origin.load()
        self._loop.start()

    def accept(self) -> None:
        """Trust the etcd that answers now, even without canaries: rows of keys that it does not have are deleted.

        This is done within a second, on this connection only. What goes afterwards is judged as ever.
        """
        self._acceptance.press()

    # --- evidence -----------------------------------------------------------------------------------------------------

    def explains_lists(self, prefix: Prefix) -> bool:
        """Whether the keys came from this etcd, and its writer has not written all keys again since."""
        return self._writers(prefix).explains_lists(prefix.feed)

    def list_verdict(self, prefix: Prefix, revision: int) -> Verdict:
        """Whether rows of keys that a list lacks may be deleted."""
        inherited = self._reflector.has_inherited
        return judging.list_verdict(
            self._writers(prefix), prefix, self._connected, revision, self._clock(), has_inherited=inherited
        )

    def verdict(self, prefix: Prefix, absence: Absence) -> Verdict:
        """Whether rows of keys that are gone from this etcd for this reason may be deleted."""
        return judging.verdict(self._writers(prefix), prefix, absence, self._clock())

    def _writers(self, prefix: Prefix) -> Writers:
        return self._evidence[prefix.key].writers

    # --- the connection -----------------------------------------------------------------------------------------------

    def _run(self, client: Client) -> None:
        self._client = client
        Session(self, self._loop, self._keyspace, self._reflector, self._status, self._clock).run(client)

    @property
    def _connected(self) -> Client:
        assert self._client is not None
        return self._client

    def identify(self, client: Client) -> Mapping[bytes, int]:
        """Check whether this is the etcd that was known. If not, everything is listed again, and deletes wait."""
        now = self._clock()
        answers = [each.connect(client, now) for each in self._evidence.values()]
        header, watched = answers[-1][0], {key: start for _, starts in answers for key, start in starts.items()}
        history, why = self._keyspace.history(client, header)
        is_shown = bool(self._keyspace.lineage.witnesses)
        self._acceptance.connected()
        self._origin.connected()
        if history is not History.SAME:
            self._keyspace.begin(header)
        self._keyspace.check(client, header)
        for each in self._evidence.values():
            watched |= each.identified(client, history, why, now, is_shown=is_shown)
        return watched

    def admit(self, client: Client, stream: WatchStream) -> bool:  # noqa: ARG002 - the protocol's
        """Nothing is awaited for all tables together."""
        return True

    def may_list(self, prefix: Prefix) -> bool:
        """Whether the table is complete."""
        return self._evidence[prefix.key].is_complete

    def listed(self, prefixes: Iterable[Prefix]) -> None:
        """A list is repeated if the canary is gone by now."""
        for prefix in prefixes:
            self._writers(prefix).listed(prefix.feed)
            prefix.due = not self.may_list(prefix)

    def on_other(self, batch: WatchBatch) -> None:
        """Handle changes of heartbeats and canaries."""
        for event in batch.events:
            self._watched[event.kv.key].on_event(event, self._clock())

    def check(self) -> bool:
        """Carry out what the operator accepted."""
        if self._acceptance.take():
            self._reflector.accept()
            for each in self._evidence.values():
                each.writers.accept()
                each.prefix.due = True
        return True

    def waits(self) -> Iterable[float | None]:
        """The seconds until writers have caught up."""
        now = self._clock()
        return [due for each in self._evidence.values() for due in each.writers.due_in(now)]

    def settle(self) -> None:
        """Decide again about withheld rows, and report."""
        self._loop.mark_healthy()
        now, all_of_them = self._clock(), list(self._evidence.values())
        doubtful = [each for each in all_of_them if self._withheld(each.prefix)]
        for each in doubtful or all_of_them[:1]:
            each.check_leases(self._connected, now)
        for each in all_of_them:
            judging.settle(each.writers, (each.prefix,), self._withheld, now)
            state, error = each.state(now)
            self._status.report(state, error, each.prefix.kind.tables)
        is_settled = not doubtful and not any(each.prefix.due or each.writers.is_doubted for each in all_of_them)
        self._origin.settle(is_settled=is_settled)

    def _withheld(self, prefix: Prefix) -> int:
        return self._reflector.withheld(prefix.feed)

    # --- status -------------------------------------------------------------------------------------------------------

    def _lost(self, error: EtcdError) -> None:
        """Tables that were listed keep their last good rows; of the others nothing is known."""
        refused = isinstance(error, (PermissionDenied, Unauthenticated))
        for prefix in self._keyspace.prefixes.values():
            state: State = "stale" if prefix.listed else "connecting"
            self._status.report("failed" if refused else state, str(error), prefix.kind.tables)

    def _ended(self, failure: Exception | None) -> None:
        if failure is None:
            self._origin.end()
            self._status.release()
        else:
            self._status.fail(failure)
