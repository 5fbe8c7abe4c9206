"""`reconcile` for tables that sources fill: it does not prune while one of their sources is not synced."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar, Unpack

from statedb import Database, Snapshot, Table
from statedb.catalog import Sources

from .running.follower import AnyTable
from .running.operations import AsyncOperations, BatchOperations, Operations, check_operations
from .running.reconciler import Reconciler
from .running.reconciler_options import ReconcilerOptions

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


def unsynced(tables: Iterable[AnyTable]) -> Callable[[Snapshot], str]:
    """A function that tells which source of these tables is not synced. It returns an empty text if all are.

    A table without a source, which a program fills itself, counts as synced.
    """
    names = frozenset([table.name for table in tables])

    def why(snapshot: Snapshot) -> str:
        if Sources not in snapshot:
            return ""
        for source in snapshot[Sources].values():
            if source.key.table in names and source.state != "synced":
                return f"the source of {source.key.table!r} in cluster {source.key.cluster!r} is {source.state}"
        return ""

    return why


def reconcile(
    db: Database,
    table: type[Table[K, R]],
    operations: Operations[R] | AsyncOperations[R] | BatchOperations[K, R],
    *,
    name: str,
    sources: Iterable[AnyTable] | None = None,
    **options: Unpack[ReconcilerOptions],
) -> Reconciler[K, R]:
    """Make the outside world match a table, with these operations. The table ``Statuses`` has each object's status.

    ``name`` must be unique in this database (NameTaken). Objects are updated from the start. Pruning starts when the
    table is initialized. It waits while the source of one of the tables in ``sources`` (default: the table itself) is
    not synced. For a derived table, pass the tables that it is derived from. Raises TypeError if a method of the
    operations is missing.
    """
    check_operations(operations, name)
    return Reconciler(
        db,
        table,
        operations,
        name=name,
        may_prune=unsynced((table,) if sources is None else sources),
        woken_by=(Sources,) if Sources in db.tables else (),
        **options,
    )
