"""The commands that read a configuration: ``run`` and ``check``."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from ingest import KubernetesOptions, Source
from ingest.source import AnyTable
from statedb import Database, Snapshot
from statedb.catalog import Rejected, SourceKey, SourceRow, Sources

from ..process.agent import Agent, open_consumers, open_remote_clusters, open_sources, tables_of
from ..process.config import Config, load_config
from ..process.consumers import CONSUMER_KINDS
from ..process.interpreter import tune_interpreter
from ..process.logs import log_to_stderr
from . import progress, start_files
from .columns import DEFAULT_COLUMNS, align_rows, pad_cells
from .output import print_lines, say

log = logging.getLogger("statedb.agent")

_POLL_S = 0.2
_STOP_S = 1.5


class _StopSignal:
    """Waits for a signal. It uses a pipe, because a signal handler must not take locks."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self._read_end, self._write_end = os.pipe()
        for number in numbers:
            signal.signal(number, self._on_signal)

    def wait(self, seconds: float) -> bool:
        """Wait for ``seconds``. True as soon as a signal comes."""
        return bool(select.select([self._read_end], [], [], seconds)[0])

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is given
        os.write(self._write_end, b".")


def init(folder: str, source: str) -> None:
    """Write the files of a new agent, and print the next steps. Raises StartError."""
    written = start_files.write(Path(folder), source)
    for path in written:
        say(f"wrote {path}")
    say(f"next: statedb check -c {written[0]}, then statedb run -c {written[0]}")


def run(path: str, warm_start: str | None = None) -> None:
    """Run an agent until SIGTERM or SIGINT. Raises ConfigError, StartError.

    ``warm_start`` replaces the one of the configuration.
    """
    signals = _StopSignal(signal.SIGTERM, signal.SIGINT)
    config = load_config(path)
    if warm_start is not None:
        config = msgspec.structs.replace(config, warm_start=Path(warm_start))
    log_to_stderr(config.log_level, config.log_format, progress.erase)
    tune_interpreter()
    agent = Agent(config, reading_dump=lambda lines: progress.counted(lines, "lines of the dump read"))
    try:
        agent.start()
        say(f"serving on {agent.address}")
        _wait_for_stop(signals, agent)
    finally:
        if not agent.stop(_STOP_S):
            log.warning("a source did not end in time")
    say("stopped")


def _wait_for_stop(signals: _StopSignal, agent: Agent) -> None:
    """Wait for a signal. Print when the tables are synced, and log each source that ends with an error, once."""
    started = time.monotonic()
    reported: set[Source] = set()
    synced = _wait_synced(signals, agent, reported)
    if synced:
        snapshot = agent.db.snapshot()
        counts = [f"{table.name} {len(snapshot[table])}" for source in agent.sources for table in source.tables]
        say(f"synced after {time.monotonic() - started:.1f} s: {', '.join(counts)}")
    while not signals.wait(_POLL_S):
        _report_ended(agent, reported)


def _wait_synced(signals: _StopSignal, agent: Agent, reported: set[Source]) -> bool:
    """Show the progress until all sources have been read. False if a signal comes first."""
    with progress.shown() as show:
        while not signals.wait(0):
            if agent.wait_synced(_POLL_S):
                return True
            show(lambda: reading(agent.db, agent.sources))
            _report_ended(agent, reported)
    return False


def _report_ended(agent: Agent, reported: set[Source]) -> None:
    for source in agent.sources:
        if source.failure is not None and source not in reported:
            reported.add(source)
            text = "source %s of cluster %s ended: %r"
            log.error(text, source.backend, source.cluster, source.failure, exc_info=source.failure)


def reading(db: Database, sources: Iterable[Source]) -> str:
    """The progress of the tables that are not initialized yet: ``reading: nodes 5, endpoints 12,000``."""
    snapshot: Any = db.snapshot()
    tables = [table for source in sources for table in source.tables if not snapshot[table].initialized]
    return "reading: " + ", ".join([f"{table.name} {len(snapshot[table]):,}" for table in tables])


def check(path: str) -> None:
    """Check a configuration and print what it means. Raises ConfigError, StartError."""
    config = load_config(path)
    db = Database(*tables_of(config))
    open_sources(config, db)  # makes no connection, but reads certificates and passwords
    open_remote_clusters(config, db)
    open_consumers(config, db)
    say(f"{path}: good")
    for line in _explained(config):
        say(line)


