"""Bounds how many operations of one kind run at once."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from ..errors import Overloaded


class Permit:
    """Allows one operation. It is returned at the end of the ``with`` block, or later if it is kept."""

    def __init__(self, release: Callable[[], None]) -> None:
        """``release`` returns it."""
        self._release: Callable[[], None] | None = release

    def keep(self) -> Callable[[], None]:
        """Keep the permit beyond the ``with`` block. Call the result once to return it."""
        release, self._release = self._release, None
        assert release is not None
        return release

    def release(self) -> None:
        """Return the permit, unless it is kept."""
        if self._release is not None:
            self._release()


class ConcurrencyLimit:
    """A limit on the number of operations that run at once. Used on one event loop."""

    def __init__(self, most: int) -> None:
        """``most``: the limit."""
        self._most = most
        self.count = 0
        """How many operations run now."""

    @contextmanager
    def acquire(self) -> Generator[Permit]:
        """Take a permit for the duration of the block. Raises Overloaded when none is left."""
        if self.count >= self._most:
            raise Overloaded(f"{self._most} queries are being answered already; ask again")
        self.count += 1
        permit = Permit(self._release)
        try:
            yield permit
        finally:
            permit.release()

    def _release(self) -> None:
        self.count -= 1
