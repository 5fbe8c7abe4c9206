"""An agent: the database, sources, consumers and HTTP server that a configuration describes."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Self

from ingest import BACKENDS, IngestError, Source
from ingest.clustermesh import RemoteSources, open_remotes
from ingest.source import AnyTable
from ingest.status import declare_absent
from statedb import Database
from statedb.catalog import TABLES, Rejected, Sources

from ..consumer import Consumer
from ..errors import StartError
from ..http.limits import Counts, Limits
from ..http.page.history import History
from ..http.page.live import Live
from ..http.resources import Resources
from ..http.streams import KEEPALIVE_S, Streams
from ..readiness import Readiness
from .config import Config
from .consumers import CONSUMER_KINDS, flows, open_conflicts
from .monitor import Monitor
from .serving import Serving
from .startup import DelayedStart
from .warm_start import ReadingDump, insert_dump

log = logging.getLogger("statedb.agent")

_AGENT_TABLES = (Sources, Rejected)
_POLL_S = 0.2


class Agent:
    """An agent in this process. It is started once and stopped once, from any thread; ``with`` does both.

    ``db`` can be read before the start and after the end. ``address`` is the address of its server.
    """

    def __init__(
        self,
        config: Config,
        *,
        tables: tuple[AnyTable, ...] = (),
        keepalive_s: float = KEEPALIVE_S,
        limits: Limits | None = None,
        reading_dump: ReadingDump = iter,
    ) -> None:
        """Opens the sources and binds the address. Raises StartError if either fails.

        ``tables`` are added to those of the catalog and of the configuration. ``keepalive_s``: a change stream that has
        been silent for this time sends a keepalive line. ``limits`` are those of the HTTP server. ``reading_dump``
        wraps the lines of a warm start while they are read.
        """
        self.db = Database(*dict.fromkeys((*tables_of(config), *tables)))
        self.sources: tuple[Source, ...] = open_sources(config, self.db)
        self._config = config
        self._reading_dump = reading_dump
        limits = limits or Limits()
        self._streams = Streams(self.db, keepalive_s, limits.streams)
        self.remotes: RemoteSources | None = open_remote_clusters(config, self.db)
        self.consumers: tuple[Consumer, ...] = open_consumers(config, self.db)
        self._delayed_start = DelayedStart(self.db, self._start_consumers)
        readiness = Readiness(self.db, self.sources, self.consumers, self.remotes)
        self._monitor = Monitor(readiness)
        resources = Resources(
            self.db, readiness, flows(self.consumers, {each.kind: each.options for each in config.consumers})
        )
        self._history = History(self.db, self.consumers)
        self._live = Live(self.db, self._history, resources.live_status, config.cluster.name)
        self._serving = Serving(resources, self._streams, self._live, config, limits)
        self._lock = threading.Lock()
        self._state = "new"
        self._ended = threading.Event()

    @property
    def address(self) -> str:
        """``http://127.0.0.1:PORT`` or ``unix:/path``."""
        return self._serving.address

    @property
    def probes_address(self) -> str:
        """The address of the listener for probes; empty if there is none."""
        return self._serving.probes_address

    @property
    def http_counts(self) -> Counts:
        """Counts of connection events of the HTTP server."""
        return self._serving.counts

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """Start everything. Raises StartError, after which nothing runs; RuntimeError the second time."""
        with self._lock:
            if self._state != "new":
                raise RuntimeError(f"this agent is {self._state}; make a new one")
            self._state = "running"
        filled = dict.fromkeys([table for source in self.sources for table in source.tables])
        unfilled = [table for table in TABLES if table not in filled and table not in _AGENT_TABLES]
        try:
            self._monitor.start()
            self._history.start()
            self._start_warm(tuple(filled))
            declare_absent(self.db, self._config.cluster.name, unfilled)
            for source in self.sources:
                source.start()
            if self.remotes is not None:
                self.remotes.start()
            self._start_consumers_when_ready()
            self._serving.begin()
        except IngestError as error:
            self.stop()
            raise StartError(str(error)) from None
        except BaseException:
            self.stop()
            raise

    def _start_consumers_when_ready(self) -> None:
        remotes, options = self.remotes, self._config.remote_clusters
        if remotes is None or options is None or not self.consumers:
            self._delayed_start.start((), 0.0)
        else:
            self._delayed_start.start(remotes.clusters, options.sync_timeout_s)

    def _start_consumers(self) -> None:
        for consumer in self.consumers:
            consumer.start()

    def _start_warm(self, tables: tuple[AnyTable, ...]) -> None:
        path = self._config.warm_start
        if path is None:
            return
        if not path.exists():
            log.warning("warm start: %s does not exist; the tables are empty until their sources have been read", path)
            return
        count = insert_dump(self.db, path, self._config.cluster.name, tables, self._reading_dump)
        log.info("warm start: %d rows from %s, stale until their sources have been read", count, path)

    def stop(self, timeout: float = 1.5) -> bool:
        """Stop everything. False if a part has not ended within ``timeout`` seconds. May be called again."""
        with self._lock:
            before, self._state = self._state, "stopped"
        if before == "stopped":
            return self._ended.wait(timeout)
        deadline = time.monotonic() + timeout
        ending: list[Source | RemoteSources | Consumer | Monitor | History] = [*self.consumers, *self.sources]
        if self.remotes is not None:
            ending.append(self.remotes)
        self._delayed_start.stop()
        self._delayed_start.join(max(0.0, deadline - time.monotonic()))
        for each in ending:
            each.stop()
        self._monitor.stop()
        self._history.stop()
        self._live.close()
        self._streams.close()
        self._serving.end()
        ending += [self._monitor, self._history]
        running = [each for each in ending if not each.join(max(0.0, deadline - time.monotonic()))]
        self._ended.set()
        return not running

    def join(self, timeout: float | None = None) -> bool:
        """Wait until `stop` has been called. False after ``timeout`` seconds."""
        return self._ended.wait(timeout)

    def wait_synced(self, timeout: float | None = None) -> bool:
        """Wait until every source has delivered its first full list. False after ``timeout`` seconds or a stop.

        It does not wait for remote clusters. The table ``sources`` shows their state.
        """
        tables = [table for source in self.sources for table in source.tables]
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._ended.is_set():
            left = _POLL_S if deadline is None else min(_POLL_S, deadline - time.monotonic())
            if self.db.wait_initialized(*tables, timeout=max(0.0, left)):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
        return False


