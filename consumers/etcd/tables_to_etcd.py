"""A consumer with two threads: a follower of tables, and the writer of an etcd."""

from __future__ import annotations

from typing import Self

import msgspec

from consumers.running.follower import Follower

from .statistics import WriterStats
from .writer import EtcdWriter


class TablesToEtcd:
    """Starts and stops both threads, once each, from any thread. A context manager."""

    _follower: Follower
    _writer: EtcdWriter

    def start(self) -> None:
        """Begin. Raises RuntimeError the second time."""
        self._follower.start()

    def stop(self) -> None:
        """Ask it to end. A running request is aborted. Written keys stay until their leases expire."""
        self._follower.stop()
        self._writer.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; True at once if it was never started. ``timeout`` is for each thread."""
        return self._follower.join(timeout) and self._writer.join(timeout)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and wait for its end."""
        self.stop()
        self.join()

    @property
    def ready(self) -> bool:
        """Whether the initial content of the tables is written, canaries included, and nothing is stuck now."""
        return self._writer.ready

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until it is `ready`; False after ``timeout`` seconds, or when it has ended."""
        return self._writer.wait_ready(timeout, also=lambda: self.ready)

    def stats(self) -> WriterStats:
        """Statistics. ``unwritten`` includes objects that cannot be encoded."""
        stats = self._writer.stats()
        return msgspec.structs.replace(stats, unwritten=stats.unwritten + self._refused_count())

    def _refused_count(self) -> int:
        """The number of objects that cannot be encoded now."""
        return 0

    @property
    def crash(self) -> BaseException | None:
        """The unexpected exception that ended one of its threads, which is a bug; otherwise None."""
        return self._follower.crash or self._writer.crash

    @property
    def queue_size(self) -> int:
        """The number of keys that wait to be written. Each key counts once."""
        return self._writer.queue_size
