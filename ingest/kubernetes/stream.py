"""Splits a watch into items. Pure except for reading the answer.

A line is an event. When the connection breaks, an incomplete line is dropped, and the watch is resumed after the last
complete one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import msgspec

from statedb.catalog.wire import DECODE_ERRORS

from .api import Answer
from .errors import ApiError, Broken
from .refusals import refusal
from .request import Request
from .resource_spec import Value
from .utf8 import repaired

EventType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

_LINE_BYTES = 64 << 20
_EVENTS_MAX = 500
_EVENT_BYTES_MAX = 1 << 20
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


def item_batches(answer: Answer, check: Callable[[], None] = lambda: None) -> Iterator[list[Item]]:
    """The items of a stream, in batches as they arrive. ``check`` is called for each chunk, and may raise.

    Raises Broken for a line that is not an event, and the corresponding error for an ERROR event.
    """
    events: list[Item] = []
    size = 0
    for lines in _lines(answer, check):
        for line in lines:
            events.append(_event(answer.request, line))
            size += len(line)
        if events and (len(events) >= _EVENTS_MAX or size >= _EVENT_BYTES_MAX or not answer.has_more()):
            yield events
            events, size = [], 0
    if events:
        yield events


def _lines(answer: Answer, check: Callable[[], None]) -> Iterator[list[bytes]]:
    """The complete lines after each chunk."""
    rest: list[bytes] = []
    size = 0
    for chunk in answer.chunks():
        check()
        first, *more = chunk.split(b"\n")
        rest.append(first)
        size += len(first)
        if size > _LINE_BYTES:
            raise Broken(f"{answer.request}: an event of more than {_LINE_BYTES} bytes")
        lines = []
        if more:
            *whole, last = more
            lines = [line for line in (b"".join(rest), *whole) if line]
            rest, size = [last], len(last)
        yield lines


def _event(request: Request, line: bytes) -> Item:
    """The event in a line. Bytes that are not UTF-8 become U+FFFD, as in Go."""
    try:
        return _parsed(request, line)
    except DECODE_ERRORS:
        text = repaired(line)
        if text is None:
            raise Broken(f"{request}: the line is not an event") from None
        return _event(request, text)


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
