"""Whether the server that answers now continues the history that we know. Pure.

An etcd that lost its data directory, or another one behind the same address, answers like a healthy server that holds
few keys: believing it would empty the tables. Its cluster id may even be the same, since a statically configured etcd
computes it from its name and addresses. So we look at everything that can only grow in one history, and at keys whose
last change we have seen.
"""

from __future__ import annotations

from typing import Protocol


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


class Lineage:
    """What we know of one etcd's history: its id, how far it had come, and when some of its keys changed last."""

    def __init__(self) -> None:
        """Nothing known: whoever answers first is believed."""
        self._cluster_id = 0
        self._revision = 0
        self._raft_term = 0
        self._witnesses: dict[bytes, int] = {}

    @property
    def known(self) -> bool:
        """Whether any history is known yet."""
        return self._cluster_id != 0

    @property
    def witnesses(self) -> tuple[bytes, ...]:
        """The keys to ask for after a reconnect."""
        return tuple(self._witnesses)

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

    def contradicted_by(self, key: bytes, version: int | None) -> str:
        """Why the server cannot be the one we knew, if at the time that we know a witness's last change was this."""
        known = self._witnesses[key]
        return "" if version == known else f"its history differs at revision {known}"

    def begin(self, header: Header) -> None:
        """From now on this server's history is the one we know."""
        self._cluster_id = header.cluster_id
        self._revision = header.revision
        self._raft_term = header.raft_term
        self._witnesses.clear()

    def saw(self, revision: int) -> None:
        """The history came at least this far."""
        if revision > self._revision:
            self._revision = revision

    def witness(self, key: bytes, version: int) -> None:
        """The key changed last at that revision; some such keys will be asked for after a reconnect."""
        self._witnesses[key] = version

    def changed(self, key: bytes, version: int | None) -> None:
        """A key changed again, or went (None). Cheap for keys that are no witnesses."""
        if key in self._witnesses:
            if version is None:
                del self._witnesses[key]
            else:
                self._witnesses[key] = version
