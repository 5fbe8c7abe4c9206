"""The outside world driven from a table: every object updated or deleted there, until it succeeds. Knows no objects.

    changes ─────────▶ deletes, updates ─▶ operations ─▶ status rows
                            ▲        ▲            │ failed
               refresh ─────┘        └── retries ◀┘
    now and then: prune, with all objects there are

One reconciler has one thread, and statuses in a table apart from the objects: what one reconciler writes down wakes no
other. A status names the revision that it is about, so nothing has to be taken back when an object changes while it is
being worked on: the change comes with the next batch, and until then the status is about an older revision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, Generic, NamedTuple, TypeVar, Unpack

from statedb import ChangeBatch, Database, Snapshot, Table, WatchSet

from .derivation import why_incomplete
from .follower import AnyTable, Follower
from .operations import BatchOperations, Operations, Task, outcomes
from .pruning import Pruning, WhyNot
from .reconciler_options import ReconcilerOptions, ReconcilerSettings, ReconcilerStats
from .retries import Retries
from .status import Status, Statuses, StatusKey, object_name
from .steps import describe, manual_watch

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

ERRORS_SHOWN_MAX = 10


class Progress(NamedTuple):
    """How far a reconciler is: everything up to ``revision`` was tried at least once."""

    revision: int
    lowest_failing: int
    """The lowest revision of an object that fails; 0 where none does."""


class Reconciler(Follower, Generic[K, R]):
    """Drives the world from a table; `reconcile` makes it. Run it as any `Follower`."""

    def __init__(
        self,
        db: Database,
        table: type[Table[K, R]],
        operations: Operations[R] | BatchOperations[K, R],
        *,
        name: str,
        may_prune: WhyNot | None = None,
        woken_by: tuple[AnyTable, ...] = (),
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        **options: Unpack[ReconcilerOptions],
    ) -> None:
        """`reconcile` tells what these are. ``clock`` paces it, ``now`` dates statuses (Unix seconds)."""
        settings = ReconcilerSettings(**options)
        db.register(Statuses)
        super().__init__(
            db,
            (table,),
            self._on_changes,
            name=name,
            maintain=self._work,
            woken_by=woken_by,
            from_start=True,
            report=settings.report,
            clock=clock,
        )
        self.table = table
        self._operations = operations
        self._refresh_s = settings.refresh_interval_s
        self._refresh_per_s = settings.refresh_per_s
        self._round_max = settings.round_objects_max
        self._now = now
        self._first = True
        self._deletes: dict[K, Task] = {}
        self._updates: dict[K, Task] = {}
        self._failing: dict[K, tuple[Task, BaseException]] = {}
        self._retries = Retries[K](settings.retry_min_s, settings.retry_max_s)
        self._done_at: dict[K, float] = {}  # the longest ago first
        self._refresh_free_at = 0.0
        self._refresh_asked = False
        self._pruning = Pruning(may_prune or _no_reason, self._why_no_prune, settings.prune_interval_s, clock)
        self._pending_statuses: dict[K, Status | None] = {}
        self._progress = Progress(0, 0)
        self._progressed = manual_watch()
        self._figures: dict[str, float] = dict.fromkeys(
            ("errors_total", "updates", "updates_s", "deletes", "deletes_s", "refreshes"), 0.0
        )

    # -- asking ------------------------------------------------------------------------------------------------------

    @property
    def health(self) -> str:
        """How it is doing, in one line, which begins with OK where nothing fails."""
        ended = super().health
        if ended != "OK":
            return ended
        objects = f"{len(self._db.snapshot()[self.table])} object(s)"
        failing = list(self._failing.values())
        parts = [f"{object_name(task.key)}: {describe(error)}" for task, error in failing[:ERRORS_SHOWN_MAX]]
        if len(failing) > ERRORS_SHOWN_MAX:
            parts.append(f"and {len(failing) - ERRORS_SHOWN_MAX} more")
        head = f"{len(failing)} error(s), {objects}" if failing else f"OK, {objects}"
        if self._pruning.failed:
            parts.append(f"prune failed: {self._pruning.failed}")
            head = head.removeprefix("OK, ")
        elif self._pruning.waiting_for:
            parts.append(f"pruning waits: {self._pruning.waiting_for}")
        return f"{head}; {'; '.join(parts)}" if parts else head

    @property
    def stats(self) -> ReconcilerStats:
        """Figures for metrics."""
        figures = {field: value if field.endswith("_s") else int(value) for field, value in self._figures.items()}
        pruning, pending = self._pruning, len(self._deletes) + len(self._updates)
        return ReconcilerStats(
            pending,
            len(self._failing),
            **figures,  # type: ignore[arg-type]  # by name
            prunes=pruning.count,
            prune_errors=pruning.errors,
            prunes_s=pruning.took_s,
        )

    def prune(self, *, even_if_stale: bool = False) -> None:
        """Prune soon: at once, or when the table is initialized and its sources are not stale (unless told to).

        From any thread. One that was asked for while another waits is the same one.
        """
        self._pruning.request(even_if_stale=even_if_stale)
        self.wake()

    def refresh(self) -> None:
        """Update every object once more, soon, whether it changed or not. From any thread."""
        self._refresh_asked = True
        self.wake()

    def wait_until_reconciled(self, revision: int | None = None, timeout: float | None = None) -> Progress | None:
        """Block until every change up to this revision of the table (its present one) was tried at least once.

        The answer tells how far it is, and the lowest revision that still fails. None when ``timeout`` (seconds) is
        over first, or when the reconciler ends before. Revision 0 is reached at once.
        """
        if revision is None:
            revision = self._db.snapshot()[self.table].revision
        deadline = None if timeout is None else time.monotonic() + timeout
        self.wake()
        while True:
            progressed = self._progressed
            if self._progress.revision >= revision:
                return self._progress
            left = None if deadline is None else deadline - time.monotonic()
            if self._state == "ended" or (left is not None and left <= 0):
                return None
            WatchSet(progressed, self._advanced).wait(left)

    # -- noticing ----------------------------------------------------------------------------------------------------

    def _on_changes(self, batch: ChangeBatch[R]) -> None:
        """Every changed object is to be done, whatever was to be done with it before."""
        if self._first:
            self._delete_stale_statuses(batch.snapshot)
        key_of = self.table.key_of
        for change in batch:
            key = key_of(change.row)
            self._drop(key)
            task = Task(key, change.row, change.revision, change.deleted, fresh=True)
            (self._deletes if change.deleted else self._updates)[key] = task
            self._pending_statuses[key] = self._status(task, "pending")
        self._write_statuses()
        self._first = False

    def _drop(self, key: K) -> None:
        """Forget what is to be done with an object, and that it failed."""
        self._deletes.pop(key, None)
        self._updates.pop(key, None)
        self._failing.pop(key, None)
        self._retries.clear(key)
        self._done_at.pop(key, None)

    def _delete_stale_statuses(self, snapshot: Snapshot) -> None:
        """Remove the statuses that an earlier reconciler of this name left of objects that are gone."""
        known = {object_name(key) for key in snapshot[self.table]}
        stale = [row.key for row in snapshot[Statuses].prefix((self.name,)) if row.key.object not in known]
        if stale:
            with self._db.write(Statuses) as txn:
                for key in stale:
                    txn[Statuses].delete(key)

    # -- working -----------------------------------------------------------------------------------------------------

    def _work(self, seen: Snapshot) -> float | None:
        """One round: what is due for retrying and refreshing joins what changed; then pruning, if it is due."""
        self._write_statuses()  # what an interrupted round did not get to
        self._retry()
        self._refresh(seen)
        self._round(seen)
        if not self._stopping:
            self._pruning.run(self._operations.prune, seen, seen[self.table].values())
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
                task = Task(key, entry.row, entry.revision, deleted=False, fresh=False)
                self._updates[key] = task
                self._pending_statuses[key] = self._status(task, "pending")
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
        left -= self._run_tasks(seen, self._deletes, "deletes", left)
        self._run_tasks(seen, self._updates, "updates", left)

    def _run_tasks(self, seen: Snapshot, waiting: dict[K, Task], what: str, most: int) -> int:
        """Call the operations for the first ones that wait, and write down what became of them; how many were tried."""
        tasks = list(waiting.values())[:most]
        if not tasks:
            return 0
        begun = self._clock()
        done = outcomes(self._operations, seen, tasks, deletes=what == "deletes", stopping=lambda: self._stopping)
        self._figures[what] += len(done)
        self._figures[what + "_s"] += self._clock() - begun
        for task, error in done:
            del waiting[task.key]
            self._record_outcome(task, error)
        return len(done)

    def _record_outcome(self, task: Task, error: BaseException | None) -> None:
        """Write down what became of a task; what failed is to be tried again."""
        key = task.key
        if error is not None:
            self._failing[key] = (task._replace(fresh=False), error)
            self._retries.add(key, self._clock())
            self._figures["errors_total"] += 1
            self._pending_statuses[key] = self._status(task, "error", describe(error))
            return
        self._failing.pop(key, None)
        self._retries.clear(key)
        if task.deleted:
            self._pending_statuses[key] = None
        else:
            self._done_at[key] = self._clock()
            self._pending_statuses[key] = self._status(task, "done")

    def _why_no_prune(self, seen: Snapshot) -> str:
        """Why the rows are not all there are, whatever the caller says of stale ones."""
        if not seen[self.table].initialized:
            return f"table {self.table.name!r} is not initialized"
        return why_incomplete(self._db, self.table)

    # -- statuses ----------------------------------------------------------------------------------------------------

    def _status(self, task: Task, state: Any, error: str = "") -> Status:
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
        untried = [task.revision for tasks in (self._deletes, self._updates) for task in tasks.values() if task.fresh]
        revision = min(untried) - 1 if untried else seen[self.table].revision
        failing = min([task.revision for task, _ in self._failing.values()], default=0)
        progress = Progress(revision, failing)
        if progress != self._progress:
            self._progress = progress
            progressed, self._progressed = self._progressed, manual_watch()
            progressed.trip()

    def _next_s(self) -> float | None:
        """In how many seconds something is due; None where nothing will be."""
        if self._deletes or self._updates:
            return 0.0
        due = [self._retries.next_due, self._pruning.next_due, self._next_refresh()]
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
    may_prune: WhyNot | None = None,
    woken_by: tuple[AnyTable, ...] = (),
    **options: Unpack[ReconcilerOptions],
) -> Reconciler[K, R]:
    """Keep the world as the table says, by these operations; each object's status stands in the table ``Statuses``.

    ``name`` is the reconciler's own in this database (NameTaken). Objects are updated from the start. Pruning begins as
    soon as the table is initialized. It waits while ``may_prune`` returns why the rows are not all there are; that is
    asked again when the tables of ``woken_by`` change. It waits as well while keys of a derived table are set aside.
    `consumers.reconcile` asks whether the sources are synced.
    """
    return Reconciler(db, table, operations, name=name, may_prune=may_prune, woken_by=woken_by, **options)


def _no_reason(_: Snapshot) -> str:
    return ""
