"""When a reconciler prunes: only while the rows of its table are known to be complete."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from statedb import Snapshot

from .steps import FAILURES, describe

WhyNot = Callable[[Snapshot], str]
"""Returns why the rows of a snapshot may be incomplete; empty if they are complete."""


class Pruning:
    """The pruning of one reconciler. For its thread; `request` is for any."""

    def __init__(
        self, why_not: WhyNot, why_incomplete: WhyNot, interval_s: float | None, clock: Callable[[], float]
    ) -> None:
        """``why_incomplete`` applies even if the caller accepts stale rows. The first prune is due at once."""
        self.failed = ""
        """The error of the last prune; empty if it succeeded."""
        self.waiting_for = ""
        """Why a due prune waits; empty if none waits."""
        self.count = self.errors = 0
        self.took_s = 0.0
        self._why_not = why_not
        self._why_incomplete = why_incomplete
        self._interval_s = interval_s
        self._clock = clock
        self._requested = self._requested_even_if_stale = False
        self._due: float | None = None

    def request(self, *, even_if_stale: bool) -> None:
        """Request a prune as soon as it is allowed. Requests made while one waits are merged with it."""
        if even_if_stale:
            self._requested_even_if_stale = True
        self._requested = True

    @property
    def next_due(self) -> float | None:
        """When the next prune is due; None if none is scheduled, or a due one waits."""
        return None if self.waiting_for else self._due

    def may_begin(self, seen: Snapshot) -> bool:
        """Whether a prune is due and allowed. If it is due but not allowed, `waiting_for` tells why."""
        wanted = self._requested or self._is_due(self._clock())
        self.waiting_for = self._reason(seen) if wanted else ""
        return wanted and not self.waiting_for

    @contextmanager
    def attempt(self) -> Generator[None]:
        """Wraps the call. A failed prune is not retried before its next time."""
        now = self._clock()
        self._requested = self._requested_even_if_stale = False
        self._due = None if self._interval_s is None else now + self._interval_s
        self.count += 1
        try:
            yield
            self.failed = ""
        except FAILURES as error:
            self.failed = describe(error)
            self.errors += 1
        self.took_s += self._clock() - now

    def _is_due(self, now: float) -> bool:
        return self._interval_s is not None and (self._due is None or now >= self._due)

    def _reason(self, seen: Snapshot) -> str:
        return self._why_incomplete(seen) or ("" if self._requested_even_if_stale else self._why_not(seen))
