"""A consumer of two threads: a follower of tables, and the writer that it tells what an etcd should hold."""

from __future__ import annotations

from typing import Self

from consumers.running.follower import Follower

from .writer import EtcdWriter


class TablesToEtcd:
    """The life of both threads. Started once, stopped once; from any thread. A context manager."""

    _follower: Follower
    _writer: EtcdWriter

    def start(self) -> None:
        """Begin. Raises RuntimeError the second time."""
        self._follower.start()

    def stop(self) -> None:
        """Ask it to end; a request under way is cut off. What it has written stays for the time of its leases."""
        self._follower.stop()
        self._writer.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; True at once if it never started. ``timeout`` is for each of its threads."""
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
    def crash(self) -> BaseException | None:
        """What ended one of its threads against expectation: a bug. Else None."""
        return self._follower.crash or self._writer.crash

    @property
    def queue_size(self) -> int:
        """How many keys wait to be written; never more than there are."""
        return self._writer.queue_size
