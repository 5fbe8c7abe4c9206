"""What a follower tells the source about one resource; a closed set."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..belief import History
from ..events import Bad, Delete, Upsert
from .resource import Resource


class Listing(msgspec.Struct, frozen=True):
    """The first part of a list has come."""

    resource: Resource


class Snapshot(msgspec.Struct, frozen=True):
    """All objects of the resource.

    ``history`` and ``difference``: whether the server is the one that we knew, asked after the list came; if not, why.
    ``unnamed``: how many objects of the list cannot be told apart, so that an object which is missing may be one of
    them. ``decode_s``: how long decoding took; ``client_s``: everything before it.
    """

    resource: Resource
    objects: list[Upsert | Bad]
    history: History
    difference: str
    unnamed: int = 0
    client_s: float = 0.0
    decode_s: float = 0.0


class InStep(msgspec.Struct, frozen=True):
    """The watch stands, and the server has spoken: what has been told so far is what it says now."""

    resource: Resource


class Closed(msgspec.Struct, frozen=True):
    """The server has ended the watch in good order; it is taken up again at once."""

    resource: Resource


class Happened(msgspec.Struct, frozen=True):
    """Events, in their order. ``decode_s``: how long their decoding took. ``size``: their bytes."""

    resource: Resource
    events: list[Upsert | Bad | Delete]
    decode_s: float = 0.0
    size: int = 0


class Lost(msgspec.Struct, frozen=True):
    """We do not hear the server now. ``refused``: waiting alone will not help."""

    resource: Resource
    error: str
    refused: bool


class Ended(msgspec.Struct, frozen=True):
    """The thread has ended against expectation."""

    resource: Resource
    failure: Exception


Message: TypeAlias = Listing | Snapshot | InStep | Closed | Happened | Lost | Ended
"""All that a follower can say."""


def weight(message: Message) -> int:
    """About how many bytes a message holds. A list counts for nothing: it must be held whole in any case."""
    return message.size if isinstance(message, Happened) else 0
