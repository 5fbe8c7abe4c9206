"""Whether the writers of an etcd are alive, by when their heartbeat changed on our clock. Pure: time comes in.

What the heartbeat says is the writer's clock, and is never read.
"""

from __future__ import annotations


class Heartbeat:
    """Remembers the last beat over reconnects: reading an old one anew is no sign of life.

    >>> heart = Heartbeat(120)
    >>> heart.beat(7, 100, now=0); heart.silent_s(50)
    50
    >>> heart.beat(7, 100, now=60); heart.is_silent(121)
    True
    >>> heart.beat(7, 101, now=130); heart.is_silent(140)
    False
    """

    def __init__(self, timeout_s: float) -> None:
        """Silent is who has not beaten for longer."""
        self.timeout_s = timeout_s
        self._last: tuple[int, int] | None = None
        self._at: float | None = None

    def beat(self, cluster_id: int, version: int, now: float) -> None:
        """The heartbeat of an etcd cluster changed last at that revision."""
        if (cluster_id, version) != self._last:
            self._last = cluster_id, version
            self._at = now

    def mark_absent(self) -> None:
        """There is none, so there is nothing to judge by, until one has been seen."""
        self._last = self._at = None

    def silent_s(self, now: float) -> float | None:
        """For how long there was no beat; None if there never was one."""
        return None if self._at is None else now - self._at

    def is_silent(self, now: float) -> bool:
        """Whether that is too long."""
        silent_s = self.silent_s(now)
        return silent_s is not None and silent_s > self.timeout_s
