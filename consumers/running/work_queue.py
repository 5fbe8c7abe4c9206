"""What is to be done when: what changed, what failed, what is due later, what rests. Pure, but for the log.

notice, again ─▶ ready ─▶ next_task ─▶ under way ─▶ ended ─▶ done
                 ▲  ▲ blocked while under way, and at rest      │
                 │  └────────────── timers ◀────────────────────┘ failed, or again later
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Any, Generic, Literal, TypeVar

from statedb import Snapshot

from .again import Again
from .operations import Task
from .pace import Pace
from .progress import Untried
from .reconciler_options import ReconcilerSettings
from .rests import Rests
from .retries import Retries
from .steps import FAILURES
from .task_queue import TaskQueue

K = TypeVar("K", bound=Hashable)
End = Literal["superseded", "failed", "later", "done"]

log = logging.getLogger("statedb.consumers")


class WorkQueue(Generic[K]):
    """The tasks of one reconciler. A key has one task that waits at most, and one that is under way at most.

    What is noticed while its key is under way waits until that has ended. Times are those of one clock.
    """

    def __init__(self, settings: ReconcilerSettings) -> None:
        """Empty."""
        self.under_way: dict[K, Task] = {}
        self.failing: dict[K, tuple[Task, BaseException]] = {}
        """By key, the task that failed last and why, until one succeeds or the object changes."""
        self.untried = Untried[K]()
        self._settings = settings
        self._ready = TaskQueue[K]()
        self._rests = Rests[K]()
        self._pace = Pace(settings.calls_per_s)
        self._later: dict[K, Task] = {}
        self._timers = Retries[K](settings.retry_min_s, settings.retry_max_s)  # of those that fail, and of later ones

    def __len__(self) -> int:
        """How many wait to begin, or are under way; not those that wait for their time."""
        return len(self._ready) + len(self.under_way)

    def failures(self, key: K) -> int:
        """How often it failed since it succeeded or changed."""
        return self._timers.failures(key)

    @property
    def views_missed(self) -> int:
        """How many views of an `Again` were not new enough in time."""
        return self._rests.gave_up

    # -- what is to be done ------------------------------------------------------------------------------------------

    def notice(self, key: K, row: Any, revision: int, *, deleted: bool) -> Task:
        """It changed: whatever was to be done with it is not any more, and it never failed."""
        self._ready.drop(key)
        self.failing.pop(key, None)
        self._later.pop(key, None)
        self._timers.clear(key)
        task = Task(key, row, revision, deleted, self.untried.notice(key, revision))
        self._put(task)
        return task

    def again(self, key: K, row: Any, revision: int, *, noticed: bool) -> Task | None:
        """It did not change, and is to be done at once all the same. None where it waits for that already.

        ``noticed``: `untried` is to count it.
        """
        look = self.untried.notice(key, None) if noticed else -1
        if key in self._ready:
            if noticed:
                self._ready.renew(key, look)
            return None
        self._timers.remove(key)
        self._later.pop(key, None)
        task = Task(key, row, revision, False, look)
        self._put(task)
        return task

    def take_due(self, now: float, seen: Snapshot) -> None:
        """What is due now may begin, and what is not at rest any more."""
        for rested in self._rests.over(now, seen):
            self._ready.unblock(rested)
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
            log.exception("the priority of an object is not known; it is 0")
            return 0.0

    # -- doing it ------------------------------------------------------------------------------------------------------

    def next_task(self, now: float) -> Task | None:
        """Begin the next task that may; None where none may now."""
        task = self._ready.pop() if self._pace.is_free(now) else None
        if task is not None:
            self._pace.take(now)
            self._ready.block(task.key)
            self.under_way[task.key] = task
        return task

    def put_back(self, task: Task) -> None:
        """It did not begin after all."""
        del self.under_way[task.key]
        self._put(task)
        self._ready.unblock(task.key)

    def ended(self, task: Task, answer: object, error: BaseException | None, now: float) -> End:
        """What becomes of its key: nothing where it is to be done anew already."""
        key = task.key
        del self.under_way[key]
        self.untried.tried(key, task.look)
        again = answer if isinstance(answer, Again) else Again()
        if again.view is not None or self._settings.object_interval_s:
            self._rests.add(key, now + self._settings.object_interval_s, again.view, now + self._settings.view_wait_s)
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
        """When to look again; None where nothing is due. ``may_begin``: somebody is free for what is ready."""
        times = [self._timers.next_due, self._rests.next_due]
        if may_begin and self._ready.is_ready:
            times.append(max(now, self._pace.next_free))
        return min([each for each in times if each is not None], default=None)
