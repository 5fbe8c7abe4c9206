"""The manifests backend: scans a directory periodically, and writes changes to the tables."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import msgspec

from statedb import Database
from statedb.catalog import Backends, EndpointSlices

from ..belief import Absence, Evidence, History, No, Verdict, Yes, may_delete
from ..directory import Directory, Generation, Outage, Read, Scan, Signature, difference
from ..errors import InvalidOptions
from ..events import Bad, Delete, Listed, Upsert
from ..figures import SourceStats
from ..reflect import Feed, Reflector, Timings
from ..source import AnyTable, describe
from ..status import ANY_TABLE, State, Status
from ..worker import Worker
from .files import FEED, Parsed, parse, unreadable
from .kinds import TABLES, is_slice, join_services, kinds
from .options import ManifestsOptions
from .origin import history as history_of, origin_of, printable

_SETTLE_SCANS = 50
_PROGRESS_S = 1.0
_EMPTIED = "is empty, as a file is while it is being written; remove it if its objects are to go"

_log = logging.getLogger("ingest")


class _Stopped(Exception):
    """The source was asked to stop while it was reading a file."""


class _File(msgspec.Struct):
    """A file as it was last read. ``racy``: it may have changed since without changing its signature."""

    signature: Signature
    digest: bytes
    racy: bool
    events: dict[str, Upsert | Bad]


class ManifestsSource:
    """A directory of manifests as a `Source`."""

    backend = "manifests"

    def __init__(
        self,
        db: Database,
        cluster_name: str,
        cluster_id: int,
        options: ManifestsOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Not yet started. Raises InvalidOptions."""
        self._clock = clock
        self.cluster = cluster_name
        copies = EndpointSlices in db.tables
        self.tables = _chosen(options.tables, copies=copies)
        self._options = options
        self._kinds = kinds(cluster_name, cluster_id, copies=copies)
        self._directory = Directory(options.directory, options.file_bytes_max)
        self._status = Status(db, cluster_name, self.backend, self.tables, clock=clock)
        self._reflector = Reflector(db, cluster_name, self.backend, [Feed(FEED, self.tables, mixed=True)], self._status)
        self._files: dict[str, _File] = {}
        self._events: dict[str, Upsert | Bad] = {}
        self._good: dict[str, Upsert] = {}
        self._slice_tables = tuple([table for table in self.tables if table in (Backends, EndpointSlices)])
        self._lost: dict[str, Upsert] = {}
        """Slices that are missing while the directory is doubted. They have no rows of their own to be withheld."""
        self._joined: dict[str, Upsert | Bad] = {}
        self._published: dict[str, Upsert | Bad] | None = None
        self._last_scan: Scan | None = None
        self._origin = ""
        self._is_doubtful = False
        self._doubted: Generation | None = None
        self._accepted = False
        self._progress_due = 0.0
        self._worker = Worker(f"manifests {cluster_name}", self._run, self._ended)

    def __repr__(self) -> str:
        """Its backend, its cluster and its tables."""
        return describe(self.backend, self.cluster, self.tables)

    @property
    def failure(self) -> BaseException | None:
        """The error that ended the thread unexpectedly, or None."""
        return self._worker.failure

    @property
    def figures(self) -> SourceStats:
        """Counters of the source."""
        return self._status.figures

    @property
    def split(self) -> Timings:
        """How much time each step of the ingest took."""
        return self._reflector.split

    def start(self) -> None:
        """Claim the tables and start scanning. Raises OwnedElsewhere."""
        self._reflector.begin()
        self._origin = self._status.origin
        self._worker.start()

    def stop(self) -> None:
        """Ask it to end. The reading of a file is interrupted."""
        self._worker.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended."""
        return self._worker.join(timeout)

    def accept(self) -> None:
        """Trust the present directory: withheld deletes are carried out at the next scan.

        Another one that stands there by then is not believed, and while none does nothing is accepted.
        """
        self._accepted = True

    def _run(self) -> None:
        while not self._worker.stopping:
            try:
                self._scan()
            except _Stopped:
                return
            except Outage as outage:
                self._status.figures.failures += 1
                self._void_acceptance()
                self._status.report("connecting" if self._published is None else "stale", str(outage))
            self._status.write_if_due()
            due_in = self._status.due_in()
            rescan_s = self._options.rescan_s
            self._worker.pause(rescan_s if due_in is None else min(rescan_s, due_in))

    def _void_acceptance(self) -> None:
        """No directory stands there: what was accepted before is not for the next one."""
        if self._accepted:
            self._accepted = False
            _log.warning(
                "%s/%s: what was accepted before this outage counts for nothing; accept it again",
                self.backend,
                self.cluster,
            )

    def _ended(self, failure: Exception | None) -> None:
        if failure is None:
            self._status.release()
        else:
            self._status.fail(failure)

    def _scan(self) -> None:
        """Apply the changes since the last scan. Raises Outage."""
        scan = self._stable_scan()
        if scan is None:
            return
        self._progress_due = self._clock() + _PROGRESS_S
        files = self._read(scan)
        if files is None or not self._directory.is_current(scan):
            return  # a file or the generation disappeared meanwhile: the next scan decides
        if self._published is None:
            self._status.report("syncing")
        is_changed = self._take(files)
        verdict = self._verdict(scan, self._events)
        self._join(verdict, is_changed=is_changed)
        self._publish(self._joined, verdict)
        if not (self._reflector.is_doubted(FEED) or self._lost):
            if scan != self._last_scan:
                self._status.set_origin(origin_of(scan, self._digests()))
            self._last_scan, self._is_doubtful = scan, False
        self._doubted = scan.generation if self._is_doubtful else None
        self._status.figures.record_contact()
        self._status.report("synced")

    def _take(self, files: dict[str, _File]) -> bool:
        """Collect the objects of all files, if any file has changed. Returns whether one has."""
        before = [(name, file.events) for name, file in self._files.items()]
        self._files = files
        if len(before) == len(files) and all(
            name == known and file.events is events
            for (known, events), (name, file) in zip(before, files.items(), strict=True)
        ):
            return False
        self._events = events = {name: event for file in files.values() for name, event in file.events.items()}
        if self._slice_tables:
            known = {**self._lost, **self._good}
            self._lost = {name: e for name, e in known.items() if name not in events and is_slice(e)}
        self._good = {**{name: e for name, e in self._good.items() if name in events}, **_upserts(events)}
        return True

    def _join(self, verdict: Verdict, *, is_changed: bool) -> None:
        """Join services with their slices, if either may have changed. Missing slices count while they are doubted."""
        if isinstance(verdict, Yes):
            is_changed |= bool(self._lost)
            self._lost = {}
        for table in self._slice_tables:
            self._status.hold_back(table, len(self._lost), verdict.reason if isinstance(verdict, No) else "")
        if is_changed:
            joined = join_services({**self._lost, **self._events}, self._good)
            self._joined = {name: event for name, event in joined.items() if name in self._events}

    def _verdict(self, scan: Scan, events: dict[str, Upsert | Bad]) -> Verdict:
        """Whether missing objects may be deleted. If none is missing, the identity of the directory does not matter."""
        pressed = self._accepted
        if pressed:
            self._accepted = False  # only where there was something, so that none of another thread is lost
        history, why = History.NONE, ""
        if self._last_scan is not None:
            why = difference(self._last_scan, scan)
            if why and not (self._lost or self._reflector.names(FEED) - events.keys()):
                why = ""
            history = History.OTHER if why else History.SAME
        elif self._reflector.has_inherited:
            history, why = history_of(self._origin, scan, self._digests())
        is_seen = self._doubted is not None and _is_same_directory(self._doubted, scan.generation)
        accepted = pressed and is_seen
        if pressed and (is_seen or not why):
            self._reflector.accept()
        return may_delete(Evidence(absence=Absence.LISTED_WITHOUT, history=history, accepted=accepted, detail=why))

    def _digests(self) -> dict[str, bytes]:
        return {name: file.digest for name, file in self._files.items()}

    def _stable_scan(self) -> Scan | None:
        """A scan in which no file seems to be in the middle of being written; None if asked to stop."""
        scan = self._directory.scan()
        if scan.atomic or (self._published is None and not self._reflector.has_inherited):
            return scan
        for _ in range(_SETTLE_SCANS):
            if scan.files == {name: file.signature for name, file in self._files.items()}:
                return scan
            if self._worker.pause(self._options.settle_s):
                return None
            before, scan = scan, self._directory.scan()
            if scan.files == before.files:
                return scan
        return scan

    def _read(self, scan: Scan) -> dict[str, _File] | None:
        """The files of a scan; those that have changed are read. None if one disappeared meanwhile."""
        files = {}
        for name, signature in scan.files.items():
            known = self._files.get(name)
            if known is not None and known.signature == signature and not known.racy:
                files[name] = known
                continue
            racy = self._directory.is_racy(signature)
            content, shown = self._directory.read(scan, name), printable(name)
            if content is None:
                return None
            if isinstance(content, Read):
                if known is not None and known.digest == content.digest:
                    files[name] = _File(signature, content.digest, racy, known.events)
                    continue
                digest = content.digest
                parsed = parse(
                    shown, content.data, self._kinds, self._options.aliases_max, partial(self._on_progress, shown)
                )
                if not content.data and not scan.atomic and self._may_be_unwritten(known, signature):
                    digest = b""  # it is judged again at the next change
                    parsed = unreadable(shown, _EMPTIED)
            else:
                digest = b""
                parsed = unreadable(shown, content.reason)
            files[name] = _File(signature, digest, racy, _with_last_good(parsed, known))
        return files

    def _may_be_unwritten(self, known: _File | None, signature: Signature) -> bool:
        """Whether an empty file may be one with objects that is just being written, because it was changed where it is.

        Another file may have taken its place instead. Rows of before may be in it until the directory is believed.
        """
        if known is None:
            return self._reflector.has_inherited
        return bool(known.events) and known.signature[3] == signature[3]

    def _on_progress(self, file: str, progress: str) -> None:
        """Report the progress of reading a file, every second. Raises _Stopped."""
        if self._worker.stopping:
            raise _Stopped
        now = self._clock()
        if now < self._progress_due:
            return
        self._progress_due = now + _PROGRESS_S
        state: State = "syncing" if self._published is None else "stale"
        self._status.report(state, f"reading {file}: {progress}")
        self._status.write_if_due()

    def _publish(self, events: dict[str, Upsert | Bad], verdict: Verdict) -> None:
        """Update the tables from the directory in one transaction. Doubted deletes are withheld."""
        published, self._published = self._published, events
        if isinstance(verdict, No):
            if published != events or not self._is_doubtful:
                self._reflector.offer(Listed(FEED, tuple(events.values()), full=False, doubt=verdict.reason))
            self._is_doubtful = True
            return
        if published is None or self._is_doubtful:  # after a doubt, withheld objects that are still missing are deleted
            self._reflector.offer(Listed(FEED, tuple(events.values())))
            return
        if published is not events:
            self._offer_changes(published, events)
        self._reflector.flush()

    def _offer_changes(self, published: dict[str, Upsert | Bad], events: dict[str, Upsert | Bad]) -> None:
        for name in published:
            if name not in events:
                self._reflector.offer(Delete(FEED, name))
        for name, event in events.items():
            before = published.get(name)
            if before is not event and before != event:
                self._reflector.offer(event)


def _is_same_directory(before: Generation, now: Generation) -> bool:
    return (before.device, before.inode) == (now.device, now.inode)


def _upserts(events: dict[str, Upsert | Bad]) -> dict[str, Upsert]:
    return {name: event for name, event in events.items() if isinstance(event, Upsert)}


def _with_last_good(parsed: Parsed, known: _File | None) -> dict[str, Upsert | Bad]:
    """The events of a file. Earlier objects that may be in unreadable parts of it keep their last event."""
    if parsed.whole or known is None:
        return parsed.events
    kept = {name: e for name, e in known.events.items() if e.table != ANY_TABLE}
    return {**kept, **parsed.events}


def _chosen(names: tuple[str, ...] | None, *, copies: bool) -> tuple[AnyTable, ...]:
    """The tables with these names; with `Backends` also the ``copies`` of slices. Raises InvalidOptions."""
    own: tuple[AnyTable, ...] = (EndpointSlices,) if copies else ()
    if names is None:
        return (*TABLES, *own)
    by_name = {table.name: table for table in TABLES}
    for name in names:
        if name not in by_name:
            raise InvalidOptions(f"tables: manifests carry no table {name!r}; they carry {', '.join(by_name)}")
    if not names:
        raise InvalidOptions("tables: name at least one, or leave the option out to fill all")
    tables = tuple(by_name[name] for name in dict.fromkeys(names))
    return (*tables, *own) if Backends in tables else tables
