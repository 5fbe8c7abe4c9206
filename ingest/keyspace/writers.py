"""The state of the programs that write keys which share a heartbeat, by heartbeat, canaries and leases. Pure.

In ClusterMesh layout there may be two: clustermesh-apiserver writes the heartbeat and the state of its own cluster, and
a kvstoremesh beside it copies the state of other clusters. The heartbeat of one says nothing about the other. The lease
of a key tells which of them wrote it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypeAlias

from ..belief import Absence, Canaries, Evidence, History, Verdict, WriterActivity, WriterWatch, may_delete
from ..etcd import KeyValue, Lease
from .heartbeat import Heartbeat

_Version: TypeAlias = tuple[bytes, int, int, int]
"""A version of a key: the key, the revisions of its creation and of its last change, and its lease."""

Canary: TypeAlias = tuple[bytes, int, int, int, int]
"""A canary as it was last known: its version, and the id of the etcd that had it first. Revision 0: it is gone."""

_RENEWAL_SLACK_S = 2.0
_UNSURE = (1 << 64) - 1
"""In place of a revision that a canary must exceed to count as written again: no revision proves it."""
_COPIES_MAX = 1000


class _Part:
    """What the writer of one feed has done since the last doubt began."""

    __slots__ = ("absence", "accepted", "announced_at", "changes", "newer", "renewed", "watch")

    def __init__(self, lease_time_s: float) -> None:
        self.watch = WriterWatch(lease_time_s)
        self.renewed: set[bytes] = set()
        self.absence = Absence.LISTED_WITHOUT
        self.accepted = False
        self.changes = 0
        self.newer: tuple[bytes, ...] = ()
        self.announced_at = 0

    def restart(self) -> None:
        self.watch.restart()
        self.renewed.clear()


class _LeaseSeen:
    """A lease as it was when this connection first queried it."""

    __slots__ = ("at", "left_s")

    def __init__(self, left_s: int, at: float) -> None:
        self.left_s = left_s
        self.at = at


class Writers:
    """The evidence on the writers behind one heartbeat. For one thread at a time."""

    def __init__(self, heartbeat_timeout_s: float, lease_time_s: float) -> None:
        """Nothing is known of the writers."""
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
        self._waives_canaries = False
        self._known_since: set[bytes] = set()
        self._lost_here: set[bytes] = set()
        self._outdated: set[bytes] = set()
        self._first_seen: dict[_Version, int] = {}
        self._is_origin_unknown = False

    # --- rows of before -----------------------------------------------------------------------------------------------

    def inherit(self, canaries: Sequence[Canary] | None) -> None:
        """There are rows of before, from the etcd and writers with these canaries; None if that is unknown."""
        self._is_origin_unknown = canaries is None
        for key, created, revision, lease, etcd_id in canaries or ():
            self._versions[key] = etcd_id, revision
            if created:
                self._first_seen[key, created, revision, lease] = etcd_id

    def canaries_known(self) -> list[Canary]:
        """What `inherit` needs in another process. Of a canary that is gone, only that it is."""
        known: dict[bytes, Canary] = {
            key: (key, 0, revision, 0, etcd_id) for key, (etcd_id, revision) in self._versions.items()
        }
        for (key, created, revision, lease), etcd_id in self._first_seen.items():
            if key in known and self._versions[key][1] == revision:
                known[key] = key, created, revision, lease, etcd_id
        return list(known.values())

    # --- events -------------------------------------------------------------------------------------------------------

    def connected(self, etcd_id: int, heartbeat: KeyValue | None, now: float) -> None:
        """A connection begins. An existing heartbeat is no sign of life: its writer may have died long ago."""
        self._etcd_id = etcd_id
        self._connected_at = now
        self._canaries.clear()
        self._lost_here.clear()
        self._leases.clear()
        if heartbeat is None:
            self.heartbeat.mark_absent()
        else:
            self.heartbeat.beat(etcd_id, heartbeat.mod_revision, now)

    def identified(self, history: History, difference: str, feeds: Iterable[str], *, is_shown: bool = False) -> None:
        """The server is identified. ``feeds`` will be listed.

        ``is_shown``: keys that are as they were show that it is the last one; an empty etcd cannot show that. Only then
        a list that the operator accepted without some canaries, and that has come, is enough for this connection too.
        """
        resumed = history is History.SAME and self.is_doubted
        if not resumed:  # otherwise it is still the other server, and deletes are still withheld
            self._history, self._difference = history, difference
        if history is not History.SAME:
            self._doubt_losses()
        is_interrupted = any(part.accepted for part in self._parts.values())
        if history is not History.SAME or not is_shown or is_interrupted:
            self._waives_canaries = False
        for part in self._parts.values():
            part.accepted = False
        for feed in feeds:
            part = self._part(feed)
            if history is not History.SAME:  # its list is new evidence; reasons from another etcd no longer count
                part.absence = Absence.LISTED_WITHOUT
            if part.absence is Absence.LISTED_WITHOUT:
                part.restart()  # otherwise the writes on this etcd since the lease ended still count

    def beat(self, kv: KeyValue, now: float) -> None:
        """The heartbeat changed while it was watched."""
        self.heartbeat.beat(self._etcd_id, kv.mod_revision, now)
        if self._vouches(kv.lease):
            for part in self._parts.values():
                part.watch.acted(now)

    def canary_found(
        self, kv: KeyValue, now: float, parts: Iterable[tuple[str, tuple[bytes, ...]]], *, written: bool
    ) -> None:
        """A canary was found, or ``written`` while it was watched. ``parts`` are the feeds with their canaries.

        It counts as written again if this etcd had none, or an older one, before. If this etcd may have lost a part of
        its history, a canary that is no newer says nothing of what was written in that. Neither does the very canary
        of another etcd: this one was restored from a backup of that.
        """
        unknown = (self._etcd_id, 0 if written else kv.mod_revision)
        etcd_id, revision = self._versions.get(kv.key, unknown)
        if written and (etcd_id != self._etcd_id or revision == _UNSURE):
            etcd_id, revision = unknown
        is_copy = self._is_copy(kv) and not written
        if not is_copy and (written or etcd_id != self._etcd_id or kv.mod_revision > revision):
            self._outdated.discard(kv.key)
        elif is_copy or ((kv.key in self._versions or self._is_origin_unknown) and self.is_doubted):
            self._outdated.add(kv.key)
        self._versions[kv.key] = self._etcd_id, kv.mod_revision
        self._canaries[kv.key] = kv.lease
        self._known_since.add(kv.key)
        if etcd_id == self._etcd_id and revision < kv.mod_revision:
            for feed, canaries in parts:
                if kv.key in canaries:
                    self._renewed(self._part(feed), kv.key, canaries, now)

    def _is_copy(self, kv: KeyValue) -> bool:
        """Whether another etcd had this version of a key. Leases have random numbers, so none is there twice."""
        version = kv.key, kv.create_revision, kv.mod_revision, kv.lease
        etcd_id = self._first_seen.setdefault(version, self._etcd_id)
        if len(self._first_seen) > _COPIES_MAX:
            del self._first_seen[next(iter(self._first_seen))]
        return bool(kv.lease) and etcd_id != self._etcd_id

    def _renewed(self, part: _Part, canary: bytes, canaries: tuple[bytes, ...], now: float) -> None:
        part.watch.acted(now)
        part.renewed.add(canary)
        if part.renewed.issuperset(canaries):
            part.watch.resynced()

    def canary_lost(self, key: bytes) -> None:
        """A canary is gone: its writer is away or has not finished. If it reappears, it counts as a new one."""
        self._canaries.pop(key, None)
        self._versions[key] = self._etcd_id, 0
        self._known_since.add(key)
        self._lost_here.add(key)

    def _doubt_losses(self) -> None:
        """What was lost before this connection may be there again, because the etcd may have been restored since."""
        for key, (etcd_id, revision) in self._versions.items():
            if not revision and key not in self._lost_here:
                self._versions[key] = etcd_id, _UNSURE

    @property
    def has_known_canaries(self) -> bool:
        """Whether any canary was ever found or lost."""
        return bool(self._versions)

    def canaries_lost_except(self, present: Collection[bytes]) -> None:
        """Only these canaries are there now: all others that were known are gone."""
        for key in [each for each in self._versions if each not in present]:
            self.canary_lost(key)

    def accept(self) -> None:
        """The operator accepts this etcd, even without the canaries that it lacks now.

        What the next list of each feed lacks may go. What goes later is judged as ever: it was there to be seen.
        """
        self._waives_canaries = True
        for part in self._parts.values():
            part.accepted = True
        self._known_since = set(self._canaries)

    def is_accepted(self, feed: str) -> bool:
        """Whether the next list of the feed is believed because the operator said so."""
        return self._part(feed).accepted

    def require_newer(self, feed: str, canaries: Iterable[bytes], revision: int = 0) -> None:
        """These canaries say nothing of the feed if they are older than this revision, at which it was announced.

        Neither does what its writer did before, under another config.
        """
        part = self._part(feed)
        part.newer = tuple(canaries)
        if part.newer and revision != part.announced_at:
            part.announced_at, part.absence = revision, Absence.LISTED_WITHOUT
            part.restart()

    def older_canary(self, feed: str) -> str:
        """A canary of the feed that says nothing of it; empty if there is none."""
        part = self._part(feed)
        older = [each for each in part.newer if self._revision(each) < part.announced_at]
        return _text(older[0]) if older else ""

    def listed(self, feed: str) -> None:
        """The feed was listed: what the operator accepted has been carried out."""
        self._part(feed).accepted = False

    def observe_writes(self, feed: str, changes: int, lease: int, now: float) -> None:
        """The number of keys of a feed that were written so far, and the lease of the last one."""
        part = self._part(feed)
        if changes > part.changes and self._vouches(lease):
            part.watch.acted(now)
        part.changes = changes  # a prefix that is read anew counts from 0

    def start_doubt(self, feed: str, absence: Absence) -> None:
        """A key of the feed expired, or is gone for an unknown reason: earlier signs of life no longer count."""
        part = self._part(feed)
        part.restart()
        part.absence = absence

    # --- leases -------------------------------------------------------------------------------------------------------

    def leases(self, canaries: Iterable[bytes]) -> set[int]:
        """The leases of these canaries."""
        return {self._canaries[canary] for canary in canaries if self._canaries.get(canary)}

    def observe_lease(self, feed: str, lease: int, found: Lease | None, now: float) -> None:
        """Take the remaining time of a lease of the feed's writer. If it is more than expected, it was renewed."""
        if found is None:
            self._leases.pop(lease, None)
            return
        before = self._leases.setdefault(lease, _LeaseSeen(found.left_s, now))
        if found.left_s > before.left_s - (now - before.at) + _RENEWAL_SLACK_S:
            self._part(feed).watch.acted(now)

    # --- conclusions --------------------------------------------------------------------------------------------------

    def needed(self, canaries: Iterable[bytes]) -> list[bytes]:
        """The canaries without which no list is complete: all but those that the operator accepted to be missing.

        One that has been there since is needed as ever.
        """
        return [canary for canary in canaries if not self._waives_canaries or canary in self._known_since]

    def missing(self, canaries: Iterable[bytes]) -> list[bytes]:
        """Those of the needed canaries that are missing."""
        return [canary for canary in self.needed(canaries) if canary not in self._canaries]

    def verdict(
        self,
        feed: str,
        canaries: tuple[bytes, ...],
        absence: Absence | None,
        now: float,
        *,
        history: History | None = None,
    ) -> Verdict:
        """Whether rows of keys that are gone for this reason may be deleted; without ``absence``, the withheld ones."""
        part = self._part(feed)
        state, detail = Canaries.NOT_USED if not canaries else Canaries.PRESENT, self._difference
        gone = self.missing(canaries)
        if gone:
            state, detail = Canaries.MISSING, _text(gone[0])
        elif not self._outdated.isdisjoint(canaries):
            state = Canaries.OUTDATED
        elif older := self.older_canary(feed):
            state, detail = Canaries.OUTDATED, f"the cluster config is newer than {older}"
        silent = self.is_silent(now)
        return may_delete(
            Evidence(
                absence=part.absence if absence is None else absence,
                history=self._history if history is None else history,
                writer=part.watch.seen(now, silent=silent),
                canaries=state,
                accepted=part.accepted and absence is None,
                detail=detail,
            )
        )

    def explains_lists(self, feed: str) -> bool:
        """Whether to find out why each key that a list lacks is gone.

        Only the etcd that the keys came from knows. Keys that its writer did not write again are gone anyway, and so
        are those that the operator gave up.
        """
        part = self._part(feed)
        resynced = part.watch.seen(0.0) is WriterActivity.RESYNCED
        return self._history is History.SAME and not resynced and not part.accepted

    def nothing_withheld(self, feed: str) -> None:
        """No delete of the feed is withheld any more."""
        self._part(feed).absence = Absence.LISTED_WITHOUT

    def mark_known(self) -> None:
        """No delete is withheld any more: from now on this is the known server."""
        self._history, self._difference = History.SAME, ""
        self._outdated.clear()
        self._is_origin_unknown = False

    @property
    def is_doubted(self) -> bool:
        """Whether this is another server than the one that filled the tables, and has not been believed yet."""
        return self._history in (History.OTHER, History.UNPROVEN)

    def is_silent(self, now: float) -> bool:
        """Whether the heartbeat is overdue, or has been missing for that long."""
        if self.heartbeat.silent_s(now) is None:
            return now - self._connected_at > self.heartbeat.timeout_s
        return self.heartbeat.is_silent(now)

    def describe_silence(self, now: float) -> str:
        """The message about it."""
        silent_s = self.heartbeat.silent_s(now)
        if silent_s is None:
            return "its writer is silent: there is no heartbeat"
        return f"its writer is silent: no heartbeat for {silent_s:.0f} s"

    def due_in(self, now: float) -> Iterable[float | None]:
        """The seconds until each writer counts as caught up."""
        return [part.watch.due_in(now) for part in self._parts.values()]

    def _revision(self, canary: bytes) -> int:
        """The revision at which a canary was last written; that of one that is not needed does not matter."""
        return self._versions[canary][1] if canary in self._canaries else _UNSURE

    def _part(self, feed: str) -> _Part:
        part = self._parts.get(feed)
        if part is None:
            part = self._parts[feed] = _Part(self._lease_time_s)
        return part

    def _vouches(self, lease: int) -> bool:
        """Whether the owner of this lease also wrote the canaries.

        If not, it may be another program; or the same program after a restart, which has not written all keys again,
        so that the canaries are from before. A writer of canaries is alive if the lease of the canaries is renewed.
        """
        leases = set(self._canaries.values())
        return not leases or 0 in leases or lease in leases


def _text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")
