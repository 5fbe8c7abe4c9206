"""What an operator is told of each fault: lines of the log, metrics, alerts. ``make faults-told``.

While a fault lasts, and once more when the tables are right again, a scrape is kept; promtool then says which alerts
fire where it stays like that.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import Any, Self

import msgspec

from statedb import Snapshot
from statedb.agent.metrics.exposition import Metrics
from statedb.agent.readiness import Readiness
from statedb.catalog import Sources

from .apis import FakeApiSite
from .cell import Cell, Run
from .clock import true_monotonic as monotonic
from .site import Site

_BEAT_S = 0.1
_PATIENCE_S = 60.0
_TRIES = 5
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
_TURN = re.compile(r"^\S+ (?P<tables>.+?): (?P<before>\w+) -> (?P<after>\w+) after [\d.]+ s( \(.*\))?(: .*)?$")
_LATE = re.compile(r"^\S+ (?P<tables>.+?): still (?P<before>\w+) after [\d.]+ s(: .*)?$")


class Line(msgspec.Struct, frozen=True):
    """A line of the log: which tables turned, and what state was and is, the same where they are late; or some text."""

    text: str
    tables: str = ""
    before: str = ""
    after: str = ""


class Episode(msgspec.Struct, kw_only=True):
    """One fault from its beginning until the tables were right again. ``before``, ``during``, ``ended`` are scrapes.

    ``during`` is empty where the fault was over before anybody could look.
    """

    backend: str
    fault: str
    lines: list[Line] = []
    before: str = ""
    during: str = ""
    ended: str = ""


class Log(logging.Handler):
    """Keeps the lines of sources and of the agent."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: list[Line] = []
        self._lock_of_lines = threading.Lock()

    def __enter__(self) -> Self:
        for name in ("ingest", "statedb"):
            logging.getLogger(name).setLevel(logging.INFO)
            logging.getLogger(name).addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("ingest", "statedb"):
            logging.getLogger(name).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        with self._lock_of_lines:
            self._lines.append(line_of(record.getMessage()))

    def take(self) -> list[Line]:
        """The lines since the last time."""
        with self._lock_of_lines:
            lines, self._lines = self._lines, []
        return lines


def line_of(text: str) -> Line:
    """The line with this message.

    >>> line_of("kvstore/c1 endpoints, nodes: stale -> synced after 1.2 s").after
    'synced'
    """
    if turn := _TURN.match(text):
        return Line(text, turn["tables"], turn["before"], turn["after"])
    if late := _LATE.match(text):
        return Line(text, late["tables"], late["before"], late["before"])
    return Line(text)


class TellingRun(Run):
    """Notes what was told of each episode. ``episodes`` grows; the last one may not have healed yet."""

    def __init__(self, site: Site, cell: Cell, log: Log, episodes: list[Episode]) -> None:
        super().__init__(site, cell)
        self._log = log
        self._episodes = episodes
        self._open: Episode | None = None
        self._metrics: tuple[Any, Metrics] | None = None
        self._settle()
        self._log.take()
        self._before = self._scrape()

    def told(self, *states: str, containing: str = "", withheld: int = 0) -> None:
        super().told(*states, containing=containing, withheld=withheld)
        if self._open is None:
            self._open = Episode(backend=self.site.backend, fault=self.cell.fault)
            self._episodes.append(self._open)
        self._open.during = self._scrape()
        self._until_told()

    def converge(self) -> None:
        super().converge()
        self._settle()
        lines, ended = self._log.take(), self._scrape()
        if self._open is None and lines:
            self._open = Episode(backend=self.site.backend, fault=self.cell.fault)
            self._episodes.append(self._open)
        if self._open is not None:
            self._open.lines, self._open.before, self._open.ended = lines, self._before, ended
        self._open, self._before = None, ended

    def _settle(self) -> None:
        """Until all tables of the source say so, not only the one that the fault is about, and the log has told it.

        The fake API server says nothing on a watch to which nothing happens, as a real one does: there it is this one.
        """
        if self.site._source is None:
            return
        for _ in range(_TRIES):  # trouble may come back while the log is waited for
            if not isinstance(self.site, FakeApiSite):
                self.site.until(_all_synced, "all tables synced", beat_s=_BEAT_S)
            self._until_told()
            if isinstance(self.site, FakeApiSite) or _all_synced(self.site.db.snapshot()):
                return
        raise AssertionError(f"{self.site.backend}: trouble comes back again and again")

    def _until_told(self) -> None:
        """Until nothing is left to be told to the log. What says nothing for long would be silent, and that trouble."""
        state_log: Any = self.site.source._status._state_log  # type: ignore[attr-defined]  # every backend's has one
        end = monotonic() + _PATIENCE_S
        while state_log.due_in() is not None:
            if monotonic() > end:
                raise AssertionError(f"{self.site.backend}: the log does not tell of it")
            if _all_synced(self.site.db.snapshot()):
                self.site.beat()
            threading.Event().wait(_BEAT_S)

    def _scrape(self) -> str:
        site = self.site
        if self._metrics is None or self._metrics[0] is not site._source:
            sources = () if site._source is None else (site._source,)
            self._metrics = (site._source, Metrics(site.db, Readiness(site.db, sources)))
        return self._metrics[1].expose(OPENMETRICS)[0].decode()


def _all_synced(snapshot: Snapshot) -> bool:
    return all(row.state in ("synced", "absent") for row in snapshot[Sources].values())
