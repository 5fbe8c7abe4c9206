"""Whether what goes from an etcd was deleted, or only nobody is there any more to renew its lease. Pure: time comes in.

All keys of a ClusterMesh etcd hang on leases of their one writer. Where that is away for longer than the lease time the
etcd takes every key away by itself, and says of each that it was deleted, while the cluster that they told of lives on.
"""

from __future__ import annotations


class Away:
    """In doubt from the writer's silence on, until a canary is written again, or the lease time after its return.

    A writer that comes back writes its canaries when everything before them is there: what a list then leaves out of
    their prefixes is gone. One that was only slow writes none, but after a lease time it has renewed what it stands by.

    >>> away = Away(900)
    >>> away.begin("no heartbeat for 130 s"); away.in_doubt
    True
    >>> away.returned(200); away.due_in(300), away.is_over(1100)
    (800, True)
    """

    def __init__(self, lease_time_s: float) -> None:
        """Nobody is away."""
        self._lease_time_s = lease_time_s
        self._returned: float | None = None
        self._renewed: set[bytes] = set()
        self.reason = ""
        """Why there is doubt; empty where there is none."""

    @property
    def in_doubt(self) -> bool:
        """Whether deletes are not to be believed."""
        return bool(self.reason)

    def begin(self, reason: str) -> None:
        """The writer is silent; said again while it is: the first time counts, and the first after a return."""
        if not self.reason or self._returned is not None:
            self._renewed.clear()
        self.reason, self._returned = reason, None

    def returned(self, now: float) -> None:
        """The heartbeat changed; only the first time counts."""
        if self.reason and self._returned is None:
            self._returned = now

    def renew(self, canary: bytes) -> None:
        """A canary was written."""
        if self.reason:
            self._renewed.add(canary)

    def is_renewed(self, canaries: tuple[bytes, ...]) -> bool:
        """Whether the writer has written all of these since it was silent."""
        return bool(canaries) and self._renewed.issuperset(canaries)

    def end(self) -> None:
        """Deletes are believed again."""
        self.reason, self._returned = "", None
        self._renewed.clear()

    def due_in(self, now: float) -> float | None:
        """In how many seconds the lease time after the return is over; None: not known yet, or no doubt."""
        if not self.reason or self._returned is None:
            return None
        return self._returned + self._lease_time_s - now

    def is_over(self, now: float) -> bool:
        """Whether the lease time after the return is over."""
        due_in = self.due_in(now)
        return due_in is not None and due_in <= 0
