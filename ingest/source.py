"""What a source of tables is, for those who start and stop it. Knows no transport and no format."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from statedb import Table

AnyTable: TypeAlias = type[Table[Any, Any]]
"""Some table (Any: a source carries tables of many key and row types at once)."""


class Source(Protocol):
    """Fills tables of one cluster from one place, on threads of its own, until it is stopped.

    One life: made, started once, stopped once. While the place is away the tables keep their last good content and
    the ``sources`` table says so.
    """

    @property
    def backend(self) -> str:
        """Which kind of source: ``manifests``, ``kubernetes``, ``kvstore``."""
        ...

    @property
    def cluster(self) -> str:
        """Whose state it brings."""
        ...

    @property
    def tables(self) -> tuple[AnyTable, ...]:
        """The tables it fills, and is the only one to fill."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """What ended its thread against all expectation: a bug, to be shown and not to be survived. Else None."""
        ...

    def start(self) -> None:
        """Claim the tables, register their initializers, begin. Raises OwnedElsewhere if another source fills one."""
        ...

    def stop(self) -> None:
        """Ask it to end, and return at once. From any thread, more than once, also before start."""
        ...

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended and let go of its tables; False when ``timeout`` seconds passed before."""
        ...

    def accept(self) -> None:
        """Take the place's present content for the truth: deletes withheld so far are carried out (operator's word)."""
        ...
