"""Keys for which no operation may start yet: before a time, and before a view is recent enough. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from statedb import Snapshot

from .steps import FAILURES
from .timers import Timers

K = TypeVar("K", bound=Hashable)
View = Callable[[Snapshot], bool]

log = logging.getLogger("statedb.consumers")


class Cooldowns(Generic[K]):
    """The keys that wait.

    >>> cooldowns = Cooldowns[str]()
    >>> cooldowns.add("a", 5.0, None, 0.0); cooldowns.over(4.0, None), cooldowns.over(5.0, None)
    ([], ['a'])
    """

    def __init__(self) -> None:
        """No key waits."""
        self.gave_up = 0
        """The number of views that did not become recent enough in time."""
        self._until = Timers[K]()
        self._views: dict[K, tuple[View, float]] = {}

    def __contains__(self, key: K) -> bool:
        """Whether the key waits."""
        return key in self._until or key in self._views

    @property
    def next_due(self) -> float | None:
        """When the next wait may be over, if no view changes before. Cost: O(views that are waited for)."""
        ends = [end for key, (_, end) in self._views.items() if key not in self._until]
        first = self._until.next_due
        return min([*ends, *([] if first is None else [first])], default=None)

    def add(self, key: K, until: float, view: View | None, view_until: float) -> None:
        """Let a key wait until ``until``, and until ``view`` holds, but for the view no longer than ``view_until``."""
        self._until.set(key, until)
        if view is not None:
            self._views[key] = (view, max(until, view_until))

    def over(self, now: float, seen: Snapshot) -> list[K]:
        """Remove and return the keys whose wait is over. Cost: O(keys that are due, and all views)."""
        over: list[K] = []
        while (key := self._until.pop_due(now)) is not None:
            if key not in self._views:
                over.append(key)
        for key, (view, end) in list(self._views.items()):
            if key not in self._until and (now >= end or _holds(view, seen)):
                self.gave_up += now >= end
                del self._views[key]
                over.append(key)
        return over


def _holds(view: View, seen: Snapshot) -> bool:
    try:
        return bool(view(seen))
    except FAILURES:
        log.exception("the view of an Again failed; it is taken as recent enough")
        return True