def tables_of(config: Config) -> tuple[AnyTable, ...]:
    """The tables of the catalog, and those that the backends and consumers of the configuration add."""
    added = [table for each in config.ingest for table in BACKENDS[each.backend].own]
    added += [table for each in config.ingest for table in BACKENDS[each.backend].extra(each.options)]
    added += [table for each in config.consumers for table in CONSUMER_KINDS[each.kind].extra_tables(each.options)]
    return tuple(dict.fromkeys((*TABLES, *added)))


def open_sources(config: Config, db: Database) -> tuple[Source, ...]:
    """Open a source for each backend of the configuration, without starting it. Raises StartError with all errors."""
    sources: list[Source] = []
    problems: list[str] = []
    for each in config.ingest:
        cluster = config.cluster
        try:
            sources.append(BACKENDS[each.backend].open(db, cluster.name, cluster.id, each.options))
        except IngestError as error:
            problems.append(
                f"ingest.{each.backend}.{error}" if _names_option(error) else f"ingest.{each.backend}: {error}"
            )
    if problems:
        raise StartError("\n".join(problems))
    return tuple(sources)


def open_remote_clusters(config: Config, db: Database) -> RemoteSources | None:
    """Open the remote clusters of the configuration, without starting them; None if it has none. Raises StartError."""
    if config.remote_clusters is None:
        return None
    try:
        mirror = any(CONSUMER_KINDS[each.kind].needs_remote_clusters for each in config.consumers)
        return open_remotes(db, config.cluster.name, config.cluster.id, config.remote_clusters, mirror=mirror)
    except IngestError as error:
        raise StartError(f"remote-clusters: {error}") from None


def open_consumers(config: Config, db: Database) -> tuple[Consumer, ...]:
    """Open the consumers of the configuration, without starting them. Raises StartError with all errors."""
    opened: list[Consumer] = []
    problems: list[str] = []
    for each in config.consumers:
        try:
            opened.append(CONSUMER_KINDS[each.kind].open(db, config.cluster.name, config.cluster.id, each.options))
        except IngestError as error:
            problems.append(f"consumers.{each.kind}{'.' if _names_option(error) else ': '}{error}")
    if config.remote_clusters is not None:
        conflicts = open_conflicts(db, config.cluster.name, [each.kind for each in config.consumers])
        opened += [] if conflicts is None else [conflicts]
    if problems:
        raise StartError("\n".join(problems))
    return tuple(opened)


def _names_option(error: IngestError) -> bool:
    """Whether the message begins with the name of an option: ``endpoints[0]: ...``."""
    head = str(error).partition(":")[0]
    return " " not in head
