"""The leases of a writer's keys. Pure: others grant and renew them.

Keys that another process with the same options wrote stay attached to its leases. These leases are *adopted*: they are
renewed like our own. After a restart, or with a second process, nothing has to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from .present import Present


class Leases:
    """The leases of one writer, across its connections. For one thread."""

    def __init__(self, ttl_s: int, keys_max: int) -> None:
        """``ttl_s``: the time to live that a lease must have. ``keys_max``: the most keys of one lease."""
        self.ttl_s = ttl_s
        self.keys_max = keys_max
        self._own: dict[int, None] = {}
        self._too_short: set[int] = set()
        self._ended: set[int] = set()
        self._seen: set[int] = set()
        self._end_at = 0.0

    def granted(self, lease: int, now: float) -> None:
        """Record a new lease of ours; ``now`` is the time of a monotonic clock."""
        if not self._own and not self._seen:
            self._end_at = now + self.ttl_s
        self._own[lease] = None

    def is_good(self, lease: int) -> bool:
        """Whether a key may stay attached to the lease. A lease that was not renewed yet is good."""
        return lease != 0 and lease not in self._too_short and lease not in self._ended

    def is_new(self, lease: int) -> bool:
        """Whether somebody else granted the lease and it was not renewed yet."""
        return lease != 0 and lease not in self._own and lease not in self._seen

    def rooms(self, present: Present) -> Iterator[tuple[int, int]]:
        """Our leases that may take more keys, and how many each takes; the newest first."""
        for lease in reversed(self._own):
            room = self.keys_max - present.keys_of(lease)
            if room > 0:
                yield lease, room

    def assign(self, keys: Iterable[str], present: Present, grant: Callable[[], int]) -> dict[str, int]:
        """The lease of each key: its present lease if that is good, else one of ours with room, else one of ``grant``.

        ``grant`` grants a lease and records it.
        """
        assigned: dict[str, int] = {}
        rooms, lease, room = self.rooms(present), 0, 0
        for key in keys:
            entry = present.get(key)
            if entry is not None and self.is_good(entry.lease):
                assigned[key] = entry.lease
                continue
            if not room:
                lease, room = next(rooms, None) or (grant(), self.keys_max)
            room -= 1
            assigned[key] = lease
        return assigned

    def to_renew(self, present: Present) -> set[int]:
        """The leases to renew: all that have keys, whoever granted them, and our own without keys."""
        return {*self._own, *present.leases()}

    def renewed(self, lives: Mapping[int, int], asked_at: float) -> tuple[set[int], set[int]]:
        """Record a renewal. Returns the leases that have ended, and those that were just found to be too short."""
        self._end_at = asked_at + min([ttl_s for ttl_s in lives.values() if ttl_s > 0], default=0)
        ended = {lease for lease, ttl_s in lives.items() if ttl_s <= 0}
        short = {lease for lease, ttl_s in lives.items() if 0 < ttl_s < self.ttl_s} - set(self._own) - self._too_short
        for lease in ended:
            self._own.pop(lease, None)
        self._ended = ended
        self._seen = set(lives)
        self._too_short = (self._too_short - ended) | short
        return ended, short

    def left_s(self, now: float) -> float:
        """Seconds until the first lease expires unless it is renewed; 0 without leases. For any thread."""
        return max(0.0, self._end_at - now)
