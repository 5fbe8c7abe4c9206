"""Tables of another process, followed: a database here is kept equal to them, over interruptions and restarts there.

Knows batches of changes and when to ask again; of HTTP only that a request can be refused, lost or cut.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from types import TracebackType
from typing import Any, Self, cast

import msgspec

from ingest.backoff import Backoff
from ingest.worker import Worker
from statedb import Database, DuplicateKey, StateDBError, Table, TableView, UniqueIndex, WriteTransaction

from ..errors import AgentError, BadRequest, NotFound
from ..http.query import AnyTable
from .remote import SILENCE_S, Cut, Remote, RemoteBatch

log = logging.getLogger("statedb.agent")

_RETRY_MIN_S, _RETRY_MAX_S = 0.1, 10.0
_END_S = 1.0
_CUT_AGAIN_S = 0.02


class Link(msgspec.Struct, frozen=True, gc=False):
    """How one table of a replica is connected.

    ``connected``: the rows are those of the remote table, as far as it has told; else they are as they last were.
    ``since`` when that is so (Unix seconds). ``last_error`` is what last went wrong, also after it has healed.
    ``revision`` is the remote table's, to which the rows here belong; ``connections`` counts how often it began anew.
    """

    table: str
    connected: bool = False
    since: float = 0.0
    last_error: str = ""
    revision: int = 0
    connections: int = 0


class Links(Table[str, Link], name="replica_links"):
    """One row for each table of a replica, under that table's name. It can be watched like any other."""

    primary = UniqueIndex[str, Link](lambda link: link.table)


