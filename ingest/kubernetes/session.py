"""The kubernetes backend: one thread that reads all watches and writes what they say, whatever the number of resources.

Following: list, watch, decode ─▶ messages ─▶ services joined ─▶ Reflector ─▶ tables

The reflector, the join and the state of the tables belong to the thread. It writes a batch as soon as no message is
waiting. While it writes, it reads no watch, and TCP flow control stops the server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from statedb import Database
from statedb.catalog import Backends, EndpointSlices, Services

from ..belief import No, Verdict, Yes
from ..errors import InvalidOptions
from ..events import Bad, Listed, Upsert
from ..figures import SourceStats
from ..reflect import Feed, Reflector, Timings
from ..source import AnyTable, describe
from ..status import Status
from ..worker import Worker
from .api import Api
from .client import KUBE_SYSTEM, Client
from .credentials import check
from .errors import Unauthorized
from .follow import Follower
from .following import Following
from .kinds import SERVICES, SLICES, reads_catalog, wanted
from .lineage import Origin, read_origin
from .messages import Changes, Crashed, FullList, Interrupted, Message, Synced, Unserved, WatchEnded
from .options import KubernetesOptions
from .progress import BEST_FIRST, Progress
from .resource_spec import Resource
from .services import ServiceJoin

_BATCH_S = 0.05
_LONGEST_WAIT_S = 1.0
_ORIGIN_S = 10.0
_LATE_CHECK_S = 1.0
_SETTLE_S = 0.25
"""While changes come, and nothing is withheld, the states of all resources are looked at this often."""


class KubernetesSource:
    """An API server as a `Source`."""

    backend = "kubernetes"

    def __init__(
        self,
        db: Database,
        cluster_name: str,
        cluster_id: int,
        options: KubernetesOptions,
        *,
        own: tuple[Resource, ...] = (),
        owns: Callable[[Any], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Not yet started. Raises InvalidOptions.

        ``own`` are resources that a user has chosen. If there are any, Cilium's resources are read only for tables that
        the options name. ``owns`` is for a table that several sources fill.
        """
        self.cluster = cluster_name
        self._clock = clock
        self._resources, self.tables = wanted(db, cluster_name, cluster_id, options, own)
        # The two resources that are joined. A user's own resource with such a name is not.
        self._services, self._slices = (SERVICES, SLICES) if reads_catalog(options, own) else ("", "")
        self._slice_tables = tuple([table for table in self.tables if table in (Backends, EndpointSlices)])
        self._api = _connected(options)
        self._following = Following(f"kubernetes {cluster_name} requests")
        client = Client(self._api, options, clock=clock)
        self._followers = [self._follower(each, client, options) for each in self._resources]
        self._progress = {each.feed: Progress() for each in self._resources}
        self._feeds_by_table = {table: self._feeds_of(table) for table in self.tables}
        self._join = ServiceJoin(SERVICES, with_slices=self._slices in self._progress)
        self._status = Status(db, cluster_name, self.backend, self.tables)
        self._api.on_answer = self._status.figures.record_request
        self._reflector = Reflector(db, cluster_name, self.backend, self._feeds(), self._status, owns=owns)
        self._state_lock = threading.Lock()
        """Held by the source's thread, except while it waits for the next message."""
        self._accepted: frozenset[str] | None = None
        self._origin_at = self._settle_at = float("-inf")
        self._was_doubted = False
        """Whether deletes were withheld when the states were looked at last."""
        self._inherits = True
        self._worker = Worker(f"kubernetes {cluster_name}", self._run, self._ended)

    def __repr__(self) -> str:
        """Its backend, its cluster and its tables."""
        return describe(self.backend, self.cluster, self.tables)

    @property
    def failure(self) -> BaseException | None:
        """The error that ended it unexpectedly, or None."""
        return self._worker.failure

    @property
    def certificate_files(self) -> dict[str, str]:
        """The certificate files that it uses, by the names of their options."""
        return self._api.certificate_files

    @property
    def figures(self) -> SourceStats:
        """Counters of the source."""
        return self._status.figures

    @property
    def split(self) -> Timings:
        """How much time each step of the ingest took."""
        return self._reflector.split

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        """The number of requests, by verb and resource: ``("list", "ciliumnodes.cilium.io")``."""
        return dict(self._api.requests)

    def start(self) -> None:
        """Claim the tables and start to list. Raises OwnedElsewhere."""
        self._reflector.begin()
        self._inherits = self._reflector.has_inherited
        if self._inherits:
            origin = read_origin(self._status.origin)
            for follower in self._followers:
                follower.inherit(origin)
        self._worker.start()

    def stop(self) -> None:
        """Ask it to end. Requests in progress are cancelled."""
        self._worker.stop()
        self._following.stop()
        self._api.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until its threads have ended."""
        return self._worker.join(timeout)

    def accept(self) -> None:
        """Trust the server that answered last. Withheld deletes are carried out within a second, or once it answers.

        Another server that answers before that is not believed.
        """
        self._accepted = frozenset(filter(None, [progress.doubted_uid for progress in self._progress.values()]))

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        monitor = threading.Thread(target=self._report_late, name=f"kubernetes {self.cluster} decoding", daemon=True)
        is_needed = any(each.is_users for each in self._resources)
        if is_needed:
            monitor.start()
        try:
            with self._state_lock:
                self._follow()
        finally:
            if is_needed:
                monitor.join()

    def _follow(self) -> None:
        try:
            self._following.start(self._followers)
            while not self._worker.stopping:
                if self._gather() or self._settle_due():
                    self._settle()
                self._status.write_if_due()
        finally:
            self.stop()
            self._following.close()
            self._api.clear()

    def _ended(self, failure: Exception | None) -> None:
        if failure is None:
            self._keep_origin()
            self._status.release()
        else:
            self._status.fail(failure)

    def _next(self, timeout_s: float) -> Message | None:
        """The next message. Meanwhile it may be reported that a decode function takes too long."""
        self._state_lock.release()
        try:
            return self._following.next(timeout_s)
        finally:
            self._state_lock.acquire()

    def _report_late(self) -> None:
        """Report decode functions that take too long, on a thread of its own: that of the source may wait for them."""
        while not self._worker.pause(_LATE_CHECK_S):
            if any(each.late for each in self._followers):
                with self._state_lock:
                    if not self._worker.stopping:
                        self._report_states()

    def _gather(self) -> bool:
        """Collect messages until none is waiting or the batch is due, and write them.

        Returns whether a state may have changed: there was no message, or another one than `Changes`.
        """
        message = self._next(self._idle_s())
        due = self._clock() + _BATCH_S
        settles = message is None
        while message is not None:
            settles |= not isinstance(message, Changes)
            self._take(message)
            is_due = self._reflector.due or self._clock() >= due
            message = None if is_due or self._worker.stopping else self._next(0)
        self._flush()
        return settles

    def _settle_due(self) -> bool:
        """Whether the states must be looked at after changes alone.

        Not after each one: with many resources that would cost more than the change.
        """
        was_doubted, self._was_doubted = self._was_doubted, self._is_any_doubted()
        is_due = was_doubted or self._was_doubted or self._accepted is not None
        return is_due or self._clock() >= self._settle_at

    def _flush(self) -> None:
        for event in self._join.drain():
            self._reflector.offer(event)
        self._reflector.flush()

    def _idle_s(self) -> float:
        """The seconds until something is due if no message comes."""
        due_in = self._status.due_in()
        return _LONGEST_WAIT_S if due_in is None else max(0.001, min(_LONGEST_WAIT_S, due_in))

    def _take(self, message: Message) -> None:
        progress = self._progress[message.resource.feed]
        match message:
            case Changes():
                self.split.decode_s += message.decode_s
                progress.apply(message, self._clock())
                self._forward(message)
            case FullList():
                self.split.client_s += message.client_s
                self.split.decode_s += message.decode_s
                progress.apply(message, self._clock())
                self._replace(message.resource.feed, message.objects, progress.verdict())
            case Unserved():
                if not progress.is_unserved:
                    progress.apply(message, self._clock())
                    self._replace(message.resource.feed, (), progress.verdict())
            case Crashed():
                raise message.failure
            case _:
                self._count(message)
                progress.apply(message, self._clock())

    def _count(self, message: Message) -> None:
        """Count failures and reconnects. Each watch that ends, with or without an error, is followed by another one."""
        figures = self._status.figures
        figures.reconnects += isinstance(message, WatchEnded | Interrupted)
        figures.failures += isinstance(message, Interrupted)
        if isinstance(message, Synced):
            figures.record_contact()

    # --- to the reflector ---------------------------------------------------------------------------------------------

    def _forward(self, message: Changes) -> None:
        name = message.resource.feed
        if name not in (self._services, self._slices):
            self._reflector.offer_all(name, message.events)
            return
        take = self._join.take_service if name == self._services else self._join.take_slice
        for event in message.events:
            take(event)

    def _replace(self, name: str, objects: Sequence[Upsert | Bad], verdict: Verdict) -> None:
        """Write a list of the resource. ``verdict`` is about the objects that it lacks."""
        full, doubt = isinstance(verdict, Yes), _reason(verdict)
        if name == self._services:
            self._join.list_services(objects, full=full, doubt=doubt)
        elif name == self._slices:
            unread = self._reflector.unread(self._services)
            self._join.list_slices(objects, full=full, doubt=doubt, unread=unread)
            for table in self._slice_tables:
                self._status.relisted(table)
        else:
            self._reflector.offer(Listed(name, objects, full, doubt))
            return
        self._flush()  # a list is written at once, whichever way it takes

    def _release(self, name: str) -> None:
        if name == self._slices:
            self._join.release_slices()
            self._flush()
            return
        if name == self._services:
            self._join.release_services()
        self._reflector.release(name)

    def _is_doubted(self, name: str) -> bool:
        """Whether deletes of a resource are withheld."""
        if name != self._slices:
            return self._reflector.is_doubted(name)
        inherits = self._join.doubts_slices and self._reflector.is_doubted(self._services)
        return self._join.withholds_slices or inherits

    def _is_any_doubted(self) -> bool:
        return self._reflector.is_doubted() or self._join.doubts_slices or self._join.withholds_slices

    def _verdict(self, name: str) -> Verdict:
        """The verdict on withheld deletes. Earlier backends may belong to a slice, so both lists count."""
        verdict = self._progress[name].verdict()
        if name == self._services and self._join.doubts_slices and isinstance(verdict, Yes):
            return self._progress[self._slices].verdict()
        return verdict

    # --- the state of the tables --------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Carry out what the operator accepted, and report the states of the connections."""
        self._settle_at = self._clock() + _SETTLE_S
        self._was_doubted = self._is_any_doubted()
        if (uids := self._accepted) is not None:
            self._accepted = None  # only where there was something, so that none of another thread is lost
            for progress in self._progress.values():
                progress.accept(uids)
            self._reflector.accept()
        for name, progress in self._progress.items():
            if name in (self._services, self._slices) and not self._join.is_ready:
                continue  # which objects its list lacks is known only after the join
            if not self._is_doubted(name):
                progress.nothing_withheld()
            elif progress.answers and isinstance(self._verdict(name), Yes):
                self._release(name)
        if self._clock() >= self._origin_at:
            self._keep_origin()
        for of_slices in self._slice_tables:
            doubt = _reason(self._progress[self._slices].verdict()) if self._join.withholds_slices else ""
            self._status.hold_back(of_slices, self._join.withheld_slices, doubt)
        self._report_states()

    def _report_states(self) -> None:
        now, waiting = self._clock(), self._api.waiting
        late = {each.resource.feed: each.late for each in self._followers if each.resource.is_users}
        for table, names in self._feeds_by_table.items():
            states = [self._progress[name].connection(name, now, waiting, late.get(name, "")) for name in names]
            state, error = max(states, key=lambda each: BEST_FIRST.index(each[0]))
            self._status.report(state, error, (table,))

    def _keep_origin(self) -> None:
        """Save what identifies this server beside its rows, for a warm start with these rows."""
        self._origin_at = self._clock() + _ORIGIN_S
        # A table that was not listed yet has no rows of this source, and none of an earlier one unless some were there.
        progress = {name: each for name, each in self._progress.items() if each.listed or self._inherits}
        uids = {each.uid for each in progress.values()}
        if len(uids) == 1 and all(each.is_trusted for each in progress.values()):
            versions = {name: each.version for name, each in progress.items()}
            self._status.set_origin(Origin(uids.pop(), versions).text())

    def _feeds_of(self, table: AnyTable) -> tuple[str, ...]:
        """The resources that a table waits for. Services come together with their backends."""
        return tuple(
            [
                each.feed
                for each in self._resources
                if table in each.tables or (table is Services and each.feed == self._slices)
            ]
        )

    def _feeds(self) -> list[Feed]:
        return [
            Feed(each.feed, tuple([table for table in each.tables if table in self.tables]), mixed=each.mixed)
            for each in self._resources
            if each.feed != self._slices
        ]

    def _follower(self, resource: Resource, client: Client, options: KubernetesOptions) -> Follower:
        return Follower(
            resource,
            self._services if resource.feed == self._slices else resource.feed,
            client,
            options,
            self._following.post,
            stopping=lambda: self._worker.stopping,
            clock=self._clock,
        )


def _reason(verdict: Verdict) -> str:
    """The reason of a `No`; empty for a `Yes`."""
    return verdict.reason if isinstance(verdict, No) else ""


def _connected(options: KubernetesOptions) -> Api:
    """Raises InvalidOptions."""
    check(options)
    try:
        return Api(options, KUBE_SYSTEM)
    except Unauthorized as error:
        raise InvalidOptions(str(error)) from None
