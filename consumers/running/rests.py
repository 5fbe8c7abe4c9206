"""Keys for which nothing may begin for a while: until a time, and until a view is new enough. Pure."""

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


class Rests(Generic[K]):
    """Keys at rest.

    >>> rests = Rests[str]()
    >>> rests.add("a", 5.0, None, 0.0); rests.over(4.0, None), rests.over(5.0, None)
    ([], ['a'])
    """

    def __init__(self) -> None:
        """None is at rest."""
        self.gave_up = 0
        """How many views did not become new enough in time."""
        self._until = Timers[K]()
        self._views: dict[K, tuple[View, float]] = {}

    def __contains__(self, key: K) -> bool:
        """Whether it is at rest."""
        return key in self._until or key in self._views

    @property
    def next_due(self) -> float | None:
        """When the next one may be over, if no view changes before. Cost: all views that are waited for."""
        ends = [end for key, (_, end) in self._views.items() if key not in self._until]
        first = self._until.next_due
        return min([*ends, *([] if first is None else [first])], default=None)

    def add(self, key: K, until: float, view: View | None, view_until: float) -> None:
        """Nothing for this key before ``until``; nor before ``view`` holds, but for that up to ``view_until``."""
        self._until.set(key, until)
        if view is not None:
            self._views[key] = (view, max(until, view_until))

    def over(self, now: float, seen: Snapshot) -> list[K]:
        """The keys whose rest is over; they are not at rest any more. Cost: what is due, and all views."""
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
        log.exception("what says whether a view is new enough failed; it is taken for new enough")
        return True
