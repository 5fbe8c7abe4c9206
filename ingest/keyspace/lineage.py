"""Whether the server that answers now continues the history that we know. Pure.

An etcd that lost its data directory, or another one behind the same address, answers like a healthy server with few
keys. If we believed it, the tables would be emptied. Its cluster id may even be the same, because a statically
configured etcd computes it from its name and addresses. So we compare everything that can only grow within one history,
and the keys that changed last: a server restored from an older backup does not have them, whatever was written to it
since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias
from zlib import crc32

import msgspec

from ..belief import History

WITNESSES = 8
"""How many of the keys that changed last are compared after a reconnect, and how many of those that were deleted."""


class Header(Protocol):
    """The header of every response of etcd: the state of the server."""

    @property
    def cluster_id(self) -> int:
        """The etcd cluster's id."""
        ...

    @property
    def revision(self) -> int:
        """The store's revision."""
        ...

    @property
    def raft_term(self) -> int:
        """The term of the server's leader."""
        ...


class Versioned(Protocol):
    """A key at one revision."""

    @property
    def key(self) -> bytes:
        """The key."""
        ...

    @property
    def value(self) -> bytes:
        """Its value."""
        ...

    @property
    def mod_revision(self) -> int:
        """When it changed last."""
        ...

    @property
    def create_revision(self) -> int:
        """When it was created."""
        ...


Fingerprint: TypeAlias = tuple[int, int, int] | None
"""Identifies one version of a key: revision of its last change, revision of its creation, and a checksum of its value.

The checksum is the same in every process. None: the key is deleted.
"""


Look: TypeAlias = Callable[[bytes, int], tuple[Versioned | None, bool]]
"""Returns a key as it was at a revision. If that is compacted: as it is now, and True."""


def fingerprint(kv: Versioned | None) -> Fingerprint:
    """The fingerprint of a version of a key."""
    return None if kv is None else (kv.mod_revision, kv.create_revision, crc32(kv.value))


def _changed_at(revision: int, version: Fingerprint) -> int:
    """When a witness changed last. A deletion is recorded at its own revision."""
    return revision if version is None else version[0]


def _put(look: Look, key: bytes, revision: int, version: Fingerprint) -> tuple[History, bool]:
    """What the version of a key says, and whether the key is gone now."""
    kv, is_compacted = look(key, revision)
    if is_compacted and (kv is None or kv.mod_revision > revision):
        return History.UNPROVEN, kv is None
    return (History.SAME if fingerprint(kv) == version else History.OTHER), False


def _deletion(look: Look, key: bytes, revision: int) -> tuple[History, bool]:
    """What a deletion says. That the key is not there proves nothing: another server may never have had it."""
    kv, is_compacted = look(key, revision)
    if kv is not None and kv.mod_revision <= revision:
        return History.OTHER, False
    before, is_unknown = (None, True) if is_compacted else look(key, revision - 1)
    if is_unknown:
        return History.UNPROVEN, False
    return (History.OTHER if before is None else History.SAME), False


class _Dump(msgspec.Struct, frozen=True):
    """The form in which a lineage is saved beside a dump."""

    etcd: int
    revision: int
    raft_term: int
    witnesses: list[tuple[bytes, int, Fingerprint]]


