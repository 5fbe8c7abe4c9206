"""Which object is next: each waits once, and not beside a call for it. Pure; priorities come in as an argument."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

from .operations import Task

K = TypeVar("K", bound=Hashable)
Place = tuple[float, bool, int]


class TaskQueue(Generic[K]):
    """Tasks by priority, the highest first; of equal ones deletes first, then in the order in which they came.

    A key that is blocked keeps its task and its place, and is passed over until it is unblocked.

    >>> queue = TaskQueue[str]()
    >>> queue.put(Task("a", None, 1, False)); queue.put(Task("b", None, 2, False), priority=1.0)
    >>> queue.block("b"); queue.pop().key, queue.is_ready, len(queue)
    ('a', False, 1)
    >>> queue.unblock("b"); queue.pop().key
    'b'
    """

    def __init__(self) -> None:
        """Empty; no key is blocked."""
        self._tasks: dict[K, tuple[Place, Task]] = {}
        self._heap: list[tuple[Place, K]] = []  # with places of tasks that were replaced or taken; not of blocked ones
        self._blocked: set[K] = set()
        self._added = 0

    def __len__(self) -> int:
        """How many wait, blocked ones included."""
        return len(self._tasks)

    def __contains__(self, key: K) -> bool:
        """Whether it waits."""
        return key in self._tasks

    def put(self, task: Task, priority: float = 0.0) -> None:
        """Have it wait, in place of another task for the same key. Cost: O(log n)."""
        self._added += 1
        place = (-priority, not task.deleted, self._added)
        self._tasks[task.key] = (place, task)
        if task.key not in self._blocked:
            heapq.heappush(self._heap, (place, task.key))

    def renew(self, key: K, look: int) -> None:
        """The task that waits for it was noticed again; its place stays."""
        place, task = self._tasks[key]
        self._tasks[key] = (place, task._replace(look=look))

    def drop(self, key: K) -> None:
        """Its task is not wanted any more; nothing happens where it has none."""
        self._tasks.pop(key, None)

    def block(self, key: K) -> None:
        """Nothing is to begin for it."""
        self._blocked.add(key)

    def unblock(self, key: K) -> None:
        """What waits for it may begin."""
        self._blocked.discard(key)
        if key in self._tasks:
            heapq.heappush(self._heap, (self._tasks[key][0], key))

    @property
    def is_ready(self) -> bool:
        """Whether one can be taken."""
        while self._heap:
            place, key = self._heap[0]
            task = self._tasks.get(key)
            if task is not None and task[0] == place and key not in self._blocked:
                return True
            heapq.heappop(self._heap)
        return False

    def pop(self) -> Task | None:
        """Take the next one; None where all that wait are blocked."""
        if not self.is_ready:
            return None
        return self._tasks.pop(heapq.heappop(self._heap)[1])[1]
