"""The lines of a watch as items. Pure but for the answer it reads.

A line is an event. What a broken connection has left of a line is dropped: the watch is resumed at the version of the
last whole one.
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

EventType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

_LINE_BYTES = 64 << 20
_EVENTS_MAX = 500
_EVENT_BYTES_MAX = 1 << 20
_INITIAL_END = "k8s.io/initial-events-end"


class Item(msgspec.Struct, frozen=True):
    """An object of a list, or what a watch says of one. ``version`` is its resourceVersion."""

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
    """A bookmark's metadata: what an ordinary object has, and whether the list ends here."""

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
    """An object with what its metadata says. Raises one of DECODE_ERRORS."""
    metadata = _read_object(value).metadata
    return Item(kind, metadata.namespace, metadata.name, metadata.version, value)


def ends_list(item: Item) -> bool:
    """Whether a bookmark ends a list that comes as a stream."""
    try:
        return (_read_bookmark(item.value).metadata.annotations or {}).get(_INITIAL_END) == "true"
    except DECODE_ERRORS:
        return False


def item_batches(answer: Answer, check: Callable[[], None] = lambda: None) -> Iterator[list[Item]]:
    """What a stream says, as much at once as has come. ``check`` is called for each chunk, and may raise.

    Raises Broken for what is no event, and what an ERROR means.
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
    """The whole lines of each chunk; none where a chunk ends none."""
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
    """What a line says. Bytes that are not UTF-8 are read as U+FFFD, as Go reads them."""
    try:
        return _parsed(request, line)
    except UnicodeDecodeError:
        return _event(request, line.decode("utf-8", "replace").encode())
    except DECODE_ERRORS:
        raise Broken(f"{request}: an event that is none") from None


def _parsed(request: Request, line: bytes) -> Item:
    """Servers spell all but the object the same way always: then it is cut out, not looked for."""
    for head, kind in _EVENT_PREFIXES:
        if line.startswith(head) and line.endswith(b"}"):
            try:
                return item_of(kind, line[len(head) : -1])
            except msgspec.MsgspecError:
                break  # something stands behind the object, or it is none
    event = _read_event(line)
    if event.type == "ERROR":
        raise _error(request, event.object)
    return item_of(event.type, event.object)


def _error(request: Request, status: msgspec.Raw) -> ApiError:
    """What an error inside a stream means."""
    try:
        code = msgspec.json.decode(status, type=_Code).code
    except DECODE_ERRORS:
        code = 500
    return refusal(request, code, status)
