"""Warm start: an agent begins with the rows of a dump until its sources have been read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ingest.source import AnyTable
from statedb import Database, InvalidDump, load
from statedb.catalog import TABLES, SourceRow, Sources

from ..errors import StartError


def insert_dump(db: Database, path: Path, cluster: str, tables: Iterable[AnyTable]) -> int:
    """Insert rows from a dump in one transaction and return their number. Raises StartError.

    Only rows of ``tables`` and ``cluster`` are inserted: this agent has no source that could confirm or delete others.
    What identified the place they are from goes with them, so that another one deletes nothing.
    """
    whole = Database(*dict.fromkeys((*TABLES, *db.tables)))
    try:
        with path.open("rb") as file:
            load(whole, file)
    except OSError as error:
        raise StartError(f"warm start: {path} cannot be read: {error.strerror}") from None
    except InvalidDump as error:
        raise StartError(
            f"warm start: {path}: {error}; write it anew with 'statedb dump -f', or start without"
        ) from None
    snapshot = whole.snapshot()
    rows = {table: [row for key, row in snapshot[table].items() if _of(cluster, key)] for table in tables}
    others = {key.cluster for table in rows for key in snapshot[table] if not _of(cluster, key)}
    if others and not any(rows.values()):
        raise StartError(
            f"warm start: {path} holds rows of {', '.join(sorted(others))} and none of {cluster!r}; "
            "correct cluster.name, or start without"
        )
    origins = [
        SourceRow(key, origin=row.origin)
        for key, row in snapshot[Sources].items()
        if key.cluster == cluster and key.table in {table.name for table in rows}
    ]
    with db.write(*rows, Sources) as txn:
        txn[Sources].insert_all(origins)
        return sum([txn[table].insert_all(each) for table, each in rows.items()])


def _of(cluster: str, key: Any) -> bool:
    return bool(getattr(key, "cluster", cluster) == cluster)