class Lineage:
    """The known history of one etcd: its cluster id, its latest revision and term, and the keys that changed last."""

    def __init__(self) -> None:
        """Nothing is known: the first server that answers is believed."""
        self._cluster_id = 0
        self._revision = 0
        self._raft_term = 0
        self._witnesses: dict[bytes, tuple[int, Fingerprint]] = {}

    @property
    def known(self) -> bool:
        """Whether any history is known yet."""
        return self._cluster_id != 0

    @property
    def cluster_id(self) -> int:
        """The etcd cluster whose history this is; 0: none yet."""
        return self._cluster_id

    @property
    def revision(self) -> int:
        """The latest revision that is known."""
        return self._revision

    @property
    def witnesses(self) -> dict[bytes, int]:
        """The keys to compare after a reconnect, each with the revision up to which its prefix was known."""
        return {key: revision for key, (revision, _) in self._witnesses.items()}

    def broken_by(self, header: Header) -> str:
        """Why the server cannot be the one we knew; empty if it can.

        ``header`` must come from a linearizable read: other answers of a lagging member may be older than our state.
        """
        if not self.known:
            return ""
        if header.cluster_id != self._cluster_id:
            return f"its cluster id was {self._cluster_id:x}, is {header.cluster_id:x}"
        if header.revision < self._revision:
            return f"its revision was {self._revision}, is {header.revision}"
        if header.raft_term < self._raft_term:
            return f"its raft term was {self._raft_term}, is {header.raft_term}"
        return ""

    def dump(self) -> str:
        """The lineage as text, for a warm start with our rows; empty if nothing is known."""
        if not self.known:
            return ""
        witnesses = [(key, *seen) for key, seen in self._witnesses.items()]
        return msgspec.json.encode(_Dump(self._cluster_id, self._revision, self._raft_term, witnesses)).decode()

    def load(self, dump: str) -> None:
        """Continue the history that another process knew. An invalid text is ignored."""
        try:
            before = msgspec.json.decode(dump, type=_Dump)
        except (msgspec.DecodeError, ValueError):
            return
        self._cluster_id, self._revision, self._raft_term = before.etcd, before.revision, before.raft_term
        self._witnesses = {key: (revision, version) for key, revision, version in before.witnesses}

    def compare(self, look: Look) -> History:
        """Compare the witnesses with the server. The result is SAME as well if there are none.

        A key that has changed since proves nothing. One that is gone may have been deleted since, or been lost with the
        end of the history: that is UNPROVEN, unless a witness that changed at the same time or later is as it was.
        """
        unchanged = lost = 0
        for key, (revision, version) in self._witnesses.items():
            answer, is_gone = _deletion(look, key, revision) if version is None else _put(look, key, revision, version)
            if answer is History.OTHER:
                return History.OTHER
            if answer is History.SAME:
                unchanged = max(unchanged, _changed_at(revision, version))
            elif is_gone:
                lost = max(lost, _changed_at(revision, version))
        return History.SAME if lost <= unchanged and (unchanged or not self._witnesses) else History.UNPROVEN

    def begin(self, header: Header) -> None:
        """Follow this server's history from now on."""
        self._cluster_id = header.cluster_id
        self._revision = header.revision
        self._raft_term = header.raft_term
        self._witnesses.clear()

    def observe(self, revision: int) -> None:
        """The history has reached at least this revision."""
        self._revision = max(self._revision, revision)

    def observe_header(self, header: Header) -> None:
        """Take over the header of a linearizable read from the known history."""
        self._revision = max(self._revision, header.revision)
        self._raft_term = max(self._raft_term, header.raft_term)

    def witness(self, keys: Sequence[tuple[bytes, int, Fingerprint]]) -> None:
        """Remember keys with their versions at a revision. Of those that are there the last eight are kept.

        So are the eight that were deleted last, but in place of none of the others: after a compaction a deletion shows
        nothing, and it lost no row.

        ``keys`` are all that changed, or at least the last eight of them, in any order. What is older than the version
        that is known of a key is passed over: a watch may tell what a list has overtaken.
        """
        for key, revision, version in keys:
            known = self._witnesses.get(key)
            if known is None or _changed_at(*known) <= _changed_at(revision, version):
                self._witnesses[key] = revision, version
        self._keep_newest([key for key, (_, version) in self._witnesses.items() if version is None])
        self._keep_newest([key for key, (_, version) in self._witnesses.items() if version is not None])

    def _keep_newest(self, keys: list[bytes]) -> None:
        if len(keys) > WITNESSES:
            keys.sort(key=lambda key: _changed_at(*self._witnesses[key]))
            for key in keys[:-WITNESSES]:
                del self._witnesses[key]
