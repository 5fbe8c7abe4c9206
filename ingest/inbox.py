"""A bounded queue with many writers and one reader, which can be closed. Knows nothing about its items."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """A first-in, first-out queue. `put` blocks while it is full. After `close` it accepts nothing."""

    def __init__(self, items_max: int, weight: Callable[[T], int] = lambda _: 0, weight_max: int = 0) -> None:
        """An empty queue. It is full with ``items_max`` items, or when their total weight exceeds ``weight_max``."""
        self._items_max = items_max
        self._weight = weight
        self._weight_max = weight_max
        self.total_weight = 0
        """The total weight of its items."""
        self._items: deque[T] = deque()
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._emptied = threading.Condition(self._lock)
        self._closed = False

    def put(self, item: T) -> bool:
        """Wait for room and add it; False if the inbox is closed."""
        with self._lock:
            while (len(self._items) >= self._items_max or self.total_weight > self._weight_max) and not self._closed:
                self._emptied.wait()
            if self._closed:
                return False
            self._items.append(item)
            self.total_weight += self._weight(item)
            self._filled.notify()
            return True

    def get(self, timeout_s: float) -> T | None:
        """The oldest item; None if none came in time, or the inbox is closed."""
        with self._lock:
            if not self._items and timeout_s > 0 and not self._closed:
                self._filled.wait(timeout_s)
            if not self._items or self._closed:
                return None
            item = self._items.popleft()
            self.total_weight -= self._weight(item)
            self._emptied.notify()
            return item

    def close(self) -> None:
        """Close it: blocked writers and the reader return at once. May be called from any thread and repeatedly."""
        with self._lock:
            self._closed = True
            self._items.clear()
            self._filled.notify_all()
            self._emptied.notify_all()
