"""Whether the writers of an etcd are alive, by the time on our clock when their heartbeat changed. Pure.

The value of the heartbeat is the time on the writer's clock, and is not used.
"""

from __future__ import annotations


class Heartbeat:
    """Remembers the last heartbeat across reconnects: reading the same one again is no sign of life.

    >>> heart = Heartbeat(120)
    >>> heart.beat(7, 100, now=0); heart.silent_s(50)
    50
    >>> heart.beat(7, 100, now=60); heart.is_silent(121)
    True
    >>> heart.beat(7, 101, now=130); heart.is_silent(140)
    False
    """

    def __init__(self, timeout_s: float) -> None:
        """The writers are silent if there was no heartbeat for ``timeout_s`` seconds."""
        self.timeout_s = timeout_s
        self._last: tuple[int, int] | None = None
        self._at: float | None = None

    def beat(self, cluster_id: int, version: int, now: float) -> None:
        """The heartbeat of an etcd cluster has last changed at this revision."""
        if (cluster_id, version) != self._last:
            self._last = cluster_id, version
            self._at = now

    def mark_absent(self) -> None:
        """There is no heartbeat. The writers count as alive until one has been seen."""
        self._last = self._at = None

    def silent_s(self, now: float) -> float | None:
        """The seconds since the last heartbeat; None if there never was one."""
        return None if self._at is None else now - self._at

    def is_silent(self, now: float) -> bool:
        """Whether that is longer than the timeout."""
        silent_s = self.silent_s(now)
        return silent_s is not None and silent_s > self.timeout_s
