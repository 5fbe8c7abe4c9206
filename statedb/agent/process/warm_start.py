"""A dump as a file: written whole or not at all, and what an agent starts from until its sources have spoken."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from statedb import Database, InvalidDump, load
from statedb.catalog import TABLES

from ..errors import StartError
from ..http.query import AnyTable


def write(path: Path, lines: Iterable[bytes]) -> int:
    """Put the lines into a file, which is the old one until it is the whole new one; how many bytes. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    _sync_directory(path.parent)
    return size


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_into(db: Database, path: Path, cluster: str, tables: Iterable[AnyTable]) -> int:
    """Insert a file's rows of these tables and this cluster, in one transaction; how many. Raises StartError.

    Rows of other clusters and of other tables are left out: their sources are not here to confirm them.
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
    with db.write(*rows) as txn:
        return sum([txn[table].insert_all(each) for table, each in rows.items()])


def _of(cluster: str, key: Any) -> bool:
    return bool(getattr(key, "cluster", cluster) == cluster)
