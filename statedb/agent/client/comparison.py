"""A shadow of another source beside a running agent: what would differ if one were swapped for the other.

The running agent's tables are followed by a replica; the other configuration's sources fill a database of their own
in this process. Both move while they are compared: what counts is a difference that lasts.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from ingest import IngestError, Source
from statedb import Database, Snapshot, WatchSet
from statedb.catalog import Sources

from ..errors import StartError, Unreachable
from ..http.query import AnyTable
from ..process.agent import open_sources, tables_of
from ..process.config import Config
from .remote import Remote
from .replica import Links, Replica

_END_S = 2.0


class Difference(msgspec.Struct, frozen=True):
    """One row that is not the same on both sides; None where a side has none under this key."""

    table: str
    key: Any
    running: Any | None
    other: Any | None

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that differ; none where one side lacks the row."""
        if self.running is None or self.other is None:
            return ()
        names = type(self.running).__struct_fields__
        return tuple(name for name in names if getattr(self.running, name) != getattr(self.other, name))


class Comparison(msgspec.Struct, frozen=True):
    """What lasted, in the order of tables and keys. ``rows``: how many rows each table has, running and other.

    ``young`` differences had not lasted long enough when the time was over.
    """

    differences: tuple[Difference, ...]
    rows: dict[str, tuple[int, int]]
    young: int = 0


def compare(
    remote: Remote, config: Config, *, settle_s: float = 2.0, timeout_s: float = 60.0, ignore: frozenset[str]
) -> Comparison:
    """Compare a running agent with what another configuration brings, in the tables which that one fills.

    A difference counts once it has lasted ``settle_s``; ``ignore`` are fields that may differ. Raises StartError where
    the other configuration cannot be opened or does not sync within ``timeout_s``, Unreachable where the agent does not
    answer meanwhile.
    """
    deadline = time.monotonic() + timeout_s
    db = Database(*tables_of(config))
    sources = open_sources(config, db)
    tables = tuple(dict.fromkeys(table for source in sources for table in source.tables))
    with _running(sources), Replica(remote, *tables) as replica:
        _wait(db, replica, tables, deadline)
        differing = _Differing(tables, config.cluster.name, ignore)
        while True:
            now = time.monotonic()
            running, other = replica.db.snapshot(), db.snapshot()
            differing.look(running, other, now)
            young = differing.younger_than(settle_s, now)
            if now >= deadline or not young:
                return Comparison(differing.older_than(settle_s, now), _counts(tables, running, other), len(young))
            watches = [snapshot[table].watch() for snapshot in (running, other) for table in tables]
            WatchSet(*watches, settle=0.05).wait(min(min(young) + settle_s, deadline) - now)


class _Differing:
    """The differences of this moment, and since when each has been one."""

    def __init__(self, tables: tuple[AnyTable, ...], cluster: str, ignore: frozenset[str]) -> None:
        self._tables = tables
        self._cluster = cluster
        self._ignore = ignore
        self._since: dict[tuple[str, Any], float] = {}
        self._found: dict[tuple[str, Any], Difference] = {}

    def look(self, running: Snapshot, other: Snapshot, now: float) -> None:
        """Compare again."""
        found = {(each.table, each.key): each for table in self._tables for each in self._in(table, running, other)}
        self._since = {place: self._since.get(place, now) for place in found}
        self._found = found

    def younger_than(self, seconds: float, now: float) -> list[float]:
        """Since when those differ that have not lasted so long."""
        return [since for since in self._since.values() if now - since < seconds]

    def older_than(self, seconds: float, now: float) -> tuple[Difference, ...]:
        """Those that have."""
        return tuple([each for place, each in self._found.items() if now - self._since[place] >= seconds])

    def _in(self, table: AnyTable, running: Snapshot, other: Snapshot) -> Iterator[Difference]:
        here, there = self._rows(running[table]), self._rows(other[table])
        for key in sorted(here.keys() | there.keys()):
            if not self._same(here.get(key), there.get(key)):
                yield Difference(table.name, key, here.get(key), there.get(key))

    def _rows(self, view: Any) -> dict[Any, Any]:
        """Those of the cluster: a running agent may have others as well."""
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


def _wait(db: Database, replica: Replica, tables: tuple[AnyTable, ...], deadline: float) -> None:
    """Until both sides have all rows. Raises StartError, Unreachable."""
    if not db.wait_initialized(*tables, timeout=max(0.0, deadline - time.monotonic())):
        rows = [row for row in db.snapshot()[Sources].values() if row.state != "synced"]
        states = dict.fromkeys([f"{row.state}: {row.last_error}" for row in rows])
        raise StartError(f"the other configuration did not sync in time; its sources are {'; '.join(states)}")
    if not replica.db.wait_initialized(*tables, timeout=max(0.0, deadline - time.monotonic())):
        links = [link for link in replica.db.snapshot()[Links].values() if not link.connected or link.last_error]
        errors = dict.fromkeys([link.last_error or "not connected" for link in links])
        raise Unreachable(f"the running agent's tables did not come in time: {'; '.join(errors) or 'not initialized'}")


def _counts(tables: tuple[AnyTable, ...], running: Snapshot, other: Snapshot) -> dict[str, tuple[int, int]]:
    return {table.name: (len(running[table]), len(other[table])) for table in tables}
