"""What a writer has done since we connected, or since a doubt began. Pure: the time is an argument."""

from __future__ import annotations

from .evidence import WriterActivity


class WriterWatch:
    """Counts changes only. A heartbeat that existed when we connected is no sign of life.

    >>> watch = WriterWatch(lease_time_s=900)
    >>> watch.seen(now=0).name, watch.seen(now=0, silent=True).name
    ('UNSEEN', 'SILENT')
    >>> watch.acted(now=10); watch.seen(now=20).name, watch.due_in(now=20)
    ('ACTS', 890)
    >>> watch.seen(now=910).name
    'CAUGHT_UP'
    >>> watch.resynced(); watch.seen(now=911).name
    'RESYNCED'
    """

    __slots__ = ("_acted_at", "_lease_time_s", "_resynced")

    def __init__(self, lease_time_s: float) -> None:
        """``lease_time_s``: the time in which a living writer has written all of its keys again."""
        self._lease_time_s = lease_time_s
        self._acted_at: float | None = None
        self._resynced = False

    def restart(self) -> None:
        """A doubt began: earlier signs of life no longer count."""
        self._acted_at, self._resynced = None, False

    def acted(self, now: float) -> None:
        """The writer changed a key. Only the first change counts, so that the wait is bounded."""
        if self._acted_at is None:
            self._acted_at = now

    def resynced(self) -> None:
        """The writer wrote all canaries of the part again."""
        self._resynced = True

    def due_in(self, now: float) -> float | None:
        """The seconds until the writer counts as caught up; None if it has not acted, or has caught up already."""
        if self._acted_at is None or self._resynced:
            return None
        left = self._acted_at + self._lease_time_s - now
        return left if left > 0 else None

    def seen(self, now: float, *, silent: bool = False) -> WriterActivity:
        """The activity, as evidence. ``silent``: its heartbeat is overdue."""
        if self._resynced:
            return WriterActivity.RESYNCED
        if self._acted_at is None:
            return WriterActivity.SILENT if silent else WriterActivity.UNSEEN
        return WriterActivity.ACTS if now - self._acted_at < self._lease_time_s else WriterActivity.CAUGHT_UP
