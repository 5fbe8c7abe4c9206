"""One connection of the API server: reads requests, writes responses and watch streams."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

from . import _discovery as discovery
from ._refusal import Refusal
from ._request import Request, read
from ._resources import Resource
from ._selectors import Matches, fields, labels
from ._state import State
from ._store import Event, Json, Store

_APPLY, _MERGE, _JSON_PATCH = (
    "application/apply-patch+yaml",
    "application/merge-patch+json",
    "application/json-patch+json",
)
_RECHECK_S = 0.5
_WATCH_S = 300.0
_FIXED_RESPONSES = {"/version": {"major": "1", "minor": "35", "gitVersion": "v1.35.0"}}


class _Closed(Exception):
    """The connection is to be closed."""


class Handler(BaseHTTPRequestHandler):
    """A connection. A subclass for each server sets ``server_of_api``."""

    protocol_version = "HTTP/1.1"
    server_of_api: ClassVar[State]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""

    def setup(self) -> None:
        """Register the connection, so that it can be cut."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.server_of_api.store.lock:
            self.server_of_api.connections.add(self.connection)

    def finish(self) -> None:
        """Unregister the connection."""
        with self.server_of_api.store.lock:
            self.server_of_api.connections.discard(self.connection)
        try:
            super().finish()
        except OSError:
            pass  # already cut

    def do_GET(self) -> None:
        """Serve a request of any method."""
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  # names of the base class

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        request = read(self.command, self.path, dict(self.headers.items()), self.rfile.read(length))
        try:
            self._do(request)
        except Refusal as refusal:
            self._answer(refusal.status, refusal.body(), refusal.headers)
        except (_Closed, OSError):
            self.close_connection = True

    def _do(self, request: Request) -> None:
        api = self.server_of_api
        store = api.store
        resource: Resource | None = None
        with store.lock:
            known = discovery.document(store.resources.values(), request.path, request.headers.get("accept", ""))
            if known is None:
                known = _FIXED_RESPONSES.get(request.path)
            if known is None and request.path in ("/healthz", "/readyz", "/livez"):
                known = {"status": "ok"}
            if known is None:
                api.requests[request.verb, request.plural] += 1
                api.faults.check(request.verb, request.plural)
                resource = store.resources.get((request.root, request.plural))
        if known is not None:
            self._answer(200, known)
        elif resource is None or request.part not in ("", "status"):
            self._answer_unknown()
        elif request.verb == "watch":
            self._watch(request, resource)
        else:
            with store.lock:
                status, body = _perform(store, request, resource)
            self._answer(status, _only_metadata(body) if request.only_metadata else body)

    # --- watches ------------------------------------------------------------------------------------------------------

    def _watch(self, request: Request, resource: Resource) -> None:
        api, store = self.server_of_api, self.server_of_api.store
        query, matches = request.query, _matches(request)
        until = time.monotonic() + float(query.get("timeoutSeconds") or _WATCH_S)
        streams = query.get("sendInitialEvents") == "true"
        if streams and not api.streams_lists:
            raise Refusal(422, "Invalid", "sendInitialEvents is forbidden: the WatchList feature gate is not enabled")
        with store.lock:
            at = int(query.get("resourceVersion") or 0)
            initial: list[Json] = []
            if streams or not at:
                at, initial = store.version, store.select(resource, request.namespace, matches)
            seen = (api.bookmarks, api.endings, api.epoch)
        self._begin_stream()
        for value in initial:
            self._event("ADDED", value, request)
        if streams:
            self._bookmark(at, resource, ends_list=True)
        bookmarks = query.get("allowWatchBookmarks") == "true"
        while True:
            with store.lock:
                if not self._has_events(store, resource, at, seen):
                    store.lock.wait(min(_RECHECK_S, max(0.0, until - time.monotonic())))
                if api.epoch != seen[2] or self._is_disconnected():
                    raise _Closed
                try:
                    events, at = store.events(resource, at), store.version
                except Refusal as refusal:
                    events, status = [], refusal.body()
                    self._event("ERROR", status, request)
                    break
                marked, ended = api.bookmarks != seen[0], api.endings != seen[1]
                seen = (api.bookmarks, api.endings, api.epoch)
            for event in events:
                self._change(event, request, resource, matches)
            over = ended or time.monotonic() >= until
            if bookmarks and (marked or over):
                self._bookmark(at, resource)
            if over:
                break
        self._chunk(b"")

    def _has_events(self, store: Store, resource: Resource, at: int, seen: tuple[int, int, int]) -> bool:
        api = self.server_of_api
        if (api.bookmarks, api.endings, api.epoch) != seen or at < store.forgotten:
            return True
        return bool(store.events(resource, at))

    def _change(self, event: Event, request: Request, resource: Resource, matches: Matches) -> None:
        """Send a change as seen through the selectors of the watch.

        An object that starts to match is added. One that stops matching is deleted, with its last matching state.
        """
        value = event.value
        if request.namespace and value["metadata"].get("namespace") != request.namespace:
            return
        now = event.kind != "DELETED" and matches(value)
        before = event.before is not None and matches(event.before)
        if now or before:
            if event.before is not None and not now and event.kind == "MODIFIED":
                version = value["metadata"]["resourceVersion"]
                value = {**event.before, "metadata": {**event.before["metadata"], "resourceVersion": version}}
            kind = "DELETED" if not now else "MODIFIED" if before else "ADDED"
            self._event(kind, {**value, "apiVersion": resource.api_version, "kind": resource.kind}, request)

    def _is_disconnected(self) -> bool:
        """Whether the client has closed the connection. Without events a watch would not notice."""
        try:
            peeked: bytes = self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            return not peeked
        except BlockingIOError:
            return False

    # --- answers ------------------------------------------------------------------------------------------------------

    def _answer(self, status: int, body: Any, headers: Mapping[str, str] = {}) -> None:
        self._send(status, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})

    def _answer_unknown(self) -> None:
        self._send(404, b"404 page not found\n", {"Content-Type": "text/plain"})

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _event(self, kind: str, value: Json, request: Request) -> None:
        shown = _only_metadata(value) if request.only_metadata and kind != "ERROR" else value
        self._chunk(_line(kind, shown))

    def _bookmark(self, version: int, resource: Resource, *, ends_list: bool = False) -> None:
        metadata: Json = {"resourceVersion": str(version)}
        if ends_list:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        value = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        self._chunk(_line("BOOKMARK", value))

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


