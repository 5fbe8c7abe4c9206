"""Warm start: an agent serves the rows of a dump until its sources have been read."""

from __future__ import annotations

import logging
import types
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from ingest.source import AnyTable
from statedb import Database, InvalidDump, InvalidTable, Table, UniqueIndex, load
from statedb.catalog import TABLES, SourceRow, Sources

from ..errors import StartError

ReadingDump: TypeAlias = Callable[[Iterable[bytes]], Iterable[bytes]]
"""Wraps the lines of a dump while they are read."""

log = logging.getLogger("statedb.agent")


def insert_dump(db: Database, path: Path, cluster: str, tables: Iterable[AnyTable], reading: ReadingDump = iter) -> int:
    """Insert rows from a dump in one transaction. Returns their number. Raises StartError.

    Only rows of ``tables`` and ``cluster`` are inserted, because this agent has no source that could confirm or delete
    others. The origin of the rows is inserted too, so that another server deletes nothing. Tables that this agent does
    not have, such as those of consumers that it no longer runs, are skipped with a line in the log.
    """
    known = tuple(dict.fromkeys((*TABLES, *db.tables)))
    try:
        with path.open("rb") as file:
            first = file.readline()
            skipped = _others_in(first, known)
            if skipped:
                log.warning("warm start: tables %s are skipped: this agent does not have them", ", ".join(skipped))
            whole = Database(*known, *map(_placeholder, skipped))
            load(whole, reading(chain([first], file)))
    except OSError as error:
        raise StartError(f"warm start: {path} cannot be read: {error.strerror}") from None
    except (InvalidDump, InvalidTable) as error:
        raise StartError(
            f"warm start: {path}: {error}; write it anew with 'statedb dump -f', or start without"
        ) from None
    snapshot = whole.snapshot()
    rows = {table: [row for key, row in snapshot[table].items() if _belongs_to(cluster, key)] for table in tables}
    others = {key.cluster for table in rows for key in snapshot[table] if not _belongs_to(cluster, key)}
    if others and not any(rows.values()):
        raise StartError(
            f"warm start: {path} has rows of {', '.join(sorted(others))} and none of {cluster!r}; "
            "correct cluster.name, or start without"
        )
    origins = [
        SourceRow(key, row.backend, origin=row.origin)
        for key, row in snapshot[Sources].items()
        if key.cluster == cluster and key.table in {table.name for table in rows}
    ]
    with db.write(*rows, Sources) as txn:
        txn[Sources].insert_all(origins)
        return sum([txn[table].insert_all(each) for table, each in rows.items()])


class _Skipped(msgspec.Struct, frozen=True):
    """A row that is not needed: its fields are ignored."""


def _placeholder(name: str) -> AnyTable:
    """A table in which all rows become one, so that `load` can count them. Raises InvalidTable."""

    def fill(namespace: dict[str, Any]) -> None:
        namespace["primary"] = UniqueIndex[str, _Skipped](lambda _: "")

    made: AnyTable = types.new_class(name, (Table[str, _Skipped],), {"name": name}, fill)
    return made


def _others_in(header: bytes, known: Iterable[AnyTable]) -> list[str]:
    """The unknown tables in the first line of a dump. Empty if it is not such a line."""
    try:
        named = [each["name"] for each in msgspec.json.decode(header)["tables"]]
    except (msgspec.DecodeError, LookupError, TypeError):
        return []  # `load` raises the right error
    names = {table.name for table in known}
    return sorted({name for name in named if isinstance(name, str) and name not in names})


def _belongs_to(cluster: str, key: Any) -> bool:
    return bool(getattr(key, "cluster", cluster) == cluster)
