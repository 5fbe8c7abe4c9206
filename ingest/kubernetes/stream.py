"""Splits a stream of events into items. Pure.

A line is an event. When the connection breaks, an incomplete line is dropped, and the watch is resumed after the last
complete one.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from statedb.catalog.wire import DECODE_ERRORS

from .errors import ApiError, Broken
from .refusals import refusal
from .request import Request
from .resource_spec import Value
from .utf8 import repaired

EventType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

_LINE_BYTES = 64 << 20
_INITIAL_END = "k8s.io/initial-events-end"


class Item(msgspec.Struct, frozen=True):
    """An object of a list, or an event of a watch. ``version`` is the resourceVersion."""

    type: EventType
    namespace: str
    name: str
    version: str
    value: Value


class _Metadata(msgspec.Struct, rename={"version": "resourceVersion"}, gc=False):
    name: str = ""
    namespace: str = ""
    version: str = ""


class _Object(msgspec.Struct, gc=False):
    metadata: _Metadata


class _Event(msgspec.Struct):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: msgspec.Raw


class _Code(msgspec.Struct):
    code: int = 500


class _Bookmark(msgspec.Struct):
    """The metadata of a bookmark: that of an ordinary object, and whether a streamed list ends here."""

    class _Annotated(msgspec.Struct):
        annotations: dict[str, str] | None = None

    metadata: _Annotated


_EVENT_PREFIXES: tuple[tuple[bytes, EventType], ...] = (
    (b'{"type":"MODIFIED","object":', "MODIFIED"),
    (b'{"type":"ADDED","object":', "ADDED"),
    (b'{"type":"DELETED","object":', "DELETED"),
)

_read_object = msgspec.json.Decoder(_Object).decode
_read_event = msgspec.json.Decoder(_Event).decode
_read_bookmark = msgspec.json.Decoder(_Bookmark).decode


def item_of(kind: EventType, value: Value) -> Item:
    """An object with its metadata. Raises one of DECODE_ERRORS."""
    metadata = _read_object(value).metadata
    return Item(kind, metadata.namespace, metadata.name, metadata.version, value)


def ends_list(item: Item) -> bool:
    """Whether a bookmark ends a streamed list."""
    try:
        return (_read_bookmark(item.value).metadata.annotations or {}).get(_INITIAL_END) == "true"
    except DECODE_ERRORS:
        return False


class Lines:
    """Splits a stream into lines, whatever pieces it comes in."""

    def __init__(self, request: Request) -> None:
        """``request`` is used in error messages."""
        self._request = request
        self._rest: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without empty ones. Raises Broken if a line is too long."""
        if not self._size and data.find(b"\n") == len(data) - 1:
            return [data[:-1]] if len(data) > 1 else []  # one whole line, as an API server sends it
        first, *more = data.split(b"\n")
        self._rest.append(first)
        self._size += len(first)
        if self._size > _LINE_BYTES:
            raise Broken(f"{self._request}: an event of more than {_LINE_BYTES} bytes")
        if not more:
            return []
        *whole, last = more
        lines = [line for line in (b"".join(self._rest), *whole) if line]
        self._rest, self._size = [last], len(last)
        return lines


def event(request: Request, line: bytes) -> Item:
    """The event in a line. Bytes that are not UTF-8 become U+FFFD, as in Go.

    Raises Broken if it is not an event, and the corresponding error for an ERROR event.
    """
    try:
        return _parsed(request, line)
    except DECODE_ERRORS:
        text = repaired(line)
        if text is None:
            raise Broken(f"{request}: the line is not an event") from None
        return event(request, text)


def _parsed(request: Request, line: bytes) -> Item:
    """The event in a line, quickly: servers always write the same text around the object, so it can be cut out."""
    for head, kind in _EVENT_PREFIXES:
        if line.startswith(head) and line.endswith(b"}"):
            try:
                return item_of(kind, line[len(head) : -1])
            except msgspec.MsgspecError:
                break  # there is something after the object, or it is not an object
    event = _read_event(line)
    if event.type == "ERROR":
        raise _error(request, event.object)
    return item_of(event.type, event.object)


def _error(request: Request, status: msgspec.Raw) -> ApiError:
    """The exception for an error within a stream."""
    try:
        code = msgspec.json.decode(status, type=_Code).code
    except DECODE_ERRORS:
        code = 500
    return refusal(request, code, status)
