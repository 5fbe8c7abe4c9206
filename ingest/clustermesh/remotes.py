"""Remote clusters, one for each file of a directory. Files may be added, changed and removed at any time."""

from __future__ import annotations

import logging
import threading
import time

import msgspec

from statedb import Database
from statedb.catalog import SourceKey, SourceRow, Sources
from statedb.catalog.wire.cluster_configs import is_cluster_name

from ..directory import ANY, Directory, Outage, Read, Scan, Signature, difference
from ..errors import IngestError
from ..status import ANY_TABLE, State, Status
from ..worker import Worker
from . import files
from .factory import remote
from .files import BadFile
from .ids import ClusterIds
from .options import RemoteClustersOptions
from .session import ClusterSource

ANY_CLUSTER = "*"
"""The cluster in rows of ``sources`` and ``rejected`` that are about the directory."""

_log = logging.getLogger("ingest")

_FILE_BYTES_MAX = 1 << 20
_FEED = "remote-clusters"


class _File(msgspec.Struct):
    """A file as it was last read."""

    signature: Signature
    digest: bytes
    racy: bool


class RemoteClusters:
    """All remote clusters. They are started and stopped once, from any thread.

    A bad file affects only its cluster, which goes on as before or does not start; the table ``rejected`` has the
    reason. If the directory cannot be read, all clusters go on as before.
    """

    backend = "remote-clusters"

    def __init__(
        self, db: Database, own_name: str, own_id: int, options: RemoteClustersOptions, *, mirror: bool = False
    ) -> None:
        """The file of the local cluster is ignored. ``mirror``: raw values are also written to the table `Mirror`."""
        self._mirror = mirror
        self._db = db
        self._own_name = own_name
        self._options = options
        self._ids = ClusterIds(own_id)
        self._directory = Directory(options.directory, _FILE_BYTES_MAX, suffixes=ANY)
        self._status = Status(db, ANY_CLUSTER, self.backend, ())
        self._reported: tuple[State, str, int] | None = None
        self._files: dict[str, _File] = {}
        self._last_scan: Scan | None = None
        self._missing: set[str] = set()
        self._lock = threading.Lock()
        self._clusters: dict[str, ClusterSource] = {}
        self._leaving: dict[str, ClusterSource] = {}
        self._worker = Worker("remote clusters", self._run, self._ended)

    @property
    def clusters(self) -> tuple[ClusterSource, ...]:
        """The clusters that exist now, by name."""
        with self._lock:
            return tuple(self._clusters[name] for name in sorted(self._clusters))

    @property
    def failure(self) -> BaseException | None:
        """The error that unexpectedly ended the thread that reads the directory, or None."""
        return self._worker.failure

    def start(self) -> None:
        """Read the directory for the first time, and start its clusters."""
        self._scan()
        self._worker.start()

    def stop(self) -> None:
        """Ask all clusters to end. Their rows stay."""
        self._worker.stop()
        with self._lock:
            for source in (*self._clusters.values(), *self._leaving.values()):
                source.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all have ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            sources = (*self._clusters.values(), *self._leaving.values())

        def left() -> float | None:
            return None if deadline is None else max(0.0, deadline - time.monotonic())

        ended = [self._worker.join(left())]
        ended += [source.join(left()) for source in sources]
        return all(ended)

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._worker.pause(self._options.rescan_s):
            self._scan()

    def _ended(self, failure: Exception | None) -> None:
        if failure is not None:
            self._report("failed", f"{type(failure).__name__}: {failure}")
        else:
            self._report("absent", "stopped")

    def _scan(self) -> None:
        """Apply what has changed since the last scan."""
        try:
            scan = self._directory.scan()
            if self._last_scan is not None and self._files.keys() - scan.files.keys():
                why = difference(self._last_scan, scan)
                if why:
                    raise Outage(f"{self._options.directory}: {why}")
        except Outage as outage:
            self._report("stale", str(outage))
            return
        self._last_scan = scan
        for name, signature in scan.files.items():
            if name != self._own_name:
                self._scan_file(scan, name, signature)
        self._drop_missing(scan)
        with self._lock:
            self._leaving = {name: source for name, source in self._leaving.items() if not source.join(0)}
        self._status.write_if_due()
        self._report("synced", "")

    def _scan_file(self, scan: Scan, name: str, signature: Signature) -> None:
        """Read a file if it has changed, and start or reconnect its cluster."""
        known = self._files.get(name)
        waits = name in self._leaving
        if waits or (known is not None and known.signature == signature and not known.racy):
            return
        racy = self._directory.is_racy(signature)
        content = self._directory.read(scan, name)
        if content is None:
            return
        if not isinstance(content, Read):
            if name in self._clusters or is_cluster_name(name):
                self._reject(name, content.reason)
            return
        if known is not None and known.digest == content.digest:
            self._files[name] = _File(signature, content.digest, racy)
            return
        self._files[name] = _File(signature, content.digest, racy)
        if name in self._clusters or files.is_config(content.data):
            try:
                self._apply_file(name, content.data)
                self._status.heal(_FEED, self._path(name))
            except (BadFile, IngestError) as error:  # a missing certificate may appear later: try again
                self._files[name] = _File(signature, b"", racy=True)
                self._reject(name, str(error))

    def _apply_file(self, name: str, data: bytes) -> None:
        """Raises BadFile, InvalidOptions, OwnedElsewhere. The cluster is unchanged then."""
        if not is_cluster_name(name):
            raise BadFile(
                "the file is named as no cluster can be: 1 to 32 lower-case letters, digits, and dashes within"
            )
        servers = files.servers(data, self._options.directory, self._options)
        with self._lock:
            source = self._clusters.get(name)
            if source is not None:
                source.reconnect(servers)
            elif not self._worker.stopping:
                source = remote(self._db, name, servers, self._options, self._ids, mirror=self._mirror)
                source.start()
                self._clusters[name] = source

    def _drop_missing(self, scan: Scan) -> None:
        """Remove clusters whose file is gone: at once where all files change together, otherwise after some time."""
        gone = {name for name in self._files if name not in scan.files}
        sure = gone if scan.atomic else gone & self._missing
        self._missing = gone - sure
        for name in sure:
            del self._files[name]
            self._status.heal(_FEED, self._path(name))
            with self._lock:
                source = self._clusters.pop(name, None)
                if source is not None:
                    self._leaving[name] = source
                    source.remove()

    # --- reports ------------------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return f"{self._options.directory}/{name}"

    def _reject(self, name: str, error: str) -> None:
        """Reject a file. Its content is not shown, because it may contain a password."""
        self._status.reject(_FEED, ANY_TABLE, self._path(name), error, "")

    def _report(self, state: State, error: str) -> None:
        """Write the row of the directory in ``sources``: its state, and the number of clusters in it."""
        reported = (state, error, len(self._clusters))
        if reported == self._reported:
            return
        before = None if self._reported is None else self._reported[0]
        if state != before:
            level = logging.WARNING if state in ("stale", "failed") else logging.INFO
            _log.log(
                level, "%s: %s -> %s%s", self.backend, before or "connecting", state, f": {error}" if error else ""
            )
        self._reported = reported
        key = SourceKey(ANY_CLUSTER, ANY_TABLE)
        row = SourceRow(key, self.backend, state, time.time(), error, rows=reported[2])
        with self._db.write(Sources) as txn:
            txn[Sources].insert(row)
