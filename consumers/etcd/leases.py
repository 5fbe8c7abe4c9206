"""The leases under which a writer's keys stand. Pure: others grant and renew them.

Keys that a former or a second process of the same options has written may stay under its leases: they are *adopted* and
renewed like our own. A restart, and a second process beside the first, then write nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .present import Present


class Leases:
    """Those of one writer; they outlive its connections. For one thread."""

    def __init__(self, ttl_s: int, keys_max: int) -> None:
        """``ttl_s`` is the time that every lease must have; ``keys_max`` the keys of one."""
        self.ttl_s = ttl_s
        self.keys_max = keys_max
        self._own: dict[int, None] = {}
        self._too_short: set[int] = set()
        self._ended: set[int] = set()
        self._seen: set[int] = set()
        self._end_at = 0.0

    def granted(self, lease: int, now: float) -> None:
        """A new lease of ours, at this moment of a monotonic clock."""
        if not self._own and not self._seen:
            self._end_at = now + self.ttl_s
        self._own[lease] = None

    def is_good(self, lease: int) -> bool:
        """Whether a key may stay under it. One that nobody has renewed yet may."""
        return lease != 0 and lease not in self._too_short and lease not in self._ended

    def is_new(self, lease: int) -> bool:
        """Whether nothing is known about a lease that somebody else granted."""
        return lease != 0 and lease not in self._own and lease not in self._seen

    def rooms(self, present: Present) -> Iterator[tuple[int, int]]:
        """Our leases that may take more keys, and how many each takes; the newest first."""
        for lease in reversed(self._own):
            room = self.keys_max - present.keys_of(lease)
            if room > 0:
                yield lease, room

    def to_renew(self, present: Present) -> set[int]:
        """All that have keys, whoever granted them, and those of ours that have none yet."""
        return {*self._own, *present.leases()}

    def renewed(self, lives: Mapping[int, int], asked_at: float) -> tuple[set[int], set[int]]:
        """The result of a renewal: leases that have ended, and those that are found to be too short for us only now."""
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
        """After how many seconds the first lease ends unless it is renewed; 0 where there is none. For any thread."""
        return max(0.0, self._end_at - now)
