"""The outside world driven from a table: every object updated or deleted there, until it succeeds. Knows no objects.

    changes ─▶ notice ─▶ deletes, updates ─▶ operations ─▶ status rows
                            ▲        ▲            │ failed
               refresh ─────┘        └── retries ◀┘
    now and then: prune, with all objects there are

One reconciler has one thread, and statuses in a table apart from the objects: what one reconciler writes down wakes no
other. A status names the revision that it is about, so nothing has to be taken back when an object changes while it is
being worked on: the change comes with the next batch, and until then the status is about an older revision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from statedb import ChangeBatch, Database, Snapshot, Table, WatchSet
from statedb.catalog import Sources

from .follower import AnyTable, Follower, Report
from .retries import Retries
from .status import Status, Statuses, StatusKey, object_name
from .steps import bell

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)

ERRORS_TOLD_MAX = 10


class Operations(Protocol[R_contra]):
    """What can be done to the world, object by object; what raises has failed and is tried again."""

    def update(self, snapshot: Snapshot, row: R_contra, /) -> None:
        """Make the world have this object like this; also where it has it already."""

    def delete(self, snapshot: Snapshot, row: R_contra, /) -> None:
        """Make the world not have it; also where it has not."""

    def prune(self, snapshot: Snapshot, rows: Iterable[R_contra], /) -> None:
        """Remove from the world whatever is not among these rows, which are all there are."""


class BatchOperations(Protocol[K, R_contra]):
    """The same for many objects at once. What is in the answer has failed; where a call raises, all of them have."""

    def update_batch(self, snapshot: Snapshot, rows: Mapping[K, R_contra], /) -> Mapping[K, Exception]:
        """Make the world have these objects."""
        ...

    def delete_batch(self, snapshot: Snapshot, rows: Mapping[K, R_contra], /) -> Mapping[K, Exception]:
        """Make the world not have them."""
        ...

    def prune(self, snapshot: Snapshot, rows: Iterable[R_contra], /) -> None:
        """Remove from the world whatever is not among these rows."""


class Progress(NamedTuple):
    """How far a reconciler is: everything up to ``revision`` was tried at least once."""

    revision: int
    lowest_failing: int
    """The lowest revision of an object that fails; 0 where none does."""


class ReconcilerStats(NamedTuple):
    """Figures of one reconciler since it began; durations in seconds."""

    pending: int
    errors: int
    """Objects that fail at the moment."""
    errors_total: int
    updates: int
    updates_s: float
    deletes: int
    deletes_s: float
    refreshes: int
    prunes: int
    prune_errors: int
    prunes_s: float


class _Task(NamedTuple):
    """One object to update, or to delete; ``fresh``: because it changed, and not for the second time."""

    key: Any
    row: Any
    revision: int
    deleted: bool
    fresh: bool


class Reconciler(Follower, Generic[K, R]):
    """Drives the world from a table; `reconcile` makes it. Run it as any `Follower`."""

    def __init__(
        self,
        db: Database,
        table: type[Table[K, R]],
        operations: Operations[R] | BatchOperations[K, R],
        *,
        name: str,
        sources: Iterable[AnyTable] | None = None,
        retry_min_s: float = 0.1,
        retry_max_s: float = 60.0,
        refresh_interval_s: float | None = 1800.0,
        refresh_per_s: float = 100.0,
        prune_interval_s: float | None = 3600.0,
        round_objects_max: int = 1000,
        report: Report | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``sources`` are the tables whose sources must not be stale for pruning; ``reconcile`` tells the rest."""
        db.register(Statuses)
        woken_by = (Sources,) if Sources in db.tables else ()
        super().__init__(
            db, (table,), self._notice, name=name, tend=self._work, woken_by=woken_by, from_start=True, report=report
        )
        self.table = table
        self._operations = operations
        self._sources = frozenset([each.name for each in ((table,) if sources is None else sources)])
        self._refresh_s = refresh_interval_s
        self._refresh_per_s = refresh_per_s
        self._prune_s = prune_interval_s
        self._round_max = round_objects_max
        self._clock = clock
        self._now = now
        self._first = True
        self._deletes: dict[K, _Task] = {}
        self._updates: dict[K, _Task] = {}
        self._failing: dict[K, tuple[_Task, Exception]] = {}
        self._retries = Retries[K](retry_min_s, retry_max_s)
        self._done_at: dict[K, float] = {}  # the longest ago first
        self._refresh_free_at = 0.0
        self._refresh_asked = False
        self._prune_asked = False
        self._prune_asked_even_stale = False
        self._prune_due: float | None = None  # as soon as the table is initialized
        self._prune_failed = ""
        self._prune_waits = ""
        self._outbox: dict[K, Status | None] = {}
        self._progress = Progress(0, 0)
        self._progressed = bell()
        self._figures = dict.fromkeys(ReconcilerStats._fields[2:], 0.0)

    # -- asking ------------------------------------------------------------------------------------------------------

    @property
    def health(self) -> str:
        """How it is doing, in one line, which begins with OK where nothing fails."""
        ended = super().health
        if ended != "OK":
            return ended
        objects = f"{len(self._db.snapshot()[self.table])} object(s)"
        failing = list(self._failing.values())
        parts = [f"{object_name(task.key)}: {_told(error)}" for task, error in failing[:ERRORS_TOLD_MAX]]
        if len(failing) > ERRORS_TOLD_MAX:
            parts.append(f"and {len(failing) - ERRORS_TOLD_MAX} more")
        head = f"{len(failing)} error(s), {objects}" if failing else f"OK, {objects}"
        if self._prune_failed:
            parts.append(f"prune failed: {self._prune_failed}")
            head = head.removeprefix("OK, ")
        elif self._prune_waits:
            parts.append(f"pruning waits: {self._prune_waits}")
        return f"{head}; {'; '.join(parts)}" if parts else head

    @property
    def stats(self) -> ReconcilerStats:
        """Figures for metrics."""
        figures = {field: value if field.endswith("_s") else int(value) for field, value in self._figures.items()}
        pending = len(self._deletes) + len(self._updates)
        return ReconcilerStats(pending, len(self._failing), **figures)  # type: ignore[arg-type]  # by name

    def prune(self, *, even_if_stale: bool = False) -> None:
        """Prune soon: at once, or when the table is initialized and its sources are not stale (unless told to).

        From any thread. One that was asked for while another waits is the same one.
        """
        if even_if_stale:
            self._prune_asked_even_stale = True
        self._prune_asked = True
        self.ring()

    def refresh(self) -> None:
        """Update every object once more, soon, whether it changed or not. From any thread."""
        self._refresh_asked = True
        self.ring()

    def wait_until_reconciled(self, revision: int | None = None, timeout: float | None = None) -> Progress | None:
        """Block until every change up to this revision of the table (its present one) was tried at least once.

        The answer tells how far it is, and the lowest revision that still fails. None when ``timeout`` (seconds) is
        over first, or when the reconciler ends before. Revision 0 is reached at once.
        """
        if revision is None:
            revision = self._db.snapshot()[self.table].revision
        deadline = None if timeout is None else time.monotonic() + timeout
        self.ring()
        while True:
            progressed = self._progressed
            if self._progress.revision >= revision:
                return self._progress
            left = None if deadline is None else deadline - time.monotonic()
            if self._state == "ended" or (left is not None and left <= 0):
                return None
            WatchSet(progressed, self._moved).wait(left)

    # -- noticing ----------------------------------------------------------------------------------------------------

    def _notice(self, batch: ChangeBatch[R]) -> None:
        """Every changed object is to be done, whatever was to be done with it before."""
        if self._first:
            self._forget_strangers(batch.snapshot)
        key_of = self.table.key_of
        for change in batch:
            key = key_of(change.row)
            self._drop(key)
            task = _Task(key, change.row, change.revision, change.deleted, fresh=True)
            (self._deletes if change.deleted else self._updates)[key] = task
            self._outbox[key] = self._status(task, "pending")
        self._write_statuses()
        self._first = False

    def _drop(self, key: K) -> None:
        """Forget what is to be done with an object, and that it failed."""
        self._deletes.pop(key, None)
        self._updates.pop(key, None)
        self._failing.pop(key, None)
        self._retries.clear(key)
        self._done_at.pop(key, None)

    def _forget_strangers(self, snapshot: Snapshot) -> None:
        """Remove the statuses that an earlier reconciler of this name left of objects that are gone."""
        known = {object_name(key) for key in snapshot[self.table]}
        strangers = [row.key for row in snapshot[Statuses].prefix((self.name,)) if row.key.object not in known]
        if strangers:
            with self._db.write(Statuses) as txn:
                for key in strangers:
                    txn[Statuses].delete(key)

    # -- working -----------------------------------------------------------------------------------------------------

    def _work(self, seen: Snapshot) -> float | None:
        """One round: what is due for retrying and refreshing joins what changed; then pruning, if it is due."""
        self._write_statuses()  # what an interrupted round did not get to
        self._retry()
        self._refresh(seen)
        self._round(seen)
        self._prune(seen)
        self._write_statuses()
        self._report_progress(seen)
        return self._next_s()

    def _retry(self) -> None:
        now = self._clock()
        while (key := self._retries.pop_due(now)) is not None:
            task, _ = self._failing[key]
            (self._deletes if task.deleted else self._updates)[key] = task

    def _refresh(self, seen: Snapshot) -> None:
        """Objects that were done long ago are done again, so many a second at most; all of them if asked."""
        rows = seen[self.table]
        for key in self._to_refresh():
            del self._done_at[key]
            entry = rows.entry(key)
            if entry is not None:
                task = _Task(key, entry.row, entry.revision, deleted=False, fresh=False)
                self._updates[key] = task
                self._outbox[key] = self._status(task, "pending")
                self._figures["refreshes"] += 1
        self._write_statuses()

    def _to_refresh(self) -> list[K]:
        if self._refresh_asked:
            self._refresh_asked = False
            return list(self._done_at)
        now = self._clock()
        if self._refresh_s is None or now < self._refresh_free_at:
            return []
        due: list[K] = []
        for key, done_at in self._done_at.items():
            if done_at + self._refresh_s > now or len(due) >= max(1.0, self._refresh_per_s):
                break
            due.append(key)
        self._refresh_free_at = now + len(due) / self._refresh_per_s
        return due

    def _round(self, seen: Snapshot) -> None:
        """Deletes first, then updates, not more than a round's worth."""
        left = self._round_max
        left -= self._do(seen, self._deletes, "deletes", left)
        self._do(seen, self._updates, "updates", left)

    def _do(self, seen: Snapshot, waiting: dict[K, _Task], what: str, most: int) -> int:
        """Call the operations for the first ones that wait, and write down what became of them; how many were tried."""
        tasks = list(waiting.values())[:most]
        if not tasks:
            return 0
        begun = self._clock()
        outcomes = self._outcomes(seen, tasks, what == "deletes")
        self._figures[what] += len(outcomes)
        self._figures[what + "_s"] += self._clock() - begun
        for task, error in outcomes:
            del waiting[task.key]
            self._settle(task, error)
        return len(outcomes)

    def _outcomes(self, seen: Snapshot, tasks: list[_Task], deletes: bool) -> list[tuple[_Task, Exception | None]]:
        """What became of each task, None where it succeeded. Fewer than there were when stopped meanwhile."""
        operations: Any = self._operations
        if hasattr(operations, "update_batch"):
            failed = _failed(operations.delete_batch if deletes else operations.update_batch, seen, tasks)
            return [(task, failed.get(task.key)) for task in tasks]
        operation = operations.delete if deletes else operations.update
        outcomes: list[tuple[_Task, Exception | None]] = []
        for task in tasks:
            if self._stopping:
                break
            try:
                operation(seen, task.row)
                outcomes.append((task, None))
            except Exception as error:
                outcomes.append((task, error))
        return outcomes

    def _settle(self, task: _Task, error: Exception | None) -> None:
        """Write down what became of a task; what failed is to be tried again."""
        key = task.key
        if error is not None:
            self._failing[key] = (task._replace(fresh=False), error)
            self._retries.add(key, self._clock())
            self._figures["errors_total"] += 1
            self._outbox[key] = self._status(task, "error", _told(error))
            return
        self._failing.pop(key, None)
        self._retries.clear(key)
        if task.deleted:
            self._outbox[key] = None
        else:
            self._done_at[key] = self._clock()
            self._outbox[key] = self._status(task, "done")

    # -- pruning -----------------------------------------------------------------------------------------------------

    def _prune(self, seen: Snapshot) -> None:
        """Prune where that is due and allowed. One that fails is not repeated before its next time."""
        now = self._clock()
        wanted = not self._stopping and (self._prune_asked or self._prune_is_due(now))
        self._prune_waits = self._not_prunable(seen) if wanted else ""
        if not wanted or self._prune_waits:
            return
        self._prune_asked = self._prune_asked_even_stale = False
        self._prune_due = None if self._prune_s is None else now + self._prune_s
        self._figures["prunes"] += 1
        try:
            self._operations.prune(seen, seen[self.table].values())
            self._prune_failed = ""
        except Exception as error:
            self._prune_failed = _told(error)
            self._figures["prune_errors"] += 1
        self._figures["prunes_s"] += self._clock() - now

    def _prune_is_due(self, now: float) -> bool:
        return self._prune_s is not None and (self._prune_due is None or now >= self._prune_due)

    def _not_prunable(self, seen: Snapshot) -> str:
        """Why the rows of this state cannot be taken for all there are; empty where they can."""
        if not seen[self.table].initialized:
            return f"table {self.table.name!r} is not initialized"
        if self._prune_asked_even_stale or Sources not in seen:
            return ""
        for source in seen[Sources].values():
            if source.key.table in self._sources and source.state != "synced":
                return f"the source of {source.key.table!r} in cluster {source.key.cluster!r} is {source.state}"
        return ""

    # -- telling -----------------------------------------------------------------------------------------------------

    def _status(self, task: _Task, state: Any, error: str = "") -> Status:
        return Status(
            StatusKey(self.name, object_name(task.key)),
            self.table.name,
            state,
            task.revision,
            task.deleted,
            error,
            self._retries.failures(task.key),
            self._now(),
        )

    def _write_statuses(self) -> None:
        if not self._outbox:
            return
        with self._db.write(Statuses) as txn:
            writer = txn[Statuses]
            for key, status in self._outbox.items():
                if status is None:
                    writer.delete(StatusKey(self.name, object_name(key)))
                else:
                    writer.insert(status)
        self._outbox = {}

    def _report_progress(self, seen: Snapshot) -> None:
        untried = [task.revision for tasks in (self._deletes, self._updates) for task in tasks.values() if task.fresh]
        revision = min(untried) - 1 if untried else seen[self.table].revision
        failing = min([task.revision for task, _ in self._failing.values()], default=0)
        progress = Progress(revision, failing)
        if progress != self._progress:
            self._progress = progress
            progressed, self._progressed = self._progressed, bell()
            progressed.trip()

    def _next_s(self) -> float | None:
        """In how many seconds something is due; None where nothing will be."""
        if self._deletes or self._updates:
            return 0.0
        due = [self._retries.next_due, self._prune_due if not self._prune_waits else None, self._next_refresh()]
        times = [each for each in due if each is not None]
        return max(0.0, min(times) - self._clock()) if times else None

    def _next_refresh(self) -> float | None:
        if self._refresh_s is None or not self._done_at:
            return None
        oldest = next(iter(self._done_at.values()))
        return max(oldest + self._refresh_s, self._refresh_free_at)


