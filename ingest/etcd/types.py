"""The types of answers. At run time they are protobuf messages, whose classes type checkers cannot see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

PUT = 0
DELETE = 1
"""Kinds of events."""


class Header(Protocol):
    """The header of every response: the state of the server. ``revision`` is that of the store, not of a key."""

    cluster_id: int
    member_id: int
    revision: int
    raft_term: int


class KeyValue(Protocol):
    """A key as it was at one revision. ``lease`` 0 means none; ``version`` counts its puts since it was created."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


class WatchEvent(Protocol):
    """A put or a deletion. Of a deletion only the key and ``mod_revision`` are set."""

    type: int
    kv: KeyValue


class Answer(msgspec.Struct, frozen=True):
    """The answer to one key's read: ``kv`` is None where there is no such key."""

    header: Header
    kv: KeyValue | None


class Lease(msgspec.Struct, frozen=True):
    """A lease: the time for which it was granted, and the time that is left, in seconds."""

    granted_s: int
    left_s: int


class Page(msgspec.Struct, frozen=True):
    """A part of a list, in key order. All pages of a list show the store at one ``revision``."""

    header: Header
    kvs: Sequence[KeyValue]
    revision: int
    more: bool


class WatchBatch(msgspec.Struct, frozen=True):
    """Events of one watched prefix, in the order of revisions; all events of a revision are in one batch.

    A batch without events reports progress only. A watch from ``resume`` on sees exactly what follows this batch.
    """

    prefix: bytes
    events: Sequence[WatchEvent]
    resume: int


Refusal = Literal["", "too large", "too many", "no space", "denied", "no lease", "fenced"]


class Commit(msgspec.Struct, frozen=True):
    """The outcome of a transaction: the ``revision`` at which it was written, or why the server refused all of it.

    too large    more bytes than the server takes in one transaction
    too many     more operations than that
    no space     its database has reached the quota; single deletes still work, transactions may not (etcd 3.5.1)
    denied       the user may not write one of the keys
    no lease     one of the leases has ended
    fenced       the key of the fence does not have the expected value
    """

    revision: int = 0
    refusal: Refusal = ""
    reason: str = ""
