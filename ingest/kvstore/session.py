"""The kvstore backend: an etcd in Cilium's KVStore layout, whose endpoints are all of one etcd cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from statedb import Database

from ..belief import Absence, Evidence, History, Verdict, WriterActivity, WriterWatch, Yes, may_delete
from ..etcd import PUT, Client, EtcdError, PermissionDenied, Unauthenticated, WatchBatch, WatchStream
from ..keyspace.acceptance import Acceptance
from ..keyspace.connect import Connector, servers_of
from ..keyspace.connection import ConnectionLoop
from ..keyspace.keyspace import Keyspace, allowed
from ..keyspace.origin import OriginKeeper
from ..keyspace.prefix import Prefix
from ..keyspace.session import Session
from ..keyspace.source import EtcdSource
from ..reflect import Feed, Reflector
from ..source import AnyTable
from ..status import State, Status
from .kinds import HEARTBEAT, Kind, chosen
from .options import KvstoreOptions

_REFUSALS = (PermissionDenied, Unauthenticated)
_DOUBTS = (History.OTHER, History.UNPROVEN)


class KvstoreSource(EtcdSource):
    """An etcd in Cilium's KVStore layout as a `Source`.

    Each node writes its own keys under its own lease, so a deletion is believed whether the key was deleted or its
    lease expired. The server may be doubted: if it is not the one that we knew, deletions are withheld until the
    heartbeat of its writers has changed and a lease time has passed since.
    """

    backend = "kvstore"
    needs_causes = False

    def __init__(
        self,
        db: Database,
        cluster_name: str,
        cluster_id: int,
        options: KvstoreOptions,
        *,
        kinds: Sequence[Kind] | None = None,
        owns: Callable[[Any], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Not yet started. ``kinds`` are your own prefixes, ``owns`` is for a shared table. Raises InvalidOptions."""
        kinds = chosen(cluster_name, cluster_id, options.tables) if kinds is None else tuple(kinds)
        self.cluster = cluster_name
        self.tables: tuple[AnyTable, ...] = tuple(dict.fromkeys(table for kind in kinds for table in kind.tables))
        self._options = options
        self._clock = clock
        self._status = Status(db, cluster_name, self.backend, self.tables)
        feeds = [Feed(kind.prefix, kind.tables, mixed=kind.mixed) for kind in kinds]
        self._reflector = Reflector(db, cluster_name, self.backend, feeds, self._status, owns=owns)
        self._loop = ConnectionLoop(
            f"kvstore {cluster_name}",
            Connector(servers_of(options, locked=True)),
            self._status,
            lambda client: self._session.run(client),
            self._lost,
            self._ended,
            retry_min_s=options.retry_min_s,
            retry_max_s=options.retry_max_s,
            clock=clock,
        )
        self._keyspace = Keyspace(kinds, self._reflector, options.page_limit, self, lambda: self._loop.stopping)
        self._session = Session(self, self._loop, self._keyspace, self._reflector, self._status, clock)
        self._writer = WriterWatch(options.lease_time_s)
        self._history, self._difference = History.NONE, ""
        self._acceptance = Acceptance(f"{self.backend}/{cluster_name}")
        self._believed = False
        self._relist_at: float | None = None
        self._origin = OriginKeeper(self._status, self._keyspace, {}, clock)

    def start(self) -> None:
        """Claim the tables and begin to connect. Raises OwnedElsewhere."""
        self._reflector.begin()
        if self._reflector.has_inherited:
            self._origin.load()
        self._loop.start()

    def accept(self) -> None:
        """Trust the etcd that answers now: withheld deletes go within a second. While it is away, accept nothing."""
        self._acceptance.press()

    # --- evidence -----------------------------------------------------------------------------------------------------

    def explains_lists(self, prefix: Prefix) -> bool:  # noqa: ARG002 - all are alike
        """Not needed: deleted and expired keys are treated alike."""
        return False

    def list_verdict(self, prefix: Prefix, revision: int) -> Verdict:  # noqa: ARG002 - canaries are not used
        """Whether rows of keys that a list does not contain may be deleted. On a cold start there are none."""
        history = self._history if prefix.listed or self._reflector.has_inherited else History.NONE
        return self._judged(Absence.LISTED_WITHOUT, history)

    def verdict(self, prefix: Prefix, absence: Absence) -> Verdict:  # noqa: ARG002 - all are alike
        """Whether the rows of keys that this server had, and has no longer, may be deleted."""
        return self._judged(absence, History.SAME)

    def _judged(self, absence: Absence, history: History) -> Verdict:
        writer, detail = WriterActivity.NOT_NEEDED, ""
        if history in _DOUBTS:
            writer, detail = self._writer.seen(self._clock()), self._difference
        return may_delete(
            Evidence(absence=absence, history=history, writer=writer, accepted=self._believed, detail=detail)
        )

    # --- the connection -----------------------------------------------------------------------------------------------

    def identify(self, client: Client) -> Mapping[bytes, int]:
        """Compare this etcd with the one that we knew. If it is another one, list again and withhold deletes."""
        header = allowed(HEARTBEAT, partial(client.get, HEARTBEAT)).header
        history, why = self._keyspace.history(client, header)
        self._acceptance.connected()
        self._believed = False
        if history in _DOUBTS:
            self._history, self._difference = history, why
            self._writer.restart()
        elif self._history is History.NONE:
            self._history = history
        if history is not History.SAME:
            self._keyspace.begin(header)
        self._keyspace.check(client, header)
        self._origin.connected()
        self._relist_at = None
        return {HEARTBEAT: header.revision + 1}

    def admit(self, client: Client, stream: WatchStream) -> bool:  # noqa: ARG002 - the protocol's
        """There is always something to list."""
        return True

    def may_list(self, prefix: Prefix) -> bool:  # noqa: ARG002 - the protocol's
        """Always: no other key has to be there first."""
        return True

    def listed(self, prefixes: Iterable[Prefix]) -> None:  # noqa: ARG002 - the protocol's
        """What the operator accepted has been carried out by these lists."""
        self._believed = False

    def on_other(self, batch: WatchBatch) -> None:
        """The heartbeat changed or was deleted. Its presence at the start of the connection proves nothing."""
        for event in batch.events:
            if event.type == PUT:
                self._writer.acted(self._clock())
            else:
                self._writer.restart()

    def check(self) -> bool:
        """Whether to go on. The periodic list (`relist_s`) is made on a new connection."""
        if self._relist_at is None or self._clock() < self._relist_at:
            return True
        self._keyspace.require_relist(0)
        return False

    def waits(self) -> Iterable[float | None]:
        """The seconds until the writers have had a lease time, and until the periodic list is due."""
        now = self._clock()
        return self._writer.due_in(now), None if self._relist_at is None else self._relist_at - now

    def settle(self) -> None:
        """Judge withheld deletes again, and report. A list carries them out, for events may still be on their way."""
        self._loop.mark_healthy()
        if self._relist_at is None and self._options.relist_s is not None:  # counted from the end of the lists
            self._relist_at = self._clock() + self._options.relist_s
        doubtful = self._doubtful()
        self._believed = self._acceptance.take()
        if self._believed:
            self._reflector.accept()
        if not doubtful:
            self._history, self._difference, self._believed = History.SAME, "", False
        elif isinstance(self._judged(Absence.LISTED_WITHOUT, self._history), Yes):
            for prefix in doubtful:
                prefix.due = True
        self._origin.settle(is_settled=not doubtful and self._keyspace.covers_rows)
        self._report("synced", "")

    def _doubtful(self) -> list[Prefix]:
        """The prefixes of which something would go if the server were believed."""
        return [each for each in self._keyspace.prefixes.values() if self._reflector.withheld(each.feed)]

    # --- what we say of ourselves -------------------------------------------------------------------------------------

    def _ended(self, failure: Exception | None) -> None:
        if failure is None:
            self._origin.end()
            self._status.release()
        else:
            self._status.fail(failure)

    def _lost(self, error: EtcdError) -> None:
        refused = isinstance(error, _REFUSALS)
        prefixes = tuple(self._keyspace.prefixes.values())
        self._report("failed" if refused else "stale", str(error), [each for each in prefixes if each.listed])
        self._report("failed" if refused else "connecting", str(error), [each for each in prefixes if not each.listed])

    def _report(self, state: State, error: str, prefixes: Sequence[Prefix] | None = None) -> None:
        prefixes = tuple(self._keyspace.prefixes.values()) if prefixes is None else prefixes
        tables = dict.fromkeys(table for prefix in prefixes for table in prefix.kind.tables)
        if tables:
            self._status.report(state, error, tables)
