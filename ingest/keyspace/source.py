"""What all sources on etcd have in common: a loop that connects, a reflector, a status."""

from __future__ import annotations

from ..figures import SourceStats
from ..reflect import Reflector, Timings
from ..source import AnyTable, describe
from ..status import Status
from .connection import ConnectionLoop


class EtcdSource:
    """The part of `Source` that does not depend on what is read. For any thread."""

    _loop: ConnectionLoop
    _reflector: Reflector
    _status: Status
    backend: str
    cluster: str
    tables: tuple[AnyTable, ...]

    def __repr__(self) -> str:
        """Its backend, its cluster and its tables."""
        return describe(self.backend, self.cluster, self.tables)

    @property
    def failure(self) -> BaseException | None:
        """The error that ended the thread unexpectedly, or None."""
        return self._loop.failure

    @property
    def certificate_files(self) -> dict[str, str]:
        """The certificate files that it uses, by the names of their options."""
        return self._loop.connector.servers.certificate_files

    @property
    def figures(self) -> SourceStats:
        """Counters of the source."""
        return self._status.figures

    @property
    def split(self) -> Timings:
        """How much time each step of the ingest took."""
        return self._reflector.split

    def stop(self) -> None:
        """Ask it to end. A request in progress is cancelled. Its rows stay."""
        self._loop.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended."""
        return self._loop.join(timeout)
