"""Lists and watches of one API server: bytes in, objects still undecoded out. Knows no rows and no tables.

A list is whole or raises: pages are of one version, and a continuation that is not makes it begin again. A watch ends
quietly when the server ends it; what a broken connection has left of a line is dropped, for the watch is resumed at the
version of the last whole one.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeAlias, TypeVar

import msgspec

from .api import Api, Request, Response, refusal
from .errors import ApiError, Broken, Expired, Forbidden, Missing
from .options import KubernetesOptions
from .resource import Resource, Value
from .sockets import has_more

EventType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

_CHUNK = 1 << 16
_LINE_BYTES = 64 << 20
_PAGES_MAX = 1_000_000
_EVENTS_MAX = 500
_IDENTITY = Request("get", "namespaces", "/api/v1/namespaces/kube-system")
_INITIAL_END = "k8s.io/initial-events-end"

D = TypeVar("D")


class Item(msgspec.Struct, frozen=True):
    """An object of a list, or what a watch says of one. ``version`` is its resourceVersion."""

    type: EventType
    namespace: str
    name: str
    version: str
    value: Value


class Page(msgspec.Struct, frozen=True):
    """A part of a list. ``version`` is that of the whole list; of a streamed one, only the last part knows it."""

    items: list[Item]
    version: str


class Client:
    """For any threads. ``clock`` is for deadlines."""

    def __init__(
        self,
        api: Api,
        options: KubernetesOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``chance`` gives numbers from 0 to 1, which spread watches over time."""
        self.streams_lists = options.streaming_lists
        """Whether the server is believed to offer lists as streams; False for good once it has refused one."""
        self._api = api
        self._options = options
        self._clock = clock
        self._chance = chance

    def identity(self) -> str:
        """The UID of the namespace kube-system, by which clusters are told apart; empty if we may not read it."""
        try:
            return self._document(_IDENTITY, _Object).metadata.uid
        except (Forbidden, Missing):
            return ""

    def version(self, resource: Resource) -> str:
        """How far the server's history has come, asked of the resource's store and not of a cache."""
        return self._page(resource, {"limit": "1"}).metadata.version

    def pages(self, resource: Resource) -> Iterator[Page]:
        """All objects at one version. Raises Expired between pages where the version is too old by then."""
        limit, token, version = str(self._options.page_limit), "", ""
        for _ in range(_PAGES_MAX):
            page = self._page(resource, {"limit": limit, "continue": token} if token else {"limit": limit})
            if version and page.metadata.version != version:
                raise Expired(f"list {resource.name}: the list went on at another version")
            version = page.metadata.version
            yield Page(_items(page), version)
            if not page.metadata.token:
                return
            if page.metadata.token == token:
                break
            token = page.metadata.token
        raise Broken(f"list {resource.name}: the list does not end")

    def whole(self, resource: Resource) -> Page:
        """All objects at one version, in one answer: for lists that change faster than their pages come."""
        page = self._page(resource, {})
        if page.metadata.token:
            raise Broken(f"list {resource.name}: the list was to be whole, but is not")
        return Page(_items(page), page.metadata.version)

    def streamed(self, resource: Resource) -> Iterator[Page]:
        """All objects at one version, as a stream; what is told of an object later holds, its deletion too.

        Raises Broken, Invalid and Silent where the server does not offer that.
        """
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "sendInitialEvents": "true",
            "resourceVersionMatch": "NotOlderThan",
            "timeoutSeconds": str(math.ceil(self._options.watch_timeout_s)),
        }
        request = Request("watch", resource.name, resource.path, parameters)
        with self._api.get(request, silence_s=self._options.request_timeout_s) as response:
            for items in _pieces(request, response):
                for place, item in enumerate(items):
                    if item.type == "BOOKMARK":
                        if not _ends_list(item.value):
                            raise Broken(f"{request}: the stream has no end of the list")
                        yield Page(items[:place], item.version)
                        return
                yield Page(items, "")
        raise Broken(f"{request}: the stream ended before the list did")

    @contextmanager
    def watch(self, resource: Resource, version: str) -> Generator[Iterator[list[Item]], None, None]:
        """What happens after a version, in the pieces in which it comes; open when this returns.

        Raises Expired when the server has forgotten what came after it, and Unavailable after a long silence.
        """
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(math.ceil(self._options.watch_timeout_s * (1 + self._chance()))),
        }
        request = Request("watch", resource.name, resource.path, parameters)
        with self._api.get(request, silence_s=self._options.silence_s) as response:
            yield _pieces(request, response)

    def _page(self, resource: Resource, parameters: Mapping[str, str]) -> _List:
        page = self._document(Request("list", resource.name, resource.path, parameters), _List)
        if not page.kind.endswith("List") or not page.metadata.version:
            raise Broken(f"list {resource.name}: the answer is not a list")
        return page

    def _document(self, request: Request, kind: type[D]) -> D:
        return self._api.document(request, kind, self._options.request_timeout_s, self._clock)


