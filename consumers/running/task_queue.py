"""The queue of objects to process: each is queued once, and not while a call for it runs. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

from .operations import Task

K = TypeVar("K", bound=Hashable)
Place = tuple[float, bool, int]


class TaskQueue(Generic[K]):
    """Tasks by priority, the highest first; among equal ones deletes first, then in order of arrival.

    The task of a blocked key stays in its place, and is skipped until the key is unblocked.

    >>> queue = TaskQueue[str]()
    >>> queue.put(Task("a", None, 1, False)); queue.put(Task("b", None, 2, False), priority=1.0)
    >>> queue.block("b"); queue.pop().key, queue.is_ready, len(queue)
    ('a', False, 1)
    >>> queue.unblock("b"); queue.pop().key
    'b'
    """

    def __init__(self) -> None:
        """Empty. No key is blocked."""
        self._tasks: dict[K, tuple[Place, Task]] = {}
        self._heap: list[tuple[Place, K]] = []  # may have replaced and taken tasks; no blocked keys
        self._blocked: set[K] = set()
        self._added = 0

    def __len__(self) -> int:
        """The number of queued tasks, blocked ones included."""
        return len(self._tasks)

    def __contains__(self, key: K) -> bool:
        """Whether the key has a queued task."""
        return key in self._tasks

    def put(self, task: Task, priority: float = 0.0) -> None:
        """Queue a task. It replaces another task for the same key. Cost: O(log n)."""
        self._added += 1
        place = (-priority, not task.deleted, self._added)
        self._tasks[task.key] = (place, task)
        if task.key not in self._blocked:
            heapq.heappush(self._heap, (place, task.key))

    def renew(self, key: K, sequence: int) -> None:
        """Give the queued task of a key the number of a newer request. Its place stays."""
        place, task = self._tasks[key]
        self._tasks[key] = (place, task._replace(sequence=sequence))

    def drop(self, key: K) -> None:
        """Remove the task of a key. Ignored if it has none."""
        self._tasks.pop(key, None)

    def block(self, key: K) -> None:
        """Let no task start for a key."""
        self._blocked.add(key)

    def unblock(self, key: K) -> None:
        """Let the task of a key start again."""
        self._blocked.discard(key)
        if key in self._tasks:
            heapq.heappush(self._heap, (self._tasks[key][0], key))

    @property
    def is_ready(self) -> bool:
        """Whether a task can be taken."""
        while self._heap:
            place, key = self._heap[0]
            task = self._tasks.get(key)
            if task is not None and task[0] == place and key not in self._blocked:
                return True
            heapq.heappop(self._heap)
        return False

    def pop(self) -> Task | None:
        """Take the next task. None if all queued tasks are blocked."""
        if not self.is_ready:
            return None
        return self._tasks.pop(heapq.heappop(self._heap)[1])[1]
