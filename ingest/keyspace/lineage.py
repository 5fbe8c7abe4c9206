"""Whether the server that answers now continues the history that we know. Pure.

An etcd that lost its data directory, or another one behind the same address, answers like a healthy server with few
keys. If we believed it, the tables would be emptied. Its cluster id may even be the same, because a statically
configured etcd computes it from its name and addresses. So we compare everything that can only grow within one history,
and the keys that changed last: a server restored from an older backup does not have them, whatever was written to it
since.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias
from zlib import crc32

import msgspec

from ..belief import History

_WITNESSES = 8


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


def fingerprint(kv: Versioned | None) -> Fingerprint:
    """The fingerprint of a version of a key."""
    return None if kv is None else (kv.mod_revision, kv.create_revision, crc32(kv.value))


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

    def compare_witness(self, key: bytes, kv: Versioned | None, *, now: bool) -> History:
        """Compare a witness with the key ``kv`` at the witness's revision; or ``now``, if that revision is compacted.

        The result is NONE if the key has changed since, which proves nothing.
        """
        revision, expected = self._witnesses[key]
        if now and (kv is None or kv.mod_revision > revision):
            return History.NONE
        return History.SAME if fingerprint(kv) == expected else History.OTHER

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

    def witness(self, key: bytes, revision: int, version: Fingerprint) -> None:
        """Remember the version of a key at this revision, also a deletion. Only the latest few are kept."""
        self._witnesses.pop(key, None)
        self._witnesses[key] = revision, version
        if len(self._witnesses) > _WITNESSES:
            del self._witnesses[next(iter(self._witnesses))]
