"""Replicas: a local database that follows tables of a remote agent, across lost connections and restarts of the agent.

Handles batches of changes and retries. Of HTTP it only knows that a request can be refused, lost or cancelled.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from types import TracebackType
from typing import Any, Self, cast

import msgspec

from ingest.backoff import Backoff
from ingest.source import AnyTable
from ingest.worker import Worker
from statedb import Database, DuplicateKey, StateDBError, Table, TableView, UniqueIndex, WriteTransaction

from ..errors import AgentError, BadRequest, NotFound
from .connection import Cancellation
from .remote import SILENCE_S, Remote, RemoteBatch

log = logging.getLogger("statedb.agent")

_END_S = 1.0
_CANCEL_AGAIN_S = 0.02


class Link(msgspec.Struct, frozen=True, gc=False):
    """The connection of one table of a replica.

    ``connected``: whether changes of the remote table arrive. If not, the rows are those that arrived last. ``since``:
    when ``connected`` last changed, in Unix seconds. ``last_error``: the latest error, kept after recovery.
    ``revision``: the revision of the remote table that the local rows correspond to. ``connections``: how many
    connections have been made.
    """

    table: str
    connected: bool = False
    since: float = 0.0
    last_error: str = ""
    revision: int = 0
    connections: int = 0


class Links(Table[str, Link], name="replica_links"):
    """One row for each table of a replica, under the name of that table. It can be watched like any other table."""

    primary = UniqueIndex[str, Link](lambda link: link.table)


class ReplicaOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Times of a replica, in seconds.

    ``retry_min_s`` and ``retry_max_s``: the shortest and the longest pause before the next connection. ``silence_s``: a
    connection without data for this time counts as lost.
    """

    retry_min_s: float = 0.1
    retry_max_s: float = 10.0
    silence_s: float = SILENCE_S


class Replica:
    """Tables of a remote agent in a local database. As a context manager it follows them while it is open.

    ``db`` has the same tables and `Links`. Snapshots, indexes, watches and change streams work as usual; do not write
    to it. Its revisions are its own. It stays readable while the agent cannot be reached and after the end.

    - A table is initialized once the remote one is and all its rows have arrived: ``db.wait_initialized(...)``.
    - Each remote batch is one local transaction, which also writes the remote revision to `Links`. Each table is
      followed separately, so two tables may show different moments of the agent.
    - A lost connection is made again, at growing intervals and without a limit. Then only differences are written.
    - **A missing row is deleted only once the remote table is initialized.** An agent that has just restarted has few
      rows. Until its table is initialized, rows that it has not sent stay here; then they are deleted in one
      transaction. An explicit delete is applied at once.
    - A table that the agent does not have, or whose rows do not fit the local row type, is reported in `Links` and
      retried at the longest interval. Its rows stay.
    """

    def __init__(self, remote: Remote, *tables: AnyTable, options: ReplicaOptions | None = None) -> None:
        """Nothing is requested before `start`.

        Raises ValueError without a table, and InvalidTable for an argument that is not a table.
        """
        if not tables:
            raise ValueError("name at least one table to follow, as in Replica(remote, Endpoints)")
        self.db = Database(*tables, Links)
        options = options or ReplicaOptions()
        followed = [table for table in self.db.tables if table is not Links]
        self._followers = tuple([_Follower(self.db, remote, table, options) for table in followed])

    def __repr__(self) -> str:
        """With the names of its tables."""
        return f"<Replica of {', '.join([table.name for table in self.db.tables if table is not Links])}>"

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def status(self) -> TableView[str, Link]:
        """The state of each table, by name, at this moment: ``db.snapshot()[Links]``, which can be watched."""
        return self.db.snapshot()[Links]

    def start(self) -> None:
        """Start to follow. Raises RuntimeError the second time; make a new replica instead."""
        for follower in self._followers:
            follower.worker.start()

    def close(self, timeout: float = _END_S) -> bool:
        """End it, whatever it waits for. False if a thread is still resolving a host name. May be called again."""
        for follower in self._followers:
            follower.stop()
        deadline = time.monotonic() + timeout
        running = [follower for follower in self._followers if not follower.join(deadline)]
        return not running


class _Ended(Exception):
    """The replica is being closed, in the middle of a batch."""


