"""What all sources on etcd have in common: a loop that connects, a reflector, a status."""

from __future__ import annotations

from ..figures import SourceStats
from ..reflect import Reflector, Timings
from ..status import Status
from .connection import ConnectionLoop


class EtcdSource:
    """The part of `Source` that does not depend on what is read. All of it may be called from any thread."""

    _loop: ConnectionLoop
    _reflector: Reflector
    _status: Status

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread against expectation, or None."""
        return self._loop.failure

    @property
    def certificate_files(self) -> dict[str, str]:
        """The files with certificates that it shows or trusts, by the names of their options."""
        return self._loop.connector.servers.certificate_files

    @property
    def figures(self) -> SourceStats:
        """What it has done."""
        return self._status.figures

    @property
    def split(self) -> Timings:
        """Where the time went."""
        return self._reflector.split

    def stop(self) -> None:
        """Ask it to end; its rows stay. A request under way is cut off."""
        self._loop.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended."""
        return self._loop.join(timeout)
