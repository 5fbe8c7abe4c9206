"""What has been seen of a writer since a moment: since we connected, or since a doubt began. Pure: time comes in."""

from __future__ import annotations

from .evidence import WriterActivity


class WriterWatch:
    """Counts only what changed. A heartbeat that was there when we connected is no act.

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
        """``lease_time_s``: in that time a living writer has written again what it stands by."""
        self._lease_time_s = lease_time_s
        self._acted_at: float | None = None
        self._resynced = False

    def restart(self) -> None:
        """A doubt began: what was seen before does not count."""
        self._acted_at, self._resynced = None, False

    def acted(self, now: float) -> None:
        """The writer changed something. Only the first time counts, so that waiting has an end."""
        if self._acted_at is None:
            self._acted_at = now

    def resynced(self) -> None:
        """The writer wrote all canaries of the part again."""
        self._resynced = True

    def due_in(self, now: float) -> float | None:
        """In how many seconds the writer will have caught up; None: it has not acted, or that is past."""
        if self._acted_at is None or self._resynced:
            return None
        left = self._acted_at + self._lease_time_s - now
        return left if left > 0 else None

    def seen(self, now: float, *, silent: bool = False) -> WriterActivity:
        """What to fill in as evidence. ``silent``: its heartbeat is older than it should be."""
        if self._resynced:
            return WriterActivity.RESYNCED
        if self._acted_at is None:
            return WriterActivity.SILENT if silent else WriterActivity.UNSEEN
        return WriterActivity.ACTS if now - self._acted_at < self._lease_time_s else WriterActivity.CAUGHT_UP