def reconcile(
    db: Database,
    table: type[Table[K, R]],
    operations: Operations[R] | BatchOperations[K, R],
    *,
    name: str,
    sources: Iterable[AnyTable] | None = None,
    retry_min_s: float = 0.1,
    retry_max_s: float = 60.0,
    refresh_interval_s: float | None = 1800.0,
    refresh_per_s: float = 100.0,
    prune_interval_s: float | None = 3600.0,
    round_objects_max: int = 1000,
    report: Report | None = None,
) -> Reconciler[K, R]:
    """Keep the world as the table says, by these operations; each object's status stands in the table ``Statuses``.

    ``name`` is the reconciler's, one of its own for each. Objects are updated from the start; what fails is tried again
    after ``retry_min_s``, doubling up to ``retry_max_s``. Objects done longer ago than ``refresh_interval_s`` (None:
    never) are updated again, ``refresh_per_s`` a second at most. Pruning begins as soon as the table is initialized
    and is repeated every ``prune_interval_s`` (None: only when asked), and waits while the source of one of ``sources``
    (the table itself, where none are given) is anything but synced. Name the tables that a derived one comes from.
    """
    return Reconciler(
        db,
        table,
        operations,
        name=name,
        sources=sources,
        retry_min_s=retry_min_s,
        retry_max_s=retry_max_s,
        refresh_interval_s=refresh_interval_s,
        refresh_per_s=refresh_per_s,
        prune_interval_s=prune_interval_s,
        round_objects_max=round_objects_max,
        report=report,
    )


def _failed(operation: Callable[..., Any], seen: Snapshot, tasks: list[_Task]) -> Mapping[Any, Exception]:
    """What a batch operation could not do: what it says, or all where it raises."""
    try:
        failed: Mapping[Any, Exception] = operation(seen, {task.key: task.row for task in tasks})
    except Exception as error:
        return {task.key: error for task in tasks}
    return failed


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
