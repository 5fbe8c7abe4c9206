"""The leases of a writer's keys. Pure: others grant and renew them.

Keys that another process with the same options wrote stay attached to its leases. These leases are *adopted*: they are
renewed like our own. After a restart, or with a second process, nothing has to be written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .present import Present


class Leases:
    """The leases of one writer, across its connections. For one thread."""

    def __init__(self, ttl_s: int, keys_max: int) -> None:
        """``ttl_s``: the time to live that a lease must have. ``keys_max``: the most keys of one lease."""
        self.ttl_s = ttl_s
        self._keys_max = keys_max
        self._own: set[int] = set()
        self._too_short: set[int] = set()
        self._ended: set[int] = set()
        self._seen: set[int] = set()
        self._current = 0
        self._end_at = 0.0

    def granted(self, lease: int, now: float) -> None:
        """Record a new lease of ours; ``now`` is the time of a monotonic clock."""
        if not self._own and not self._seen:
            self._end_at = now + self.ttl_s
        self._own.add(lease)
        self._current = lease

    def is_good(self, lease: int) -> bool:
        """Whether a key may stay attached to the lease. A lease that was not renewed yet is good."""
        return lease != 0 and lease not in self._too_short and lease not in self._ended

    def is_new(self, lease: int) -> bool:
        """Whether somebody else granted the lease and it was not renewed yet."""
        return lease != 0 and lease not in self._own and lease not in self._seen

    def with_room(self, present: Present, coming: Counter[int]) -> int:
        """A lease of ours with room for one more key besides ``coming``; 0 if a new one must be granted."""
        if self._has_room(self._current, present, coming):
            return self._current
        self._current = next((lease for lease in self._own if self._has_room(lease, present, coming)), 0)
        return self._current

    def _has_room(self, lease: int, present: Present, coming: Counter[int]) -> bool:
        return lease in self._own and present.keys_of(lease) + coming[lease] < self._keys_max

    def to_renew(self, present: Present) -> set[int]:
        """The leases to renew: all that have keys, whoever granted them, and our own without keys."""
        return self._own | set(present.leases())

    def renewed(self, lives: Mapping[int, int], asked_at: float) -> tuple[set[int], set[int]]:
        """Record a renewal. Returns the leases that have ended, and those that were just found to be too short."""
        self._end_at = asked_at + min([ttl_s for ttl_s in lives.values() if ttl_s > 0], default=0)
        ended = {lease for lease, ttl_s in lives.items() if ttl_s <= 0}
        short = {lease for lease, ttl_s in lives.items() if 0 < ttl_s < self.ttl_s} - self._own - self._too_short
        self._own -= ended
        self._ended = ended
        self._seen = set(lives)
        self._too_short = (self._too_short - ended) | short
        return ended, short

    def left_s(self, now: float) -> float:
        """Seconds until the first lease expires unless it is renewed; 0 without leases. For any thread."""
        return max(0.0, self._end_at - now)
