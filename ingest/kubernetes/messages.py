"""The messages that a follower sends to its source about one resource; a closed set."""

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

    ``history`` and ``difference``: whether the server is the one that we knew, asked after the list came; if not, why.
    ``uid`` and ``version``: which server it is, and how far it had come. ``unnamed``: how many objects of the list have
    no readable name. An object that is missing may be one of them. ``decode_s``: how long decoding took; ``client_s``:
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
    """The watch is open and the server has answered on it: everything up to now has been sent."""

    resource: Resource


class WatchEnded(msgspec.Struct, frozen=True):
    """The server has ended the watch without an error. The follower opens another one at once."""

    resource: Resource


class Changes(msgspec.Struct, frozen=True):
    """Events, in their order, up to ``version``. ``decode_s``: how long their decoding took. ``size``: their bytes."""

    resource: Resource
    events: list[Upsert | Bad | Delete]
    version: str
    decode_s: float = 0.0
    size: int = 0


class Interrupted(msgspec.Struct, frozen=True):
    """Nothing comes from the server now. ``refused``: waiting alone will not help."""

    resource: Resource
    error: str
    refused: bool


class Unserved(msgspec.Struct, frozen=True):
    """The server does not serve the resource any more, of which a list has come before."""

    resource: Resource


class Crashed(msgspec.Struct, frozen=True):
    """The thread has ended with an exception that it does not handle."""

    resource: Resource
    failure: Exception


Message: TypeAlias = ListStarted | FullList | Synced | WatchEnded | Changes | Interrupted | Unserved | Crashed
"""All messages of a follower."""


def weight(message: Message) -> int:
    """About how many bytes a message holds. A list counts for nothing: it must be held whole in any case."""
    return message.size if isinstance(message, Changes) else 0
