"""Watches the sources and consumers of an agent, and logs each change of a source's state, once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from statedb import Database, StreamClosed
from statedb.catalog import SourceRow, Sources

from ..readiness import Readiness

log = logging.getLogger("statedb.agent")

_LOOK_S = 0.5
_GATHER_S = 0.05
_LEVELS = {"stale": logging.WARNING, "failed": logging.ERROR}


class Monitor:
    """A thread that reads the table ``sources`` and the health of consumers until it is stopped."""

    def __init__(self, db: Database, readiness: Readiness) -> None:
        """Not yet started."""
        self._stream = db.changes(Sources)
        self._readiness = readiness
        self._log = SourceLog()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end. Returns at once."""
        self._stopping.set()
        self._stream.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; False when ``timeout`` seconds have passed before."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._readiness.observe_consumers()
            try:
                rows = self._changed_rows()
            except StreamClosed:
                return
            for level, line in self._log.lines(rows):
                log.log(level, "%s", line)

    def _changed_rows(self) -> list[SourceRow]:
        """The rows that changed within half a second. A source writes its tables one by one, so it waits for all."""
        batch = self._stream.next(timeout=_LOOK_S)
        if batch is None:
            return []
        self._stopping.wait(_GATHER_S)
        more = self._stream.next(timeout=0)
        changes = [*batch, *(more or ())]
        rows = {change.row.key: change.row for change in changes}
        gone = {change.row.key for change in changes if change.deleted}
        return [row for key, row in rows.items() if key not in gone]


class SourceLog:
    """Turns rows of the table ``sources`` into log lines, one for each change of a state. Knows no clocks."""

    def __init__(self) -> None:
        """No state is known."""
        self._rows: dict[object, SourceRow] = {}

    def lines(self, rows: Iterable[SourceRow]) -> list[tuple[int, str]]:
        """A level and a line for each change. Tables of one source that change alike share a line."""
        tables: dict[tuple[str, str, str, str, str, int], list[str]] = {}
        for row in rows:
            before = self._rows.get(row.key)
            self._rows[row.key] = row
            old = before.state if before is not None else ""
            if row.state != old and (row.state != "absent" or old):
                lasted = round(row.since - before.since) if before is not None else 0
                change = (row.backend, row.key.cluster, old, row.state, row.last_error, lasted)
                tables.setdefault(change, []).append(row.key.table)
        return [(_LEVELS.get(change[3], logging.INFO), _line(*change, names)) for change, names in tables.items()]


def _line(backend: str, cluster: str, old: str, new: str, error: str, lasted: int, tables: list[str]) -> str:
    was = f" (was {old} for {lasted} s)" if old else ""
    why = f": {' '.join(error.split())}" if error else ""
    return f"source {backend or 'none'} of cluster {cluster} is {new}{was}, tables {', '.join(sorted(tables))}{why}"