class _Metadata(msgspec.Struct, rename={"version": "resourceVersion"}, gc=False):
    name: str = ""
    namespace: str = ""
    version: str = ""
    uid: str = ""


class _Object(msgspec.Struct, gc=False):
    metadata: _Metadata


class _ListMetadata(msgspec.Struct, rename={"version": "resourceVersion", "token": "continue"}, gc=False):
    version: str = ""
    token: str = ""


class _List(msgspec.Struct):
    kind: str
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


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


_HEADS: tuple[tuple[bytes, EventType], ...] = (
    (b'{"type":"MODIFIED","object":', "MODIFIED"),
    (b'{"type":"ADDED","object":', "ADDED"),
    (b'{"type":"DELETED","object":', "DELETED"),
)

_read_object = msgspec.json.Decoder(_Object).decode
_read_event = msgspec.json.Decoder(_Event).decode
_read_bookmark = msgspec.json.Decoder(_Bookmark).decode


def _items(page: _List) -> list[Item]:
    try:
        return [_item("ADDED", value) for value in page.items or ()]
    except (msgspec.MsgspecError, RecursionError):
        raise Broken("list: an object without metadata") from None


def _item(kind: EventType, value: Value) -> Item:
    metadata = _read_object(value).metadata
    return Item(kind, metadata.namespace, metadata.name, metadata.version, value)


def _ends_list(value: Value) -> bool:
    return (_read_bookmark(value).metadata.annotations or {}).get(_INITIAL_END) == "true"


def _pieces(request: Request, response: Response) -> Iterator[list[Item]]:
    """What a stream says, as much at once as has come. Raises Broken for what is no event, and what an ERROR means."""
    rest = b""
    events: list[Item] = []
    for chunk in response.stream(_CHUNK, decode_content=False):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE_BYTES:
            raise Broken(f"{request}: an event of more than {_LINE_BYTES} bytes")
        try:
            events += [_event(request, line) for line in lines if line]
        except (msgspec.MsgspecError, RecursionError):
            raise Broken(f"{request}: an event that is none") from None
        if events and (len(events) >= _EVENTS_MAX or not has_more(response)):
            yield events
            events = []
    if events:
        yield events


def _event(request: Request, line: bytes) -> Item:
    """What a line says. Servers spell all but the object the same way always: then it is cut out, not looked for."""
    for head, kind in _HEADS:
        if line.startswith(head) and line.endswith(b"}"):
            return _item(kind, line[len(head) : -1])
    event = _read_event(line)
    if event.type == "ERROR":
        raise _told(request, event.object)
    return _item(event.type, event.object)


def _told(request: Request, status: msgspec.Raw) -> ApiError:
    """What an error inside a stream means."""
    try:
        code = msgspec.json.decode(status, type=_Code).code
    except msgspec.MsgspecError:
        code = 500
    return refusal(request, code, status)
