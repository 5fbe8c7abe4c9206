"""The progress of a reconciler: which changes were tried at least once. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

_STATES_MAX = 1000
"""The number of states that are kept while the oldest task is being processed. Further ones replace the newest."""


class Progress(NamedTuple):
    """All changes up to ``revision`` were tried at least once."""

    revision: int
    lowest_failing: int
    """The lowest revision of an object that fails; 0 if none fails."""


class Untried(Generic[K]):
    """The keys that were queued and not tried yet, the oldest first, and the states that are reached after them.

    >>> untried = Untried[str]()
    >>> sequence = untried.add("a", 7); untried.record_state((7,)); untried.applied, untried.first_revision
    (None, 7)
    >>> untried.remove("a", sequence); untried.applied, untried.first_revision
    ((7,), None)
    """

    def __init__(self) -> None:
        """Empty."""
        self._sequences: OrderedDict[K, int] = OrderedDict()
        self._revisions: OrderedDict[K, int] = OrderedDict()
        self._states: deque[tuple[int, tuple[int, ...]]] = deque()
        self._sequence = 0
        self._applied: tuple[int, ...] | None = None

    def add(self, key: K, revision: int | None) -> int:
        """Record that a key is queued: it changed in this revision, or for another reason (None).

        Returns the number that `remove` takes.
        """
        self._sequences.pop(key, None)
        self._sequences[key] = self._sequence
        if revision is not None:
            self._revisions.pop(key, None)
            self._revisions[key] = revision
        return self._sequence

    def remove(self, key: K, sequence: int) -> None:
        """Record that the key was tried as it was queued then. Ignored if it was queued again later."""
        if self._sequences.get(key, sequence + 1) <= sequence:
            del self._sequences[key]
            self._revisions.pop(key, None)

    def record_state(self, revisions: tuple[int, ...]) -> None:
        """Record that everything queued up to now leads to these revisions of the tables."""
        if len(self._states) >= _STATES_MAX:
            self._states.pop()
        self._states.append((self._sequence, revisions))
        self._sequence += 1

    @property
    def first_revision(self) -> int | None:
        """The lowest revision that was queued and not tried; None if there is none."""
        return next(iter(self._revisions.values()), None)

    @property
    def applied(self) -> tuple[int, ...] | None:
        """The newest revisions of the tables up to which everything was tried; None if there are none yet."""
        first = next(iter(self._sequences.values()), self._sequence)
        while self._states and self._states[0][0] < first:
            self._applied = self._states.popleft()[1]
        return self._applied
