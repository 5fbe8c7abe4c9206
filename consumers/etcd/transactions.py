"""One transaction of a writer: the leases of its keys, the fence of the leader, and what a mark requires."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from .batches import Operation
from .election import Election
from .present import Present
from .store import Commit, Store, encode
from .writer_state import WriterState

CommitFunction = Callable[
    [list[tuple[bytes, bytes, int]], list[bytes], tuple[bytes, bytes] | None, Mapping[bytes, int]], Commit
]
"""Writes a transaction, as `Store.commit` does."""


class Written(msgspec.Struct, frozen=True):
    """The outcome: why the server refused the transaction, both empty on success; values with leases, and the revision.

    ``size``: the number of its operations, or that of its conditions if these are more.
    """

    refusal: str = ""
    reason: str = ""
    values: Mapping[str, tuple[bytes, int]] = {}
    revision: int = 0
    size: int = 0


class Transactions:
    """The transactions of one connection. For the writer's thread."""

    def __init__(
        self,
        store: Store,
        state: WriterState,
        present: Present,
        election: Election | None,
        *,
        clock: Callable[[], float],
        now: Callable[[], bytes],
    ) -> None:
        """``now`` returns the time as the value of a mark."""
        self._store = store
        self._desired = state.desired
        self._leases = state.leases
        self._present = present
        self._election = election
        self._clock = clock
        self._now = now

    def write(self, part: Sequence[Operation], commit: CommitFunction, witnesses_max: int) -> Written:
        """Write one transaction. Raises what the store raises."""
        written = [each for each in part if each.value is not None]
        try:
            leases = self._leases.assign([each.key for each in written], self._present, self._grant)
        except Exception as error:
            if getattr(error, "refusal", "") != "no space":
                raise
            return Written("no space", str(error))  # no lease is granted either
        values: dict[str, tuple[bytes, int]] = {}
        for each in written:
            value = each.value or (self._now() if self._desired.is_mark(each.key) else b"")
            values[each.key] = value, leases[each.key]
        puts = [(encode(key), value, lease) for key, (value, lease) in values.items()]
        fence = None if self._election is None else self._election.fence
        deletes = [encode(each.key) for each in part if each.value is None]
        witnesses = self._witnesses(part, witnesses_max)
        done = commit(puts, deletes, fence, witnesses)
        return Written(done.refusal, done.reason, values, done.revision, max(len(part), len(witnesses)))

    def _witnesses(self, part: Sequence[Operation], most: int) -> dict[bytes, int]:
        """A key of each lease if the part writes a mark, which tells that all keys exist; otherwise none."""
        if not self._desired.any_mark(part):
            return {}
        return {encode(key): lease for lease, key in self._present.witnesses(most).items()}

    def delete_alone(self, key: str) -> str:
        """Delete a key by a request of its own. Returns why it is denied, or an empty text."""
        try:
            self._store.delete(encode(key))
        except Exception as error:
            if getattr(error, "refusal", "") != "denied":
                raise
            return str(error)
        return ""

    def _grant(self) -> int:
        lease = self._store.grant(self._leases.ttl_s)
        self._leases.granted(lease, self._clock())
        return lease
