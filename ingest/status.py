"""The state of a source for operators: its rows in the tables ``sources`` and ``rejected``, and log lines.

Pending changes are written in the transaction of the next batch (`Status.stage`). So in each snapshot a table agrees
with its row in ``sources``. Changes that come without rows, such as a lost connection, have a transaction of their own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from statedb import Database
from statedb.catalog import Rejected, RejectedKey, RejectedRow, SourceKey, SourceRow, Sources

from .belief.state import State as State, derived
from .errors import OwnedElsewhere
from .figures import SourceStats
from .source import AnyTable
from .state_log import StateLog

ANY_TABLE = "*"
"""The name of the table in ``rejected`` for objects that cannot be assigned to a table."""

_PERIOD_S = 1.0
_REJECTED_MAX = 1000
_LOGGED_MAX = 10

_log = logging.getLogger("ingest")

_sole_owners: WeakKeyDictionary[Database, dict[str, str]] = WeakKeyDictionary()
"""By table, the cluster whose source owns all rows of the table. The source may have ended."""


_NONE_HELD: Mapping[str, tuple[int, str]] = {"objects": (0, ""), "rows of before": (0, "")}


class _Health:
    """The variable part of one row of ``sources``: the state of the connection, and the state that is shown."""

    __slots__ = (
        "doubt",
        "error",
        "held",
        "inherited",
        "origin",
        "relists",
        "rows",
        "shown",
        "since",
        "state",
        "withheld",
    )

    def __init__(self, since: float) -> None:
        self.state: State = "connecting"
        self.shown: State = "connecting"
        self.since = since
        self.error = ""
        self.rows = 0
        self.withheld = 0
        self.doubt = ""
        self.held = dict(_NONE_HELD)
        self.relists = 0
        self.inherited = False
        self.origin = ""

    @property
    def withheld_deletes(self) -> int:
        return self.withheld + sum([count for count, _ in self.held.values()])

    def derived(self) -> tuple[State, str]:
        doubt = next(filter(None, [self.doubt, *[doubt for _, doubt in self.held.values()]]), "")
        return derived(self.state, self.error, self.withheld_deletes, doubt, inherited=self.inherited)


class Status:
    """The rows of one source in ``sources`` and ``rejected``. For one thread at a time."""

    def __init__(
        self,
        db: Database,
        cluster: str,
        backend: str,
        tables: tuple[AnyTable, ...],
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        rejected_max: int = _REJECTED_MAX,
    ) -> None:
        """``wall`` is the clock of the rows' times, ``clock`` that of the pauses between writes.

        At most ``rejected_max`` rejected objects are shown for each table.
        """
        self.figures = SourceStats(wall)
        self._db = db
        self._cluster = cluster
        self._backend = backend
        self._wall = wall
        self._clock = clock
        self._rejected_max = rejected_max
        self._state_log = StateLog(f"{backend}/{cluster}", [table.name for table in tables], clock)
        self._health: dict[str, _Health] = {table.name: _Health(wall()) for table in tables}
        self._changed: set[str] = set()
        self._rejected: dict[str, dict[str, RejectedRow]] = {}
        self._rejections: dict[RejectedKey, RejectedRow | None] = {}
        self._shown: dict[str, set[RejectedKey]] = {}
        self._logged = 0
        self._written = float("-inf")
        self._origin_now: Callable[[], str] | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    def is_filled(self, table: AnyTable) -> bool:
        """Whether any source fills the table for this cluster now."""
        row = self._db.snapshot()[Sources].get(SourceKey(self._cluster, table.name))
        return row is not None and row.state != "absent"

    def claim(self, sole: Collection[str] = ()) -> None:
        """Claim these tables for this cluster, and the ``sole`` ones for all clusters.

        Raises OwnedElsewhere, which names both sources. Nothing is claimed then.
        """
        with self._db.write(Sources) as txn:
            sources = txn[Sources]
            filling = [row for row in sources.values() if row.key.table in self._health and row.state != "absent"]
            for other in sorted(filling, key=lambda row: list(self._health).index(row.key.table)):
                self._check_owner(other, sole)
            for name, health in self._health.items():
                before = sources.get(SourceKey(self._cluster, name))
                # rows of another backend may be newer than what that backend's own predecessor said of its server
                health.origin = before.origin if before is not None and before.backend == self._backend else ""
                sources.insert(self._row(name))
        owners = _sole_owners.setdefault(self._db, {})
        for name in self._health:
            owners.pop(name, None)
        owners.update(dict.fromkeys(sole, self._cluster))
        self._written = self._clock()

    def _check_owner(self, other: SourceRow, sole: Collection[str]) -> None:
        name, cluster = other.key.table, other.key.cluster
        if cluster == self._cluster:
            raise OwnedElsewhere(
                f"table {name!r} of cluster {self._cluster!r} is filled by backend {other.backend!r} already; "
                f"{self._backend!r} cannot fill it too: every table has one source of truth. "
                "Take the table out of one of the two"
            )
        if name in sole or _sole_owners.get(self._db, {}).get(name) == cluster:
            raise OwnedElsewhere(
                f"table {name!r} is filled by backend {other.backend!r} for cluster {cluster!r} already; "
                f"{self._backend!r} cannot fill it for {self._cluster!r} too: nothing says whose rows are whose. "
                "Give both sources 'owns', or let the type of the table's keys begin with a field 'cluster'"
            )

    def release(self) -> None:
        """The source has ended. Its tables keep their rows, and another source may claim them."""
        self._forget_rejections()
        for health in self._health.values():
            health.inherited = False
            health.withheld, health.held = 0, dict(_NONE_HELD)
        self.report("absent", "stopped")
        self.write()

    def fail(self, failure: Exception) -> None:
        """The source has ended with an unexpected error, and reports nothing more. Its tables keep their rows."""
        self.report("failed", f"{type(failure).__name__}: {failure}")
        self._state_log.write_all()

    def forget(self) -> None:
        """The cluster has left: delete its rows from both tables."""
        self._forget_rejections()
        self._changed.clear()
        self.write()
        with self._db.write(Sources) as txn:
            for name in self._health:
                txn[Sources].delete(SourceKey(self._cluster, name))

    # --- reports of the source ----------------------------------------------------------------------------------------

    def report(self, state: State, error: str = "", tables: Iterable[AnyTable] | None = None) -> None:
        """The connection has this state, for these tables or all. Written at once if the shown state changes."""
        transitions = False
        for name in self._health if tables is None else [table.name for table in tables]:
            transitions |= self._update_state(name, state, error)
        if transitions:
            self.write()

    def _update_state(self, name: str, state: State, error: str) -> bool:
        """Whether the shown state changes."""
        health = self._health[name]
        if state == "synced":
            health.inherited = False
        if (health.state, health.error) != (state, error):
            health.state, health.error = state, error
            self._changed.add(name)
        return health.derived()[0] != health.shown

    def inherit(self, tables: Iterable[AnyTable]) -> None:
        """These tables have rows of an earlier source, so they are stale until they are synced."""
        tables = tuple(tables)
        for table in tables:
            self._health[table.name].inherited = True
            self._changed.add(table.name)
        self.report("connecting", tables=tables)

    def count(self, table: AnyTable, rows: int, withheld: int = 0, doubt: str = "") -> None:
        """The number of rows of this source, and of objects whose deletes are withheld, with the reason."""
        health = self._health[table.name]
        if (health.rows, health.withheld, health.doubt) != (rows, withheld, doubt):
            health.rows, health.withheld, health.doubt = rows, withheld, doubt
            self._changed.add(table.name)

    def hold_back(self, table: AnyTable, count: int, doubt: str = "", *, kind: str = "objects") -> None:
        """The number of further objects that the source itself keeps, besides those of `count`, with the reason.

        Or of ``rows of before``, which are another ``kind``: each is counted apart.
        """
        health = self._health[table.name]
        if health.held[kind] != (count, doubt):
            health.held[kind] = count, doubt
            self._changed.add(table.name)

    @property
    def origin(self) -> str:
        """The identity of the server that the earlier rows came from, until they are confirmed; empty if unknown."""
        origins = self.origins
        return next(iter(origins)) if len(origins) == 1 else ""

    @property
    def origins(self) -> frozenset[str]:
        """The same for each table with earlier rows. They differ where `exact_origin` is used."""
        return frozenset(health.origin for health in self._health.values() if health.inherited)

    def exact_origin(self, origin_now: Callable[[], str]) -> None:
        """Save the origin in each transaction that changes rows, so that the rows in a dump are never newer.

        ``origin_now`` returns one that covers all rows offered so far, or an empty text while it is in doubt.
        """
        self._origin_now = origin_now

    def rows_change(self, tables: Iterable[AnyTable]) -> None:
        """Rows of these tables change in the transaction that is staged next."""
        if self._origin_now is None:
            return
        origin = "" if self.withholds else self._origin_now()
        for table in tables:
            health = self._health.get(table.name)
            if health is not None and health.origin != origin:
                health.origin = origin
                self._changed.add(table.name)

    def set_origin(self, origin: str) -> None:
        """Save the identity of the server that all rows come from, for a warm start. A dump contains it."""
        for name, health in self._health.items():
            if health.origin != origin:
                health.origin = origin
                self._changed.add(name)

    def relisted(self, table: AnyTable) -> None:
        """The table was listed again."""
        self._health[table.name].relists += 1
        self._changed.add(table.name)

    # --- rejected objects ---------------------------------------------------------------------------------------------

    def reject(self, feed: str, table: str, name: str, error: str, excerpt: str) -> None:
        """An object cannot be decoded. A second rejection of the same value keeps the time of the first."""
        rejected = self._rejected.setdefault(feed, {})
        before = rejected.get(name)
        key = RejectedKey(self._cluster, table, name)
        if before is not None:
            if before.key == key and before.error == error and before.excerpt == excerpt:
                return
            self._withdraw(before)
        rejected[name] = row = RejectedRow(key, error, excerpt, self._wall())
        shown = self._shown.setdefault(table, set())
        if len(shown) < self._rejected_max:
            shown.add(key)
            self._rejections[key] = row
        self._log_rejected(table, name, error)

    def heal(self, feed: str, name: str) -> None:
        """The object can be decoded, or is gone. Cheap if nothing of the feed is rejected."""
        rejected = self._rejected.get(feed)
        if rejected:
            row = rejected.pop(name, None)
            if row is not None:
                self._withdraw(row)

    def rejected(self, feed: str) -> Collection[str]:
        """The rejected objects of a feed, as they are now. Cost: O(1)."""
        return self._rejected.get(feed, {}).keys()

    # --- writing ------------------------------------------------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        """Whether anything is waiting to be written."""
        return bool(self._changed or self._rejections)

    @property
    def withholds(self) -> bool:
        """Whether deletes are withheld, according to `count`."""
        return any(health.withheld for health in self._health.values())

    def due_in(self) -> float | None:
        """The seconds until `write_if_due` has something to do; None if nothing is waiting to be written or logged."""
        to_tell, to_write = self._state_log.due_in(), self._write_due_in()
        known = [due_in for due_in in (to_tell, to_write) if due_in is not None]
        return max(0.0, min(known)) if known else None

    def write_if_due(self) -> None:
        """Write what is waiting, unless the last write was less than a second ago, and log what is due."""
        due_in = self._write_due_in()
        if due_in is not None and due_in <= 0:
            self.write()
        self._state_log.write_if_due()

    def _write_due_in(self) -> float | None:
        return self._written + _PERIOD_S - self._clock() if self.is_waiting else None

    def write(self) -> None:
        """Write what is waiting now, in a transaction of its own."""
        with self._db.write(Sources, Rejected) as txn:
            self.stage(txn)

    def stage(self, txn: Any) -> None:
        """Write what is waiting into a transaction that has both tables open (Any: it may have other tables, too)."""
        changed, self._changed = self._changed, set()
        rejections, self._rejections = self._rejections, {}
        for name in sorted(changed):
            before = self._health[name].shown
            row = self._row(name)
            if row.state != before:
                self._state_log.changed(name, row.state, row.last_error)  # type: ignore[arg-type]  # a row has it as text
            elif row.last_error:
                self._state_log.failed(name, row.last_error)
            txn[Sources].insert(row)
        for key, rejected in rejections.items():
            if rejected is None:
                txn[Rejected].delete(key)
            else:
                txn[Rejected].insert(rejected)
        self._written = self._clock()
        self._state_log.write_if_due()

    def _row(self, name: str) -> SourceRow:
        health = self._health[name]
        state, error = health.derived()
        if state != health.shown:
            health.shown, health.since = state, self._wall()
        return SourceRow(
            key=SourceKey(self._cluster, name),
            backend=self._backend,
            state=state,
            since=health.since,
            last_error=error,
            rows=health.rows,
            withheld_deletes=health.withheld_deletes,
            relists=health.relists,
            origin=health.origin,
        )

    def _withdraw(self, row: RejectedRow) -> None:
        """Remove a rejection from the table, or from those that wait to be written."""
        shown = self._shown[row.key.table]
        if row.key in shown:
            shown.remove(row.key)
            self._rejections[row.key] = None

    def _forget_rejections(self) -> None:
        for feed, rejected in self._rejected.items():
            for name in tuple(rejected):
                self.heal(feed, name)

    # --- the log ------------------------------------------------------------------------------------------------------

    def _log_rejected(self, table: str, name: str, error: str) -> None:
        """Log the first few rejections. All of them are in the table."""
        self._logged += 1
        if self._logged <= _LOGGED_MAX:
            _log.warning("%s/%s %s: %s is rejected: %s", self._backend, self._cluster, table, name, error)
        if self._logged == _LOGGED_MAX:
            _log.warning("%s/%s: further ones are only in table 'rejected'", self._backend, self._cluster)


def declare_absent(db: Database, cluster: str, tables: Iterable[AnyTable]) -> None:
    """Report in ``sources`` that no source fills these tables. Tables that a source has claimed are left alone."""
    now = time.time()
    with db.write(Sources) as txn:
        for table in tables:
            key = SourceKey(cluster, table.name)
            if key not in txn[Sources]:
                txn[Sources].insert(SourceRow(key=key, backend="", state="absent", since=now))
