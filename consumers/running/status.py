"""How far each reconciler is with each object: a table, so that it can be read, watched and queried like any other."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Literal

import msgspec

from statedb import Index, Snapshot, Table, UniqueIndex

State = Literal["pending", "done", "error"]


class StatusKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """``object`` is the object's key as text, `object_name`."""

    reconciler: str
    object: str


class Status(msgspec.Struct, frozen=True, gc=False):
    """What became of one object at one reconciler.

    ``revision`` is the object's when it was looked at: where the object's own is higher by now, the state is about an
    older one. ``deleted``: the object is gone, and its removal from the world is not done yet. ``time`` (Unix seconds)
    is when the state was written; ``failures`` counts the tries that failed in a row.
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
    """One row per object and reconciler; a row goes when its object is removed from the world."""

    primary = UniqueIndex[StatusKey, Status](lambda status: status.key)
    by_object = Index[tuple[str, str], Status](lambda status: ((status.table, status.key.object),))
    by_state = Index[tuple[str, str], Status](lambda status: ((status.key.reconciler, status.state),))


def object_name(key: Hashable) -> str:
    """A key as text: text as it is, everything else as JSON.

    >>> object_name("web"), object_name(("default", 80))
    ('web', '["default",80]')
    """
    return key if isinstance(key, str) else msgspec.json.encode(key, enc_hook=str).decode()


def status_of(snapshot: Snapshot, reconciler: str, table: type[Table[Any, Any]], key: Hashable) -> Status:
    """The status of an object, pending where the reconciler has not seen it, or not as it is in this snapshot."""
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