class _Follower:
    """One table and the thread that follows it."""

    def __init__(self, db: Database, remote: Remote, table: AnyTable, options: ReplicaOptions) -> None:
        self._db = db
        self._remote = remote
        self._table = table
        self._silence_s = options.silence_s
        self._unique = [index for index in table.indexes.values() if index.unique and index.position]
        self._backoff = Backoff(options.retry_min_s, options.retry_max_s, healthy_s=0.0)
        self._long_backoff = Backoff(options.retry_max_s, options.retry_max_s)
        self._cancellation = Cancellation()
        self.worker = Worker(f"replica-{table.name}", self._run, self._ended)
        with db.write(table, Links) as txn:
            self._initializer = txn[table].begin_initializer("replica")
            txn[Links].insert(Link(table.name, since=time.time()))

    def stop(self) -> None:
        """Ask it to end."""
        self.worker.stop()
        self._cancellation.cancel()

    def join(self, deadline: float) -> bool:
        """Wait until it has ended, at most until ``deadline`` on the monotonic clock."""
        while not self.worker.join(min(_CANCEL_AGAIN_S, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                return False
            self._cancellation.cancel()
        return True

    # -- connections -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self.worker.stopping:
            backoff = self._backoff
            try:
                self._follow()
            except _Ended:
                return
            except (BadRequest, NotFound) as error:
                self._lost(str(error))
                backoff = self._long_backoff
            except AgentError as error:
                self._lost(str(error))
            except (msgspec.ValidationError, StateDBError) as error:
                self._lost(
                    f"rows of {self._table.name!r} do not fit the local table: {error}; run the same version on both"
                )
                backoff = self._long_backoff
            except Exception as error:
                log.exception("the replica of table %r failed", self._table.name)
                self._lost(f"internal error: {type(error).__name__}: {error}; the log says more")
                backoff = self._long_backoff
            self.worker.pause(backoff.next())

    def _follow(self) -> None:
        """One connection, until it ends with an exception."""
        remote = self._remote.table(self._table)
        seen: set[Any] | None = set()
        with closing(cast(Any, remote.changes(silence_s=self._silence_s, cancellation=self._cancellation))) as batches:
            first = True
            for batch in batches:
                seen = self._write(batch, seen, first=first)
                first = False
                self._backoff.record_uptime(0.0)
                del batch  # release it before waiting: the first batch is the whole table

    def _lost(self, error: str) -> None:
        """Record that the connection is lost, and why. Not while it is being closed, when the cause is known."""
        if not self.worker.stopping:
            self._update_link(connected=False, last_error=" ".join(error.split()))

    def _ended(self, failure: Exception | None) -> None:
        if failure is None:
            self._update_link(connected=False)
        else:
            self._update_link(connected=False, last_error=f"following has ended: {failure!r}; make a new replica")

    def _update_link(self, *, connected: bool, **changed: Any) -> None:
        with self._db.write(Links) as txn:
            txn[Links].modify(self._table.name, lambda link: _changed(link, connected=connected, **changed))

    # -- batches ---------------------------------------------------------------------------------------------

    def _write(self, batch: RemoteBatch[Any], seen: set[Any] | None, *, first: bool) -> set[Any] | None:
        """Write a batch in one transaction. Returns the new ``seen``.

        ``seen`` has the keys that came since the connection began. It is None once missing rows have been deleted.
        """
        table, key_of = self._table, self._table.key_of
        with self._db.write(table, Links) as txn:
            pending = {key_of(change.row) for change in batch.changes} if self._unique else set[Any]()
            rows = txn[table]
            for row, _, deleted in batch.changes:
                if self.worker.stopping:
                    raise _Ended
                key = key_of(row)
                pending.discard(key)
                if deleted:
                    rows.delete(key)
                    continue
                if seen is not None:
                    seen.add(key)
                try:
                    rows.insert(row)
                except DuplicateKey:
                    self._release_unique_keys(txn, row, pending, seen)
                    rows.insert(row)
            if seen is not None and batch.initialized:
                for key in [key for key in self._db.snapshot()[table] if key not in seen]:
                    rows.delete(key)
                rows.finish_initializer(self._initializer)
                seen = None
            txn[Links].modify(
                table.name,
                lambda link: _changed(
                    link, connected=True, revision=batch.revision, connections=link.connections + first
                ),
            )
        return seen

    def _release_unique_keys(self, txn: WriteTransaction, row: Any, pending: set[Any], seen: set[Any] | None) -> None:
        """Delete the local rows that still have a unique key of ``row`` but no longer do at the agent.

        Such a row either comes later in this batch (``pending``), or the agent has not sent it at all.
        """
        key_of = self._table.key_of
        for index in self._unique:
            for unique in index.keys_of(row):
                holder = txn[cast("UniqueIndex[Any, Any]", index)].get(unique)
                if holder is not None:
                    key = key_of(holder)
                    if key in pending or (seen is not None and key not in seen):
                        txn[self._table].delete(key)


def _changed(link: Link, *, connected: bool, **changed: Any) -> Link:
    since = link.since if link.connected == connected else time.time()
    return msgspec.structs.replace(link, connected=connected, since=since, **changed)
