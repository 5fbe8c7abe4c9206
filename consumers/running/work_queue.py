"""The tasks of a reconciler: changed, failed, due later, or waiting for a view. Pure, except for the log.

notice, again ─▶ ready ─▶ next_task ─▶ running ─▶ ended ─▶ done
                 ▲  ▲ blocked while running or waiting     │
                 │  └────────────── timers ◀───────────────┘ failed, or again later
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Any, Generic, Literal, TypeVar

from statedb import Snapshot

from .again import Again
from .cooldowns import Cooldowns
from .operations import Task
from .pace import Pace
from .progress import Untried
from .reconciler_options import ReconcilerSettings
from .retries import Retries
from .steps import FAILURES
from .task_queue import TaskQueue

K = TypeVar("K", bound=Hashable)
End = Literal["superseded", "failed", "later", "done"]

log = logging.getLogger("statedb.consumers")


class WorkQueue(Generic[K]):
    """The tasks of one reconciler. A key has at most one queued task and at most one running task.

    A task that is queued while its key has a running task waits until that has ended. All times are of one clock.
    """

    def __init__(self, settings: ReconcilerSettings) -> None:
        """Empty."""
        self.under_way: dict[K, Task] = {}
        self.failing: dict[K, tuple[Task, BaseException]] = {}
        """For each key, the task that failed last and its error, until one succeeds or the object changes."""
        self.untried = Untried[K]()
        self._settings = settings
        self._ready = TaskQueue[K]()
        self._cooldowns = Cooldowns[K]()
        self._pace = Pace(settings.calls_per_s)
        self._later: dict[K, Task] = {}
        self._timers = Retries[K](settings.retry_min_s, settings.retry_max_s)  # for failing tasks and for later ones

    def __len__(self) -> int:
        """The number of tasks that are ready or running. Tasks that wait for their time do not count."""
        return len(self._ready) + len(self.under_way)

    def failures(self, key: K) -> int:
        """The number of failures of a key since it succeeded or changed."""
        return self._timers.failures(key)

    @property
    def views_missed(self) -> int:
        """The number of views of an `Again` that did not become recent enough in time."""
        return self._cooldowns.gave_up

    # -- queueing ------------------------------------------------------------------------------------------------------

    def add_changed(self, key: K, row: Any, revision: int, *, deleted: bool) -> Task:
        """Queue an object that has changed. It replaces all earlier tasks of the object, and clears its failures."""
        self._ready.drop(key)
        self.failing.pop(key, None)
        self._later.pop(key, None)
        self._timers.clear(key)
        task = Task(key, row, revision, deleted, self.untried.add(key, revision))
        self._put(task)
        return task

    def add_unchanged(self, key: K, row: Any, revision: int, *, counted: bool) -> Task | None:
        """Queue an object that has not changed, to be processed at once. None if it is already queued for that.

        ``counted``: whether `untried` counts it.
        """
        sequence = self.untried.add(key, None) if counted else -1
        if key in self._ready:
            if counted:
                self._ready.renew(key, sequence)
            return None
        self._timers.remove(key)
        self._later.pop(key, None)
        task = Task(key, row, revision, False, sequence)
        self._put(task)
        return task

    def take_due(self, now: float, seen: Snapshot) -> None:
        """Make tasks ready that are due now, and unblock keys whose wait is over."""
        for ready in self._cooldowns.over(now, seen):
            self._ready.unblock(ready)
        while (key := self._timers.pop_due(now)) is not None:
            later = self._later.pop(key, None)
            self._put(self.failing[key][0] if later is None else later)

    def _put(self, task: Task) -> None:
        self._ready.put(task, self._priority(task.row))

    def _priority(self, row: Any) -> float:
        if self._settings.priority is None:
            return 0.0
        try:
            return float(self._settings.priority(row))
        except FAILURES:
            log.exception("the priority function failed; the priority of the object is 0")
            return 0.0

    # -- processing ----------------------------------------------------------------------------------------------------

    def next_task(self, now: float) -> Task | None:
        """Start the next task; None if none may start now."""
        task = self._ready.pop() if self._pace.is_free(now) else None
        if task is not None:
            self._pace.take(now)
            self._ready.block(task.key)
            self.under_way[task.key] = task
        return task

    def put_back(self, task: Task) -> None:
        """Queue a task again that was not started after all."""
        del self.under_way[task.key]
        self._put(task)
        self._ready.unblock(task.key)

    def ended(self, task: Task, answer: object, error: BaseException | None, now: float) -> End:
        """Record the outcome of a task. Returns "superseded" if its key is already queued again."""
        key = task.key
        del self.under_way[key]
        self.untried.remove(key, task.sequence)
        again = answer if isinstance(answer, Again) else Again()
        if again.view is not None or self._settings.object_interval_s:
            self._cooldowns.add(
                key, now + self._settings.object_interval_s, again.view, now + self._settings.view_wait_s
            )
        else:
            self._ready.unblock(key)
        if key in self._ready:
            return "superseded"
        if error is not None:
            self.failing[key] = (task, error)
            self._timers.add(key, now)
            return "failed"
        self.failing.pop(key, None)
        self._timers.clear(key)
        if again.after_s is None:
            return "done"
        self._later[key] = task
        self._timers.set(key, now + again.after_s)
        return "later"

    def next_due(self, now: float, *, may_begin: bool) -> float | None:
        """When to check again; None if nothing is due. ``may_begin``: whether a worker is free for a ready task."""
        times = [self._timers.next_due, self._cooldowns.next_due]
        if may_begin and self._ready.is_ready:
            times.append(max(now, self._pace.next_free))
        return min([each for each in times if each is not None], default=None)
