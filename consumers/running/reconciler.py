"""Makes the outside world match a table: each changed row is updated or deleted there, until that succeeds.

    changes ─────────────▶ queue ─▶ operations ─▶ status rows
    related rows ────────▶ ▲ ▲           │ failed, or again later
               refresh ────┘ └── timers ◀┘
    periodically: prune, with all objects of the table

One loop makes all decisions. It calls the operations itself, or lets workers call them. An object that a worker is
processing is blocked in the queue. Statuses are in a table of their own, so that what one reconciler writes wakes no
other. A status has the revision that it is about. So nothing has to be undone if an object changes while it is being
processed: the change comes with the next batch, and until then the status is about an older revision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar, Unpack

from statedb import ChangeBatch, Database, Snapshot, Table, TablesBatch, WatchSet

from .derivation import why_incomplete
from .follower import AnyTable, Follower
from .operations import (
    AsyncOperations,
    BatchOperations,
    Operations,
    Task,
    are_async,
    call_of,
    in_batches,
    outcomes,
)
from .progress import Progress
from .pruning import Pruning, WhyNot
from .reconciler_health import health_line
from .reconciler_options import ReconcilerOptions, ReconcilerSettings, ReconcilerStats
from .refreshes import Refreshes
from .related_rows import RelatedRows
from .status import Status, Statuses, StatusKey, object_name
from .steps import Pause, Steps, describe, manual_watch
from .work_queue import WorkQueue
from .workers import Outcome, TaskWorkers, ThreadWorkers, Workers

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class Reconciler(Follower, Generic[K, R]):
    """Makes the outside world match a table; made by `reconcile`. Run it like any `Follower`."""

    def __init__(
        self,
        db: Database,
        table: type[Table[K, R]],
        operations: Operations[R] | AsyncOperations[R] | BatchOperations[K, R],
        *,
        name: str,
        may_prune: WhyNot | None = None,
        woken_by: tuple[AnyTable, ...] = (),
        called_by: Workers | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        **options: Unpack[ReconcilerOptions],
    ) -> None:
        """See `reconcile` for the arguments. ``clock`` paces it, ``now`` dates statuses (Unix seconds).

        ``called_by`` calls the operations instead of the ``workers`` of the options.
        """
        settings = self._settings = ReconcilerSettings(**options)
        self._related = RelatedRows(settings.also)
        db.register(Statuses)
        super().__init__(
            db,
            (table, *self._related.tables),
            self._on_changes,
            name=name,
            maintain=self._work_async if are_async(operations) else self._work,
            woken_by=woken_by,
            from_start=True,
            report=settings.report,
            clock=clock,
        )
        self.table = table
        self._operations: Any = operations  # Any: of three kinds
        self._workers = called_by or self._workers_of(operations, settings.workers)
        self._now = now
        self._first = True
        self._queue = WorkQueue[K](settings)
        self._refreshes = Refreshes[K](settings.refresh_interval_s, settings.refresh_per_s)
        self._pruning = Pruning(may_prune or _no_reason, self._why_no_prune, settings.prune_interval_s, clock)
        self._prune_is_next = False
        self._pending_statuses: dict[K, Status | None] = {}
        self._progress = Progress(0, 0)
        self._progressed = manual_watch()
        self._figures: dict[str, float] = dict.fromkeys(
            ("errors_total", "updates", "updates_s", "deletes", "deletes_s", "refreshes"), 0.0
        )

    def _workers_of(self, operations: object, most: int) -> Workers | None:
        """What calls the operations. None: the loop itself."""
        if are_async(operations):
            return TaskWorkers(most, self.name, self.wake)
        if most == 1:
            return None
        if in_batches(operations):
            raise ValueError(f"{self.name}: operations in batches have one worker; use larger batches instead")
        return ThreadWorkers(most, self.name, self.wake)

    # -- for its owner -------------------------------------------------------------------------------------------------

    @property
    def health(self) -> str:
        """The state in one line. It begins with OK while nothing fails."""
        ended = super().health
        if ended != "OK":
            return ended
        return health_line(
            len(self._db.snapshot()[self.table]),
            [f"{object_name(task.key)}: {describe(error)}" for task, error in list(self._queue.failing.values())],
            self._pruning,
            self._related.errors,
        )

    @property
    def stats(self) -> ReconcilerStats:
        """Statistics, for metrics."""
        figures = {field: value if field.endswith("_s") else int(value) for field, value in self._figures.items()}
        pruning, pending = self._pruning, len(self._queue)
        return ReconcilerStats(
            pending,
            len(self._queue.failing),
            **figures,  # type: ignore[arg-type]  # by name
            prunes=pruning.count,
            prune_errors=pruning.errors,
            prunes_s=pruning.took_s,
            under_way=len(self._queue.under_way),
            views_missed=self._queue.views_missed,
        )

    def prune(self, *, even_if_stale: bool = False) -> None:
        """Request a prune. It waits for an initialized table and, unless ``even_if_stale``, for synced sources.

        May be called from any thread. Requests made while one waits are merged with it.
        """
        self._pruning.request(even_if_stale=even_if_stale)
        self.wake()

    def refresh(self) -> None:
        """Request an update of every object, changed or not. May be called from any thread."""
        self._refreshes.request_all()
        self.wake()

    def wait_until_reconciled(self, revision: int | None = None, timeout: float | None = None) -> Progress | None:
        """Block until every change up to a revision of the table (default: the current one) was tried at least once.

        Returns the progress, with the lowest revision that still fails. Returns None after ``timeout`` seconds, or if
        the reconciler ends before. Revision 0 is reached at once.
        """
        if revision is None:
            revision = self._db.snapshot()[self.table].revision
        deadline = None if timeout is None else time.monotonic() + timeout
        self.wake()
        while True:
            progressed, advanced = self._progressed, self._next_advance()
            if self._progress.revision >= revision:
                return self._progress
            left = None if deadline is None else deadline - time.monotonic()
            if self._state == "ended" or (left is not None and left <= 0):
                return None
            WatchSet(progressed, advanced).wait(left)

    # -- queueing ------------------------------------------------------------------------------------------------------

    def _on_changes(self, batch: ChangeBatch[R] | TablesBatch) -> None:
        """Queue every changed object, and drop its older tasks."""
        if self._first:
            self._delete_stale_statuses(batch.snapshot)
        key_of = self.table.key_of
        for change in batch[self.table] if isinstance(batch, TablesBatch) else batch:
            key = key_of(change.row)
            self._refreshes.drop(key)
            task = self._queue.add_changed(key, change.row, change.revision, deleted=change.deleted)
            self._pending_statuses[key] = self._status(task, "pending")
        if isinstance(batch, TablesBatch):
            for key in self._related.concerned_keys(batch):
                self._requeue(batch.snapshot, key, counted=True)
        self._write_statuses()
        self._first = False

    def _requeue(self, seen: Snapshot, key: K, *, counted: bool) -> bool:
        """Queue an object that has not changed. False if it is queued already or does not exist."""
        entry = seen[self.table].entry(key)
        task = entry and self._queue.add_unchanged(key, entry.row, entry.revision, counted=counted)
        if not task:
            return False
        self._refreshes.drop(key)
        self._pending_statuses[key] = self._status(task, "pending")
        return True

    def _delete_stale_statuses(self, snapshot: Snapshot) -> None:
        """Delete the statuses of deleted objects that an earlier reconciler of this name left."""
        known = {object_name(key) for key in snapshot[self.table]}
        stale = [row.key for row in snapshot[Statuses].prefix((self.name,)) if row.key.object not in known]
        if stale:
            with self._db.write(Statuses) as txn:
                for key in stale:
                    txn[Statuses].delete(key)

    # -- working -------------------------------------------------------------------------------------------------------

    def _work(self, seen: Snapshot) -> float | None:
        """One round: queue due retries and refreshes, run tasks, and prune if that is due."""
        if self._begin_round(seen):
            with self._pruning.attempt():
                self._operations.prune(seen, seen[self.table].values())
        return self._end_round(seen)

    async def _work_async(self, seen: Snapshot) -> float | None:
        """`_work` for asynchronous operations."""
        if self._begin_round(seen):
            with self._pruning.attempt():
                await self._operations.prune(seen, seen[self.table].values())
        return self._end_round(seen)

    def _begin_round(self, seen: Snapshot) -> bool:
        """Process the queue. Returns whether to prune. No operation runs during a prune."""
        self._write_statuses()  # left by an interrupted round
        self._take_done()
        self._queue.take_due(self._clock(), seen)
        self._refresh(seen)
        prune_first = self._workers is not None and self._pruning.may_begin(seen)
        self._prune_is_next = prune_first and bool(self._queue.under_way)
        if not prune_first:
            self._round(seen)
        return not self._stopping and self._pruning.may_begin(seen) and not self._queue.under_way

    def _end_round(self, seen: Snapshot) -> float | None:
        self._write_statuses()
        self._report_progress(seen)
        return self._next_s()

    def _refresh(self, seen: Snapshot) -> None:
        """Queue the objects whose last update is too old, at a limited rate; all objects if that was requested."""
        for key in self._refreshes.due(self._clock()):
            self._figures["refreshes"] += self._requeue(seen, key, counted=False)
        self._write_statuses()

    def _round(self, seen: Snapshot) -> None:
        """Process the first tasks of the queue: let workers start them, or run a round of them here, deletes first."""
        if self._workers is not None:
            while self._may_begin() and (task := self._queue.next_task(self._clock())):
                self._workers.begin((task, self._clock()), call_of(self._operations, seen, task))
            return
        tasks: list[Task] = []
        while len(tasks) < self._settings.round_objects_max and (task := self._queue.next_task(self._clock())):
            tasks.append(task)
        self._run_tasks(seen, [task for task in tasks if task.deleted], deletes=True)
        self._run_tasks(seen, [task for task in tasks if not task.deleted], deletes=False)

    def _may_begin(self) -> bool:
        """Whether a worker is free and no prune waits for it."""
        most = 1 if self._workers is None else self._workers.most
        return not self._stopping and not self._prune_is_next and len(self._queue.under_way) < most

    def _run_tasks(self, seen: Snapshot, tasks: list[Task], *, deletes: bool) -> None:
        """Call the operations for these tasks, and record the outcomes."""
        if not tasks:
            return
        begun = self._clock()
        done = outcomes(self._operations, seen, tasks, deletes=deletes, stopping=lambda: self._stopping)
        self._count(deletes, len(done), self._clock() - begun)
        for each in done:
            self._record_outcome(each.subject, each)
        for task in tasks[len(done) :]:
            self._queue.put_back(task)

    def _take_done(self) -> None:
        """Record the outcomes of tasks that workers have finished."""
        for done in self._workers.take() if self._workers is not None else ():
            task, begun = done.subject
            self._count(task.deleted, 1, self._clock() - begun)
            self._record_outcome(task, done)

    def _count(self, deletes: bool, count: int, took_s: float) -> None:
        what = "deletes" if deletes else "updates"
        self._figures[what] += count
        self._figures[what + "_s"] += took_s

    def _record_outcome(self, task: Task, done: Outcome) -> None:
        """Record the outcome of a task. A failed one is retried."""
        key = task.key
        self._figures["errors_total"] += done.error is not None
        end = self._queue.ended(task, done.answer, done.error, self._clock())
        if end == "failed":
            self._pending_statuses[key] = self._status(task, "error", describe(done.error or ValueError()))
        elif end == "done" and task.deleted:
            self._pending_statuses[key] = None
        elif end != "superseded":
            self._pending_statuses[key] = self._status(task, "done")
        if end == "done" and not task.deleted:
            self._refreshes.done(key, self._clock())

    def _why_no_prune(self, seen: Snapshot) -> str:
        """Why the rows are incomplete, even for a caller that accepts stale rows; empty if they are complete."""
        if not seen[self.table].initialized:
            return f"table {self.table.name!r} is not initialized"
        return why_incomplete(self._db, self.table)

    def _follow(self) -> Steps:
        """When stopped, tasks that workers are processing are finished first. Cancelling the task cancels them."""
        try:
            yield from super()._follow()
            while self._queue.under_way:
                if self._wake.tripped:
                    self._wake = manual_watch()  # replaced before the check, so that a wake-up in between is not lost
                self._take_done()
                if self._queue.under_way:
                    yield Pause((self._wake,), None)
            self._write_statuses()
        finally:
            if self._workers is not None:
                self._workers.close()

    # -- statuses ------------------------------------------------------------------------------------------------------

    def _status(self, task: Task, state: Any, error: str = "") -> Status:
        return Status(
            StatusKey(self.name, object_name(task.key)),
            self.table.name,
            state,
            task.revision,
            task.deleted,
            error,
            self._queue.failures(task.key),
            self._now(),
        )

    def _write_statuses(self) -> None:
        if not self._pending_statuses:
            return
        with self._db.write(Statuses) as txn:
            writer = txn[Statuses]
            for key, status in self._pending_statuses.items():
                if status is None:
                    writer.delete(StatusKey(self.name, object_name(key)))
                else:
                    writer.insert(status)
        self._pending_statuses = {}

    def _report_progress(self, seen: Snapshot) -> None:
        first = self._queue.untried.first_revision
        revision = seen[self.table].revision if first is None else first - 1
        failing = min([task.revision for task, _ in self._queue.failing.values()], default=0)
        progress = Progress(revision, failing)
        if progress != self._progress:
            self._progress = progress
            progressed, self._progressed = self._progressed, manual_watch()
            progressed.trip()

    def _advance_to(self, snapshot: Snapshot) -> None:
        """Record the state. Changes count as applied once they were tried."""
        self._queue.untried.record_state(self._revisions(snapshot))
        applied = self._queue.untried.applied
        if applied is not None:
            self._advance(applied)

    def _next_s(self) -> float | None:
        """The seconds until something is due. None if nothing will be, or a worker ends before."""
        now = self._clock()
        times = [self._queue.next_due(now, may_begin=self._may_begin()), self._refreshes.next_due]
        if not self._queue.under_way:
            times.append(self._pruning.next_due)
        due = [each for each in times if each is not None]
        return max(0.0, min(due) - now) if due else None


def reconcile(
    db: Database,
    table: type[Table[K, R]],
    operations: Operations[R] | AsyncOperations[R] | BatchOperations[K, R],
    *,
    name: str,
    may_prune: WhyNot | None = None,
    woken_by: tuple[AnyTable, ...] = (),
    **options: Unpack[ReconcilerOptions],
) -> Reconciler[K, R]:
    """Make the outside world match a table, with these operations. The table ``Statuses`` has each object's status.

    ``name`` must be unique in this database (NameTaken). Objects are updated from the start. Pruning starts when the
    table is initialized. It waits while ``may_prune`` returns a reason why the rows are incomplete; this is checked
    again when the tables of ``woken_by`` change. It also waits while keys of a derived table are set aside.
    `consumers.reconcile` waits until the sources are synced, too.
    """
    return Reconciler(db, table, operations, name=name, may_prune=may_prune, woken_by=woken_by, **options)


def _no_reason(_: Snapshot) -> str:
    return ""
