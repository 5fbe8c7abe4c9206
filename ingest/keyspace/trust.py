"""For how long a replaced etcd is not believed when it is silent about an object. Pure: time comes in.

Writers attach most keys to a lease, and write again what a new etcd lacks; after they have returned (their heartbeat
is there again) and one lease time has passed, whatever is still missing has nobody who vouches for it.
"""

from __future__ import annotations


class Trust:
    """Begins in trust. `doubt` ends it, a heartbeat followed by the lease time restores it."""

    def __init__(self, lease_time_s: float) -> None:
        """``lease_time_s``: how long writers may take to return."""
        self._lease_time_s = lease_time_s
        self._reason = ""
        self._returned: float | None = None

    @property
    def reason(self) -> str:
        """Why the server is not believed; empty while it is."""
        return self._reason

    def doubt(self, reason: str) -> None:
        """Another server answers. Its heartbeat counts from now on."""
        self._reason = reason
        self._returned = None

    def heartbeat(self, now: float) -> None:
        """The writers' heartbeat was seen; only the first one after a doubt counts."""
        if self._returned is None:
            self._returned = now

    def silence(self) -> None:
        """The heartbeat has gone: the writers must return first."""
        self._returned = None

    def restore(self) -> None:
        """Believe the server: an operator says so, or nothing is in doubt any more."""
        self._reason = ""

    def restored(self, now: float) -> bool:
        """Whether the lease time has passed; then trust is restored."""
        due_in = self.due_in(now)
        if due_in is None or due_in > 0:
            return False
        self._reason = ""
        return True

    def due_in(self, now: float) -> float | None:
        """In how many seconds trust will be restored; None: not known yet, or never lost."""
        if not self._reason or self._returned is None:
            return None
        return self._returned + self._lease_time_s - now
