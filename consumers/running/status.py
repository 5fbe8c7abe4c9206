"""The table with the status of each object at each reconciler."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Literal

import msgspec

from statedb import Index, Snapshot, Table, UniqueIndex

State = Literal["pending", "done", "error"]


class StatusKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """``object`` is the object's key as text; see `object_name`."""

    reconciler: str
    object: str


class Status(msgspec.Struct, frozen=True, gc=False):
    """The status of one object at one reconciler.

    ``revision``: the revision of the object that the status is about; the object may have a newer one by now.
    ``deleted``: the row is deleted, but not yet its object in the outside world. ``time``: when the status was written,
    in Unix seconds. ``failures``: the number of consecutive failed tries.
    """

    key: StatusKey
    table: str
    state: State = "pending"
    revision: int = 0
    deleted: bool = False
    error: str = ""
    failures: int = 0
    time: float = 0.0


class Statuses(Table[StatusKey, Status], name="reconciliation"):
    """One row for each object and reconciler. It is deleted when the object has been deleted from the outside world."""

    primary = UniqueIndex[StatusKey, Status](lambda status: status.key)
    by_object = Index[tuple[str, str], Status](lambda status: ((status.table, status.key.object),))
    by_state = Index[tuple[str, str], Status](lambda status: ((status.key.reconciler, status.state),))


def object_name(key: Hashable) -> str:
    """A key as text: a string is unchanged, everything else is JSON.

    >>> object_name("web"), object_name(("default", 80))
    ('web', '["default",80]')
    """
    return key if isinstance(key, str) else msgspec.json.encode(key, enc_hook=str).decode()


def status_of(snapshot: Snapshot, reconciler: str, table: type[Table[Any, Any]], key: Hashable) -> Status:
    """The status of an object; pending if the reconciler has not processed the revision of this snapshot."""
    status_key = StatusKey(reconciler, object_name(key))
    entry = snapshot[table].entry(key)
    revision = entry.revision if entry is not None else 0
    found = snapshot[Statuses].get(status_key)
    if found is None or found.revision < revision:
        return Status(status_key, table.name, revision=revision)
    return found


def summary(statuses: Iterable[Status], now: float) -> str:
    """Several statuses of one object in one line, errors first; ``now`` is Unix seconds.

    >>> summary([Status(StatusKey("foo", "a"), "t", "done", time=7.0), Status(StatusKey("bar", "a"), "t", "error",
    ...     error="OSError: full")], now=10.0)
    'Errored: bar (OSError: full), Done: foo (3.0s ago)'
    """
    by_state: dict[State, list[str]] = {"error": [], "pending": [], "done": []}
    for status in statuses:
        details = {"error": f" ({status.error})", "pending": "", "done": f" ({now - status.time:.1f}s ago)"}
        by_state[status.state].append(status.key.reconciler + details[status.state])
    words = {"error": "Errored", "pending": "Pending", "done": "Done"}
    return ", ".join([f"{words[state]}: {' '.join(names)}" for state, names in by_state.items() if names])
