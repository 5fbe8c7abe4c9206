"""The messages that a follower sends to its source about one resource."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..belief import History
from ..events import Bad, Delete, Upsert
from .resource_spec import Resource


class ListStarted(msgspec.Struct, frozen=True):
    """The first part of a list has come."""

    resource: Resource


class FullList(msgspec.Struct, frozen=True):
    """All objects of the resource.

    ``history`` and ``difference``: whether the server is the known one, checked after the list came, and if not, why.
    ``uid`` and ``version``: the server and its newest version. ``unnamed``: how many objects of the list have no
    readable name; a missing object may be one of them. ``decode_s``: the seconds of decoding; ``client_s``: those of
    everything before it.
    """

    resource: Resource
    objects: list[Upsert | Bad]
    history: History
    difference: str
    uid: str
    version: str
    unnamed: int = 0
    client_s: float = 0.0
    decode_s: float = 0.0


class Synced(msgspec.Struct, frozen=True):
    """The watch is open and the server has answered: all changes up to now have been sent."""

    resource: Resource


class WatchEnded(msgspec.Struct, frozen=True):
    """The server has ended the watch without an error. The follower opens another one at once."""

    resource: Resource


class Changes(msgspec.Struct, frozen=True):
    """Events in order, up to ``version``. ``decode_s``: the seconds of decoding."""

    resource: Resource
    events: list[Upsert | Bad | Delete]
    version: str
    decode_s: float = 0.0


class Interrupted(msgspec.Struct, frozen=True):
    """The connection is interrupted. ``refused``: waiting alone will not help."""

    resource: Resource
    error: str
    refused: bool


class Unserved(msgspec.Struct, frozen=True):
    """The server no longer serves a resource that was listed before."""

    resource: Resource


class Crashed(msgspec.Struct, frozen=True):
    """The follower has ended with an exception that it does not handle."""

    resource: Resource
    failure: Exception


Message: TypeAlias = ListStarted | FullList | Synced | WatchEnded | Changes | Interrupted | Unserved | Crashed
"""All messages of a follower."""
