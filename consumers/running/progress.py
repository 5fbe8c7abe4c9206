"""How far a reconciler is: which changes were tried at least once. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

_STATES_MAX = 1000
"""So many states are kept while the oldest task is worked on; of more only the newest."""


class Progress(NamedTuple):
    """Everything up to ``revision`` was tried at least once."""

    revision: int
    lowest_failing: int
    """The lowest revision of an object that fails; 0 where none does."""


class Untried(Generic[K]):
    """What was noticed and not tried yet, the oldest first; and the states that are reached once that is tried.

    >>> untried = Untried[str]()
    >>> look = untried.notice("a", 7); untried.see((7,)); untried.applied, untried.first_revision
    (None, 7)
    >>> untried.tried("a", look); untried.applied, untried.first_revision
    ((7,), None)
    """

    def __init__(self) -> None:
        """Nothing was noticed."""
        self._looks: OrderedDict[K, int] = OrderedDict()
        self._revisions: OrderedDict[K, int] = OrderedDict()
        self._states: deque[tuple[int, tuple[int, ...]]] = deque()
        self._look = 0
        self._applied: tuple[int, ...] | None = None

    def notice(self, key: K, revision: int | None) -> int:
        """It is to be done from now on, because it changed in this revision, or for another reason (None).

        Gives the number that `tried` takes.
        """
        self._looks.pop(key, None)
        self._looks[key] = self._look
        if revision is not None:
            self._revisions.pop(key, None)
            self._revisions[key] = revision
        return self._look

    def tried(self, key: K, look: int) -> None:
        """It was tried as it was noticed then; nothing happens where it was noticed again later."""
        if self._looks.get(key, look + 1) <= look:
            del self._looks[key]
            self._revisions.pop(key, None)

    def see(self, revisions: tuple[int, ...]) -> None:
        """What was noticed up to now leads to these revisions of the tables."""
        if len(self._states) >= _STATES_MAX:
            self._states.pop()
        self._states.append((self._look, revisions))
        self._look += 1

    @property
    def first_revision(self) -> int | None:
        """The lowest revision that was noticed and not tried; None where there is none."""
        return next(iter(self._revisions.values()), None)

    @property
    def applied(self) -> tuple[int, ...] | None:
        """The newest revisions of the tables of which all was tried; None where there are none yet."""
        first = next(iter(self._looks.values()), self._look)
        while self._states and self._states[0][0] < first:
            self._applied = self._states.popleft()[1]
        return self._applied