class Replica:
    """Tables of an agent elsewhere, in a database here; a context manager that follows them while it is open.

    ``db`` has the same tables and `Links`: snapshots, indexes, watches and change streams work as they do there. Read
    it only; revisions in it are its own. It stays readable after the end, as do its rows while the agent is away.

    - A table is initialized once the remote one is and all its rows are in: ``db.wait_initialized(...)``.
    - What came as one batch is one transaction, and the remote revision in `Links` is written with it. Tables are
      followed one by one: two of them may be at different moments of the agent.
    - When the connection is lost, it is made again for ever, at growing intervals; then only differences are written.
    - **Absence counts only where the remote table is initialized.** An agent that was restarted has few rows at first;
      until it says that its table is initialized, what it has not told since the connection began stays here. Then
      that is deleted, in one transaction. What it says is deleted is deleted at once.
    - A table that the agent does not have, or whose rows do not fit, is told in `Links` and tried again at the longest
      interval: its rows stay as they were.
    """

    def __init__(
        self,
        remote: Remote,
        *tables: AnyTable,
        retry_min_s: float = _RETRY_MIN_S,
        retry_max_s: float = _RETRY_MAX_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        """Nothing is asked before `start`. ``silence_s``: so long without a word, and the connection counts as lost.

        Raises ValueError without a table, and InvalidTable for what is no table.
        """
        if not tables:
            raise ValueError("name at least one table to follow, as in Replica(remote, Endpoints)")
        self.db = Database(*tables, Links)
        self._followers = tuple(
            [
                _Follower(self.db, remote, table, retry_min_s, retry_max_s, silence_s)
                for table in self.db.tables
                if table is not Links
            ]
        )

    def __repr__(self) -> str:
        """Which tables."""
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
        """Begin to follow. Raises RuntimeError the second time: make a new one."""
        for follower in self._followers:
            follower.worker.start()

    def close(self, timeout: float = _END_S) -> bool:
        """End it, whatever it waits for; False where it is still looking a host's name up. May be called again."""
        for follower in self._followers:
            follower.stop()
        deadline = time.monotonic() + timeout
        running = [follower for follower in self._followers if not follower.join(deadline)]
        return not running


class _Ended(Exception):
    """The replica is being closed."""


class _Follower:
    """One table and the thread that follows it."""

    def __init__(
        self, db: Database, remote: Remote, table: AnyTable, retry_min_s: float, retry_max_s: float, silence_s: float
    ) -> None:
        self._db = db
        self._remote = remote
        self._table = table
        self._silence_s = silence_s
        self._unique = [index for index in table.indexes.values() if index.unique and index.position]
        self._waits = Backoff(retry_min_s, retry_max_s, healthy_s=0.0)
        self._long_waits = Backoff(retry_max_s, retry_max_s)
        self._cut = Cut()
        self.worker = Worker(f"replica-{table.name}", self._run, self._ended)
        with db.write(table, Links) as txn:
            self._initializer = txn[table].begin_initializer("replica")
            txn[Links].insert(Link(table.name, since=time.time()))

    def stop(self) -> None:
        """Ask it to end."""
        self.worker.stop()
        self._cut.make()

    def join(self, deadline: float) -> bool:
        """Wait until it has ended, for as long as the monotonic clock allows."""
        while not self.worker.join(min(_CUT_AGAIN_S, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                return False
            self._cut.make()
        return True

    # -- connections -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self.worker.stopping:
            waits = self._waits
            try:
                self._follow()
            except _Ended:
                return
            except (BadRequest, NotFound) as error:
                self._lost(str(error))
                waits = self._long_waits
            except AgentError as error:
                self._lost(str(error))
            except (msgspec.ValidationError, StateDBError) as error:
                self._lost(f"rows of {self._table.name!r} do not fit here: {error}; run the same version on both sides")
                waits = self._long_waits
            except Exception as error:
                log.exception("the replica of table %r failed", self._table.name)
                self._lost(f"internal error: {type(error).__name__}: {error}; the log says more")
                waits = self._long_waits
            self.worker.pause(waits.next())

    def _follow(self) -> None:
        """One connection, until it ends with an exception."""
        remote = self._remote.table(self._table)
        told: set[Any] | None = set()
        with closing(cast(Any, remote.changes(silence_s=self._silence_s, cut=self._cut))) as batches:
            first = True
            for batch in batches:
                told = self._write(batch, told, first=first)
                first = False
                self._waits.lasted(0.0)
                del batch  # before waiting for the next one: the first one is the whole table

    def _lost(self, error: str) -> None:
        """It is not connected, because of this; while it is being closed, because of that."""
        if not self.worker.stopping:
            self._tell(connected=False, last_error=" ".join(error.split()))

    def _ended(self, failure: Exception | None) -> None:
        if failure is None:
            self._tell(connected=False)
        else:
            self._tell(connected=False, last_error=f"following has ended: {failure!r}; make a new replica")

    def _tell(self, *, connected: bool, **changed: Any) -> None:
        with self._db.write(Links) as txn:
            txn[Links].modify(self._table.name, lambda link: _told(link, connected=connected, **changed))

    # -- batches ---------------------------------------------------------------------------------------------

    def _write(self, batch: RemoteBatch[Any], told: set[Any] | None, *, first: bool) -> set[Any] | None:
        """One transaction. ``told``: the keys told since the connection began; None as soon as absence counts."""
        table, key_of = self._table, self._table.key_of
        with self._db.write(table, Links) as txn:
            coming = {key_of(change.row) for change in batch.changes} if self._unique else set[Any]()
            rows = txn[table]
            for row, _, deleted in batch.changes:
                if self.worker.stopping:
                    raise _Ended
                key = key_of(row)
                coming.discard(key)
                if deleted:
                    rows.delete(key)
                    continue
                if told is not None:
                    told.add(key)
                try:
                    rows.insert(row)
                except DuplicateKey:
                    self._make_room(txn, row, coming, told)
                    rows.insert(row)
            if told is not None and batch.initialized:
                for key in [key for key in self._db.snapshot()[table] if key not in told]:
                    rows.delete(key)
                rows.finish_initializer(self._initializer)
                told = None
            txn[Links].modify(
                table.name,
                lambda link: _told(link, connected=True, revision=batch.revision, connections=link.connections + first),
            )
        return told

    def _make_room(self, txn: WriteTransaction, row: Any, coming: set[Any], told: set[Any] | None) -> None:
        """Take out who still holds a unique key of this row here and not there any more.

        That is a row whose newest state comes later in this batch, or one that the agent has not told of at all.
        """
        key_of = self._table.key_of
        for index in self._unique:
            for unique in index.keys_of(row):
                holder = txn[cast("UniqueIndex[Any, Any]", index)].get(unique)
                if holder is not None:
                    key = key_of(holder)
                    if key in coming or (told is not None and key not in told):
                        txn[self._table].delete(key)


def _told(link: Link, *, connected: bool, **changed: Any) -> Link:
    since = link.since if link.connected == connected else time.time()
    return msgspec.structs.replace(link, connected=connected, since=since, **changed)
