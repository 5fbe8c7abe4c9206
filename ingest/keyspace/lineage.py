"""Whether the server that answers now continues the history that we know. Pure.

An etcd that lost its data directory, or another one behind the same address, answers like a healthy server that holds
few keys: believing it would empty the tables. Its cluster id may even be the same, since a statically configured etcd
computes it from its name and addresses. So we look at everything that can only grow in one history, and at the keys
that changed last: an older backup has them not, whatever was written to it since it was restored.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias
from zlib import crc32

import msgspec

from ..belief import History

_WITNESSES = 8


class Header(Protocol):
    """What every response of etcd tells about the server's state."""

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
"""What a key looked like: last change, creation, and a sum of the value that is the same in every process.

None: the key is deleted.
"""


def fingerprint(kv: Versioned | None) -> Fingerprint:
    """What tells one version of a key from all others."""
    return None if kv is None else (kv.mod_revision, kv.create_revision, crc32(kv.value))


class _Dump(msgspec.Struct, frozen=True):
    """What is kept beside a dump."""

    etcd: int
    revision: int
    raft_term: int
    witnesses: list[tuple[bytes, int, Fingerprint]]


class Lineage:
    """What we know of one etcd's history: its id, how far it had come, and how the keys looked that changed last."""

    def __init__(self) -> None:
        """Nothing known: whoever answers first is believed."""
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
        """The keys to ask for after a reconnect, each with the revision up to which we knew its prefix then."""
        return {key: revision for key, (revision, _) in self._witnesses.items()}

    def broken_by(self, header: Header) -> str:
        """Why the server cannot be the one we knew; empty if it can.

        ``header`` is that of a linearizable read: a lagging member's other answers may be older than ours.
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
        """All of this as text, for whoever begins with our rows; empty if nothing is known."""
        if not self.known:
            return ""
        witnesses = [(key, *seen) for key, seen in self._witnesses.items()]
        return msgspec.json.encode(_Dump(self._cluster_id, self._revision, self._raft_term, witnesses)).decode()

    def load(self, dump: str) -> None:
        """Go on with the history that another process knew. A text that is none is passed over."""
        try:
            before = msgspec.json.decode(dump, type=_Dump)
        except (msgspec.DecodeError, ValueError):
            return
        self._cluster_id, self._revision, self._raft_term = before.etcd, before.revision, before.raft_term
        self._witnesses = {key: (revision, version) for key, revision, version in before.witnesses}

    def compare_witness(self, key: bytes, kv: Versioned | None, *, now: bool) -> History:
        """What a witness says. ``kv`` is the key at the witness's revision; or as it is ``now``, where that revision is
        compacted. NONE: it has changed since, and says nothing.
        """
        revision, expected = self._witnesses[key]
        if now and (kv is None or kv.mod_revision > revision):
            return History.NONE
        return History.SAME if fingerprint(kv) == expected else History.OTHER

    def begin(self, header: Header) -> None:
        """From now on this server's history is the one we know."""
        self._cluster_id = header.cluster_id
        self._revision = header.revision
        self._raft_term = header.raft_term
        self._witnesses.clear()

    def observe(self, revision: int) -> None:
        """The history came at least this far."""
        self._revision = max(self._revision, revision)

    def observe_header(self, header: Header) -> None:
        """A linearizable read came from the history that we know."""
        self._revision = max(self._revision, header.revision)
        self._raft_term = max(self._raft_term, header.raft_term)

    def witness(self, key: bytes, revision: int, version: Fingerprint) -> None:
        """At this revision the key looked like that. The latest few are kept, a deletion as well as a change."""
        self._witnesses.pop(key, None)
        self._witnesses[key] = revision, version
        if len(self._witnesses) > _WITNESSES:
            del self._witnesses[next(iter(self._witnesses))]
