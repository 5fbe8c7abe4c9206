"""Follows the tables of a cluster and tells a writer which keys an etcd should hold.

tables ─▶ changed rows ─▶ objects that they affect ─▶ keys and values (`layout`) ─▶ `EtcdWriter` ─▶ etcd

Nothing is written before the tables are initialized. Keys that an earlier process left are deleted only while the
sources of the tables are synced, because only then does a missing row mean a missing object.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from consumers.running.follower import Failure, Follower
from statedb import Database, Snapshot
from statedb.catalog import EndpointSlices, Sources
from statedb.catalog.wire import keys

from ..desired import Refusal
from ..rules import Rules
from ..source_doubt import SourceDoubt
from ..store import Connect, Store
from ..tables_to_etcd import TablesToEtcd
from ..unwritten import UnwrittenRows
from ..writer import EtcdWriter
from .layout import Layout, Object, Views
from .options import PublisherOptions
from .ownership import Ownership
from .users import Access, Users

log = logging.getLogger("statedb.consumers")

_USERS_S = 1.0
_UPDATE_MAX = 1000
"""How many changes are passed on at once, so that the first are written while the others are encoded."""


class Publisher(TablesToEtcd):
    """The publisher; made by `open_publisher`. Start and stop it once each, from any thread. A context manager."""

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
        """``clock`` paces it, ``wall`` dates heartbeat and canaries. Raises LookupError for a missing table."""
        self._layout = layout
        self._ownership = Ownership(layout, take_over=options.take_over)
        self._source_doubt = SourceDoubt(db, layout.tables, layout.cluster)
        self._users = None if options.users is None else Users(layout.cluster, options.users)
        self._access: Access | None = None
        self._unwritten = UnwrittenRows(db, self.name, wall)
        self._keys_of: dict[Object, tuple[str, ...]] = {}
        self._service_of: dict[str, Object] = {}  # a copied slice may move from one service to another
        self._refused: dict[Object, str] = {}
        self._protected: tuple[str, ...] = ()
        self._is_new = True
        self._writer = EtcdWriter(
            connect,
            Rules(
                prefixes=self._ownership.prefixes,
                is_own=self._ownership.is_own,
                may_delete=self._may_delete,
                rank=self._ownership.rank,
                heartbeat=keys.HEARTBEAT,
                prepare=self._prepare,
                periodic=None if self._users is None else self._update_users,
            ),
            options,
            name=self.name,
            report=self._on_refusals,
            clock=clock,
            wall=wall,
        )
        self._follower = Follower(
            db,
            layout.tables,
            self._apply,
            name=self.name,
            unique=False,
            maintain=self._review,
            woken_by=(Sources,),
            report=self._on_failure,
        )

    # --- for its owner ------------------------------------------------------------------------------------------------

    @property
    def health(self) -> str:
        """The state in one line. It begins with OK while all is well."""
        following = self._follower.health
        if following not in ("OK", "ended"):
            return following
        health = self._writer.health
        if health != "OK":
            return health
        refused = next(iter(self._refused.items()), None)
        if refused is not None:
            return f"OK, but {len(self._refused)} objects cannot be written: {_name(refused[0])}: {refused[1]}"
        if self._users is not None and self._users.problem:
            return f"OK, but {self._users.problem}"
        return health

    def _refused_count(self) -> int:
        return len(self._refused)

    # --- following the tables -----------------------------------------------------------------------------------------

    def _apply(self, batch: Any) -> None:
        """Tell the writer how the changed rows change the etcd. The first batch has all rows."""
        snapshot: Snapshot = batch.snapshot
        if self._is_new:
            objects: Iterable[Object] = self._layout.objects(snapshot)
            self._writer.put(self._layout.config_key, self._layout.config())
        else:
            objects = dict.fromkeys(
                of
                for table in self._layout.tables
                for change in batch[table]
                for of in self._layout.affected(snapshot, table, change.row)
            )
        refused = dict(self._refused)
        self._publish(snapshot, objects)
        if refused != self._refused:
            self._protected = self._ownership.protected(snapshot, self._refused)
            self._report_unwritten()
        if self._is_new:
            self._source_doubt.advance(snapshot)
            for canary in self._layout.canaries:
                self._writer.mark(canary)
            self._writer.start()
            self._is_new = False

    def _publish(self, snapshot: Snapshot, objects: Iterable[Object]) -> None:
        """Update the keys of objects. If one cannot be encoded, its old keys stay."""
        views, changes = Views(snapshot), dict[str, bytes | None]()
        for of in objects:
            try:
                entries = self._layout.entries(views, of)
            except Exception as error:  # an object that cannot be encoded must not stop the others
                if self._refused.get(of) != str(error):
                    log.warning("publisher: %s cannot be written: %s", _name(of), error)
                self._refused[of] = str(error)
                continue
            self._refused.pop(of, None)
            changes.update(entries)
            self._assign(of, entries, changes)
            if len(changes) >= _UPDATE_MAX:
                self._writer.update(changes)
                changes = {}
        self._writer.update(changes)

    def _assign(self, of: Object, entries: dict[str, bytes], changes: dict[str, bytes | None]) -> None:
        """Record the keys of an object, and add the deletion of those that it no longer has to ``changes``."""
        if of.kind == "service":
            self._service_of.update(dict.fromkeys(entries, of))
        its_keys = tuple(entries)
        before = self._keys_of.get(of, ())
        if its_keys == before:
            return
        for key in before:
            if key not in entries and self._service_of.get(key, of) == of:
                self._service_of.pop(key, None)
                changes[key] = None
        if its_keys:
            self._keys_of[of] = its_keys
        else:
            del self._keys_of[of]

    def _review(self, applied: Snapshot) -> None:
        """Review the keys of an earlier process: after a change of objects or sources they may be deletable."""
        self._source_doubt.advance(applied)
        if not self._source_doubt():  # otherwise nothing may be deleted
            self._writer.review()

    def _may_delete(self, key: str) -> bool:
        """Whether a key that an earlier process left may be deleted. Called on the writer's thread."""
        return not key.startswith(self._protected) and not self._source_doubt()

    def _on_failure(self, failure: Failure | None) -> None:
        self._writer.outdated("" if failure is None else str(failure.error))
        if failure is not None:
            log.warning("publisher: the tables cannot be followed: %s", failure.error)

    # --- on the writer's thread ---------------------------------------------------------------------------------------

    def _prepare(self, store: Store) -> None:
        """Prepare a new connection: users and roles must exist before there is anything to read."""
        self._access = None
        if self._users is not None:
            self._update_users(store)
        self._ownership.refuse_foreign(store)

    def _update_users(self, store: Any) -> float:
        """Update users and roles if they have changed. Returns the seconds until the next call."""
        if self._users is not None:
            access = self._users.access()
            if access != self._access:
                store.ensure_users(access.roles, access.users)
                self._access = access
        return _USERS_S

    def _on_refusals(self, _: dict[str, Refusal]) -> None:
        self._report_unwritten()

    def _report_unwritten(self) -> None:
        errors = {_name(of): error for of, error in list(self._refused.items())}
        errors.update({key: refusal.reason for key, refusal in self._writer.refused().items()})
        self._unwritten.replace(errors)


def open_publisher(
    db: Database,
    cluster: str,
    cluster_id: int,
    connect: Connect,
    options: PublisherOptions = PublisherOptions(),  # noqa: B008
) -> Publisher:
    """A publisher that keeps the etcd behind ``connect`` equal to this cluster's tables. Not yet started."""
    layout = Layout(cluster, cluster_id, options, copies=EndpointSlices in db.tables)
    return Publisher(db, layout, connect, options)


def _name(of: Object) -> str:
    return f"{of.kind} {' '.join(map(str, msgspec.structs.astuple(of.key)))}"