def _line(kind: str, value: Json) -> bytes:
    return json.dumps({"type": kind, "object": value}, separators=(",", ":")).encode() + b"\n"


def _matches(request: Request) -> Matches:
    by_label = labels(request.query.get("labelSelector", ""))
    by_field = fields(request.query.get("fieldSelector", ""))
    return lambda value: by_label(value) and by_field(value)


def _perform(store: Store, request: Request, resource: Resource) -> tuple[int, Any]:
    """Serve everything except watches. Returns the HTTP status and the body. Raises Refusal."""
    namespace, name, part = request.namespace, request.name, request.part
    match request.verb:
        case "get":
            return 200, store.get(resource, namespace, name)
        case "list":
            return 200, _list(store, request, resource)
        case "create":
            return 201, store.create(resource, namespace, request.body(), request.manager)
        case "update":
            return 200, store.replace(resource, namespace, name, request.body(), request.manager, part)
        case "patch":
            return _patch(store, request, resource)
        case "deletecollection":
            gone = store.select(resource, namespace, _matches(request))
            for each in gone:
                metadata = each["metadata"]
                store.delete(resource, metadata.get("namespace", ""), metadata["name"], {})
            return 200, _page(resource, gone, store.version, {})
        case _:
            value, is_gone = store.delete(resource, namespace, name, request.body() or {})
            return 200, _deleted(value, resource) if is_gone else value


def _patch(store: Store, request: Request, resource: Resource) -> tuple[int, Json]:
    place = (resource, request.namespace, request.name)
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind == _APPLY:
        if not request.query.get("fieldManager"):
            raise Refusal(422, "Invalid", "PatchOptions is invalid: fieldManager: Required value")
        force = request.query.get("force") == "true"
        value, is_new = store.apply(*place, request.body(), request.manager, request.part, force=force)
        return 201 if is_new else 200, value
    if kind not in (_MERGE, _JSON_PATCH):
        why = f"this server supports {_MERGE}, {_JSON_PATCH} and {_APPLY}, not {kind}"
        raise Refusal(415, "UnsupportedMediaType", why)
    return 200, store.patch(*place, request.body(), request.manager, request.part)


def _list(store: Store, request: Request, resource: Resource) -> Json:
    """A page of a list. Its token has the version of the list. Raises Refusal for a page of a forgotten version."""
    version, start = store.version, 0
    if token := request.query.get("continue"):
        version, start = json.loads(base64.b64decode(token))
        values = store.page(resource, version)
    else:
        values = store.select(resource, request.namespace, _matches(request))
    limit = int(request.query.get("limit") or 0)
    end = start + limit if limit else len(values)
    metadata: Json = {}
    if end < len(values):
        store.keep_page(resource, version, values)
        metadata["continue"] = base64.b64encode(json.dumps([version, end]).encode()).decode()
        if "labelSelector" not in request.query and "fieldSelector" not in request.query:
            metadata["remainingItemCount"] = len(values) - end
    return _page(resource, values[start:end], version, metadata)


def _page(resource: Resource, values: list[Json], version: int, metadata: Json) -> Json:
    """A list object. Items of built-in kinds have no apiVersion and kind."""
    items = (
        values
        if resource.is_custom
        else [{name: each for name, each in value.items() if name not in ("apiVersion", "kind")} for value in values]
    )
    head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
    return {**head, "metadata": {"resourceVersion": str(version), **metadata}, "items": items}


def _deleted(value: Json, resource: Resource) -> Json:
    metadata = value["metadata"]
    details = {"name": metadata["name"], "kind": resource.plural, "uid": metadata["uid"]}
    if resource.group:
        details["group"] = resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _only_metadata(value: Json) -> Json:
    if "items" in value:
        items = [_only_metadata(each) for each in value["items"]]
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return {**head, "metadata": value["metadata"], "items": items}
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"]}
