"""Compares the tables of a running agent with those that another configuration would give.

A replica follows the tables of the running agent. The sources of the other configuration fill a second database, in
this process. Both change while they are compared, so a difference counts only once it has lasted for a while.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from ingest import IngestError, Source
from ingest.source import AnyTable
from statedb import Database, Snapshot, WatchSet
from statedb.catalog import Sources

from ..client.remote import Remote
from ..client.replica import Links, Replica
from ..errors import BadRequest, StartError, Unreachable
from ..wording import suggestion
from .agent import open_sources, tables_of
from .config import Config

_END_S = 2.0


class Difference(msgspec.Struct, frozen=True):
    """One row that differs. A side without a row for this key is None."""

    table: str
    key: Any
    running: Any | None
    other: Any | None

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that differ; empty if one side has no row."""
        if self.running is None or self.other is None:
            return ()
        names = type(self.running).__struct_fields__
        return tuple(name for name in names if getattr(self.running, name) != getattr(self.other, name))


class Comparison(msgspec.Struct, frozen=True):
    """The result of a comparison.

    ``differences``: those that lasted, ordered by table and key. ``rows``: for each table its number of rows in the
    running agent and in the other configuration. ``unsettled``: how many differences had not lasted long enough when
    the time was over.
    """

    differences: tuple[Difference, ...]
    rows: dict[str, tuple[int, int]]
    unsettled: int = 0


def compare(
    remote: Remote, config: Config, *, settle_s: float = 2.0, timeout_s: float = 60.0, ignore: frozenset[str]
) -> Comparison:
    """Compare a running agent with another configuration, in the tables that the other configuration fills.

    A difference counts once it has lasted for ``settle_s`` seconds. Fields named in ``ignore`` may differ. Raises
    BadRequest if no compared table has such a field, StartError if the other configuration cannot be opened or does not
    sync within ``timeout_s`` seconds, and Unreachable if the agent does not answer in that time.
    """
    deadline = time.monotonic() + timeout_s
    db = Database(*tables_of(config))
    sources = open_sources(config, db)
    tables = tuple(dict.fromkeys(table for source in sources for table in source.tables))
    _check_fields(ignore, tables)
    with _running(sources), Replica(remote, *tables) as replica:
        _wait(db, replica, tables, deadline)
        tracker = _DifferenceTracker(tables, config.cluster.name, ignore)
        while True:
            now = time.monotonic()
            running, other = replica.db.snapshot(), db.snapshot()
            tracker.update(running, other, now)
            unsettled = tracker.unsettled_since(settle_s, now)
            if now >= deadline or not unsettled:
                return Comparison(tracker.settled(settle_s, now), _counts(tables, running, other), len(unsettled))
            watches = [snapshot[table].watch() for snapshot in (running, other) for table in tables]
            WatchSet(*watches, settle=0.05).wait(min(min(unsettled) + settle_s, deadline) - now)


class _DifferenceTracker:
    """The current differences, and when each was first seen."""

    def __init__(self, tables: tuple[AnyTable, ...], cluster: str, ignore: frozenset[str]) -> None:
        self._tables = tables
        self._cluster = cluster
        self._ignore = ignore
        self._since: dict[tuple[str, Any], float] = {}
        self._found: dict[tuple[str, Any], Difference] = {}

    def update(self, running: Snapshot, other: Snapshot, now: float) -> None:
        """Compare two snapshots, taken at ``now``."""
        found = {
            (each.table, each.key): each for table in self._tables for each in self._differences(table, running, other)
        }
        self._since = {place: self._since.get(place, now) for place in found}
        self._found = found

    def unsettled_since(self, seconds: float, now: float) -> list[float]:
        """When each difference that has not lasted for ``seconds`` was first seen."""
        return [since for since in self._since.values() if now - since < seconds]

    def settled(self, seconds: float, now: float) -> tuple[Difference, ...]:
        """The differences that have lasted for ``seconds``."""
        return tuple([each for place, each in self._found.items() if now - self._since[place] >= seconds])

    def _differences(self, table: AnyTable, running: Snapshot, other: Snapshot) -> Iterator[Difference]:
        here, there = self._rows(running[table]), self._rows(other[table])
        for key in sorted(here.keys() | there.keys()):
            if not self._same(here.get(key), there.get(key)):
                yield Difference(table.name, key, here.get(key), there.get(key))

    def _rows(self, view: Any) -> dict[Any, Any]:
        """The rows of the compared cluster. A running agent may also have rows of other clusters."""
        return {key: row for key, row in view.items() if getattr(key, "cluster", self._cluster) == self._cluster}

    def _same(self, one: Any, other: Any) -> bool:
        if one == other or one is None or other is None:
            return bool(one == other)
        names = type(one).__struct_fields__
        return all(getattr(one, name) == getattr(other, name) for name in names if name not in self._ignore)


@contextmanager
def _running(sources: tuple[Source, ...]) -> Generator[None]:
    try:
        for source in sources:
            source.start()
        yield
    except IngestError as error:
        raise StartError(str(error)) from None
    finally:
        for source in sources:
            source.stop()
        for source in sources:
            source.join(_END_S)


def _check_fields(ignore: frozenset[str], tables: tuple[AnyTable, ...]) -> None:
    fields = dict.fromkeys(
        [name for table in tables for name in getattr(table.row_type, "__struct_fields__", ()) if name != "key"]
    )
    for name in sorted(ignore):
        if name not in fields:
            raise BadRequest(
                f"no compared table has a field {name[:60]!r} to ignore; {suggestion(sorted(fields), name)}"
            )


def _wait(db: Database, replica: Replica, tables: tuple[AnyTable, ...], deadline: float) -> None:
    """Wait until both sides have all rows. Raises StartError, Unreachable."""
    if not db.wait_initialized(*tables, timeout=max(0.0, deadline - time.monotonic())):
        rows = [row for row in db.snapshot()[Sources].values() if row.state != "synced"]
        states = dict.fromkeys([f"{row.state}: {row.last_error}" for row in rows])
        raise StartError(f"the other configuration did not sync in time; its sources are {'; '.join(states)}")
    if not replica.db.wait_initialized(*tables, timeout=max(0.0, deadline - time.monotonic())):
        links = [link for link in replica.db.snapshot()[Links].values() if not link.connected or link.last_error]
        errors = dict.fromkeys([link.last_error or "not connected" for link in links])
        raise Unreachable(f"the tables of the running agent are late: {'; '.join(errors) or 'not initialized'}")


def _counts(tables: tuple[AnyTable, ...], running: Snapshot, other: Snapshot) -> dict[str, tuple[int, int]]:
    return {table.name: (len(running[table]), len(other[table])) for table in tables}