def connect(path: str, timeout_s: float) -> int:
    """Read the sources of a configuration once, without an agent, and print the result for each table.

    Returns 1 if a table was not read in time, otherwise 0. Raises ConfigError, StartError. Remote clusters are not
    read.
    """
    config = load_config(path)
    db = Database(*tables_of(config))
    sources = open_sources(config, db)
    logging.getLogger().addHandler(logging.NullHandler())  # the rows below show the errors
    try:
        for source in sources:
            source.start()
        read = _read_once(db, sources, timeout_s)
        snapshot = db.snapshot()  # before they are stopped, which changes their state
    finally:
        for source in sources:
            source.stop()
    rows = [row for source in sources for table in source.tables if (row := _source_row(snapshot, source, table))]
    say("")
    print_lines(align_rows(DEFAULT_COLUMNS["sources"], msgspec.to_builtins(rows)))
    return 0 if read else 1


def _read_once(db: Database, sources: Iterable[Source], timeout_s: float) -> bool:
    """Wait until all sources have been read, and show the progress. False after the timeout."""
    deadline = time.monotonic() + timeout_s
    with progress.shown() as show:
        while not _all_read(snapshot := db.snapshot(), sources):
            if time.monotonic() >= deadline:
                return False
            snapshot[Sources].watch().wait(max(0.0, min(_POLL_S, deadline - time.monotonic())))
            show(lambda: reading(db, sources))
    return True


def _all_read(snapshot: Snapshot, sources: Iterable[Source]) -> bool:
    """Whether all tables have been read, and the table ``sources`` shows it."""
    rows = [_source_row(snapshot, source, table) for source in sources for table in source.tables]
    tables = [table for source in sources for table in source.tables]
    is_under_way = any(row is not None and row.state in ("connecting", "syncing") for row in rows)
    return not is_under_way and all(snapshot[table].initialized for table in tables)


def _source_row(snapshot: Snapshot, source: Source, table: AnyTable) -> SourceRow | None:
    """The row of the table ``sources``, with the current number of rows."""
    row = snapshot[Sources].get(SourceKey(source.cluster, table.name))
    return None if row is None else msgspec.structs.replace(row, rows=len(snapshot[table]))


def _explained(config: Config) -> list[str]:
    backend_of = {table: each.backend for each in config.ingest for table in each.tables}
    facts = [
        ("cluster", f"{config.cluster.name} (id {config.cluster.id})"),
        ("listen", str(config.listen)),
        *([] if config.warm_start is None else [("warm start", str(config.warm_start))]),
        ("log", f"{config.log_level} and above, as {config.log_format}"),
        *[(f"{each.backend}", _place(each.options)) for each in config.ingest],
        *([] if config.remote_clusters is None else [("remotes", config.remote_clusters.directory)]),
    ]
    filled = [
        (table.name, backend_of.get(table.name) or "nobody: stays empty")
        for table in tables_of(config)
        if table not in (Sources, Rejected)
    ]
    lines = [pad_cells(fact, (10, 0)) for fact in facts]
    lines += ["", pad_cells(("TABLE", "FILLED BY"), (10, 0)), *[pad_cells(row, (10, 0)) for row in filled]]
    if config.consumers:
        lines += ["", pad_cells(("CONSUMER", "READS"), (12, 0))]
        lines += [
            pad_cells((each.kind, ", ".join(CONSUMER_KINDS[each.kind].reads(each.options))), (12, 0))
            for each in config.consumers
        ]
    return lines + _notes(config)


def _place(options: object) -> str:
    """The server or directory that a backend reads."""
    if isinstance(options, KubernetesOptions):
        return options.server or options.kubeconfig or "as kubectl, or the pod's service account"
    endpoints: tuple[str, ...] = getattr(options, "endpoints", ())
    return str(getattr(options, "directory", "")) or ", ".join(endpoints)


def _notes(config: Config) -> list[str]:
    notes = []
    for each in config.ingest:
        directory = getattr(each.options, "directory", None)
        if directory is not None and not Path(directory).is_dir():
            notes.append(f"note: {directory} is no directory yet; the tables of {each.backend} wait until it is")
    remotes = config.remote_clusters
    if remotes is not None and not Path(remotes.directory).is_dir():
        notes.append(f"note: {remotes.directory} is no directory yet; remote clusters wait until it is")
    return ["", *notes] if notes else []
