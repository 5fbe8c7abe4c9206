"""What we know of the programs that write keys which share a heartbeat. Pure: time comes in.

There may be two of them: clustermesh-apiserver writes the heartbeat and its own cluster's state, a kvstoremesh beside
it copies other clusters' state. The heartbeat of the one says nothing of the other. Whose key it is, its lease tells.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..belief import Absence, Canaries, Evidence, History, Verdict, WriterActivity, WriterWatch, may_delete
from ..etcd import KeyValue, Lease
from .heartbeat import Heartbeat

_RENEWAL_SLACK_S = 2.0


class _Part:
    """What was seen of the writer of one feed since the last doubt began."""

    __slots__ = ("absence", "changes", "renewed", "watch")

    def __init__(self, lease_time_s: float) -> None:
        self.watch = WriterWatch(lease_time_s)
        self.renewed: set[bytes] = set()
        self.absence = Absence.LISTED_WITHOUT
        self.changes = 0

    def restart(self) -> None:
        self.watch.restart()
        self.renewed.clear()


class _LeaseSeen:
    """A lease as it was when we looked first on this connection."""

    __slots__ = ("at", "left_s")

    def __init__(self, left_s: int, at: float) -> None:
        self.left_s = left_s
        self.at = at


class Writers:
    """The evidence on the writers behind one heartbeat. For one thread at a time."""

    def __init__(self, heartbeat_timeout_s: float, lease_time_s: float) -> None:
        """Nothing seen."""
        self.heartbeat = Heartbeat(heartbeat_timeout_s)
        self._lease_time_s = lease_time_s
        self._parts: dict[str, _Part] = {}
        self._canaries: dict[bytes, int] = {}
        self._versions: dict[bytes, tuple[int, int]] = {}
        self._history: History = History.NONE
        self._difference = ""
        self._etcd_id = 0
        self._leases: dict[int, _LeaseSeen] = {}
        self._connected_at = 0.0
        self.accepted = False
        """The operator said to believe this etcd, canaries or not; until the next connection."""

    # --- what happens -------------------------------------------------------------------------------------------------

    def connected(self, etcd_id: int, heartbeat: KeyValue | None, now: float) -> None:
        """A connection begins. A heartbeat that is there is no act: its writer may be long dead."""
        self._etcd_id = etcd_id
        self._connected_at = now
        self._canaries.clear()
        self._leases.clear()
        self.accepted = False
        if heartbeat is None:
            self.heartbeat.mark_absent()
        else:
            self.heartbeat.beat(etcd_id, heartbeat.mod_revision, now)

    def identified(self, history: History, difference: str, feeds: Iterable[str]) -> None:
        """Who answers, and which feeds will be listed."""
        resumed = history is History.SAME and self._history in (History.OTHER, History.UNPROVEN)
        if not resumed:  # else: still the other server, and what is withheld is still withheld
            self._history, self._difference = history, difference
        for feed in feeds:
            part = self._part(feed)
            if history is not History.SAME:  # its list is new evidence: how a key went from another etcd says nothing
                part.absence = Absence.LISTED_WITHOUT
            if part.absence is Absence.LISTED_WITHOUT:
                part.restart()  # else: what its writer did on this etcd since its lease ended still counts

    def beat(self, kv: KeyValue, now: float) -> None:
        """The heartbeat changed while we watched it."""
        self.heartbeat.beat(self._etcd_id, kv.mod_revision, now)
        if self._vouches(kv.lease):
            for part in self._parts.values():
                part.watch.acted(now)

    def canary_found(
        self, kv: KeyValue, now: float, parts: Iterable[tuple[str, tuple[bytes, ...]]], *, written: bool
    ) -> None:
        """A canary was found, or ``written`` while we watched. ``parts``: the feeds and the canaries of each.

        It counts as written anew if this very etcd had none, or an older one, when we looked last.
        """
        unknown = (self._etcd_id, 0 if written else kv.mod_revision)
        etcd_id, revision = self._versions.get(kv.key, unknown)
        if written and etcd_id != self._etcd_id:
            etcd_id, revision = unknown
        self._versions[kv.key] = self._etcd_id, kv.mod_revision
        self._canaries[kv.key] = kv.lease
        if etcd_id == self._etcd_id and revision < kv.mod_revision:
            for feed, canaries in parts:
                if kv.key in canaries:
                    self._renewed(self._part(feed), kv.key, canaries, now)

    def _renewed(self, part: _Part, canary: bytes, canaries: tuple[bytes, ...], now: float) -> None:
        part.watch.acted(now)
        part.renewed.add(canary)
        if part.renewed.issuperset(canaries):
            part.watch.resynced()

    def canary_lost(self, key: bytes) -> None:
        """A canary went: its writer is away, or has not finished. If it comes again, it is another one."""
        self._canaries.pop(key, None)
        self._versions[key] = self._etcd_id, 0

    def observe_writes(self, feed: str, changes: int, lease: int, now: float) -> None:
        """So many keys of a feed were written since we began to count, the last one under this lease."""
        part = self._part(feed)
        if changes != part.changes:
            part.changes = changes
            if self._vouches(lease):
                part.watch.acted(now)

    def start_doubt(self, feed: str, absence: Absence) -> None:
        """A key of the feed went with its lease, or nobody knows how: what was seen before does not count."""
        part = self._part(feed)
        part.restart()
        part.absence = absence

    # --- leases -------------------------------------------------------------------------------------------------------

    def leases(self, canaries: Iterable[bytes]) -> set[int]:
        """The leases that these canaries hang on."""
        return {self._canaries[canary] for canary in canaries if self._canaries.get(canary)}

    def observe_lease(self, feed: str, lease: int, found: Lease | None, now: float) -> None:
        """A lease of the feed's writer has so much time left; one that has more than it should was renewed."""
        if found is None:
            self._leases.pop(lease, None)
            return
        before = self._leases.setdefault(lease, _LeaseSeen(found.left_s, now))
        if found.left_s > before.left_s - (now - before.at) + _RENEWAL_SLACK_S:
            self._part(feed).watch.acted(now)

    # --- what follows -------------------------------------------------------------------------------------------------

    def missing(self, canaries: Iterable[bytes]) -> list[bytes]:
        """The canaries among them that are not there; none where the operator believes the etcd anyway."""
        return [] if self.accepted else [canary for canary in canaries if canary not in self._canaries]

    def verdict(
        self,
        feed: str,
        canaries: tuple[bytes, ...],
        absence: Absence | None,
        now: float,
        *,
        history: History | None = None,
    ) -> Verdict:
        """Whether keys of the feed that went in this way are gone; without ``absence``, those that are withheld."""
        part = self._part(feed)
        state = Canaries.NOT_USED if not canaries else Canaries.PRESENT
        gone = self.missing(canaries)
        if gone:
            state = Canaries.MISSING
        silent = self.is_silent(now)
        return may_delete(
            Evidence(
                absence=part.absence if absence is None else absence,
                history=self._history if history is None else history,
                writer=part.watch.seen(now, silent=silent),
                canaries=state,
                accepted=self.accepted,
                detail=gone[0].decode("utf-8", "backslashreplace") if gone else self._difference,
            )
        )

    def explains_lists(self, feed: str) -> bool:
        """Whether to ask how each key went that a list leaves out.

        Only the etcd that told us of them knows; and what its writer left out when it wrote all anew is gone.
        """
        return self._history is History.SAME and self._part(feed).watch.seen(0.0) is not WriterActivity.RESYNCED

    def nothing_withheld(self, feed: str) -> None:
        """Nothing of the feed is withheld."""
        self._part(feed).absence = Absence.LISTED_WITHOUT

    def mark_known(self) -> None:
        """Nothing at all is withheld any more: this is the server that we know."""
        self._history, self._difference = History.SAME, ""

    def is_silent(self, now: float) -> bool:
        """Whether the heartbeat is older than it may be, or was never there for so long."""
        if self.heartbeat.silent_s(now) is None:
            return now - self._connected_at > self.heartbeat.timeout_s
        return self.heartbeat.is_silent(now)

    def describe_silence(self, now: float) -> str:
        """What to say of that."""
        silent_s = self.heartbeat.silent_s(now)
        if silent_s is None:
            return "its writer is silent: there is no heartbeat"
        return f"its writer is silent: no heartbeat for {silent_s:.0f} s"

    def due_in(self, now: float) -> Iterable[float | None]:
        """In how many seconds a writer will have caught up."""
        return [part.watch.due_in(now) for part in self._parts.values()]

    def _part(self, feed: str) -> _Part:
        part = self._parts.get(feed)
        if part is None:
            part = self._parts[feed] = _Part(self._lease_time_s)
        return part

    def _vouches(self, lease: int) -> bool:
        """Whether who writes under this lease also wrote the canaries.

        Else it may be another program; or the same one, started again, that has not written all anew yet, beside
        canaries of its former life. Those tell that they live when their own lease is renewed.
        """
        leases = set(self._canaries.values())
        return not leases or 0 in leases or lease in leases
