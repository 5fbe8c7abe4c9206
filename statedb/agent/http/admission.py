"""Bounds how many things of one kind are under way."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from ..errors import Overloaded


class Admission:
    """One thing that was admitted."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end: Callable[[], None] | None = end

    def keep(self) -> Callable[[], None]:
        """Let it last longer than the ``with`` block; the result ends it, once."""
        end, self._end = self._end, None
        assert end is not None
        return end

    def end(self) -> None:
        """End it unless it is kept."""
        if self._end is not None:
            self._end()


class Admissions:
    """A number of things at once, on one event loop."""

    def __init__(self, most: int) -> None:
        """At most so many."""
        self._most = most
        self.count = 0

    @contextmanager
    def admission(self) -> Generator[Admission]:
        """Count one thing while the block runs. Raises Overloaded if there are too many."""
        if self.count >= self._most:
            raise Overloaded(f"{self._most} queries are being answered already; ask again")
        self.count += 1
        admission = Admission(self._end)
        try:
            yield admission
        finally:
            admission.end()

    def _end(self) -> None:
        self.count -= 1
