"""The interface of a source, for code that starts and stops it. Knows no transport and no format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias, cast

from statedb import Table

AnyTable: TypeAlias = type[Table[Any, Any]]
"""Some table (Any: a source fills tables of many key and row types)."""


def key_function(table: AnyTable) -> Callable[[Any], Any]:
    """``table.key_of`` for many rows: two calls for each, where that takes four. Raises as it does.

    Any: rows and keys of any table.
    """
    primary = cast(Any, table).primary  # an instance attribute for type checkers
    key_of = primary.key
    return lambda row: primary(row) if (key := key_of(row)) is None else key


def describe(backend: str, cluster: str, tables: Iterable[AnyTable]) -> str:
    """The `repr` of a source."""
    return f"<{backend} source of cluster {cluster}: {', '.join([each.name for each in tables])}>"


class Source(Protocol):
    """Fills tables of one cluster from one server or directory, on threads of its own, until it is stopped.

    It is started once and stopped once. While the server is away, the tables keep their last good rows, and the table
    ``sources`` shows the outage.
    """

    @property
    def backend(self) -> str:
        """The name of its backend: ``manifests``, ``kubernetes``, ``kvstore``."""
        ...

    @property
    def cluster(self) -> str:
        """The cluster whose state it reads."""
        ...

    @property
    def tables(self) -> tuple[AnyTable, ...]:
        """The tables that it fills. No other source fills them for this cluster."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """The error that ended its thread unexpectedly (a bug), or None."""
        ...

    def start(self) -> None:
        """Claim the tables, register their initializers, and start. Raises OwnedElsewhere if one is claimed."""
        ...

    def stop(self) -> None:
        """Ask it to end, without waiting. May be called from any thread, repeatedly, and before `start`."""
        ...

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended and released its tables. False if that took longer than ``timeout`` seconds."""
        ...

    def accept(self) -> None:
        """Accept the present content of the server as true, at the operator's request: carry out withheld deletes."""
        ...
