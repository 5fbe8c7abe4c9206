"""An API server that can be made to fail, on real HTTP: what of Kubernetes' protocol lists and watches need.

It stands beside the real one (tests/apiserver), for what that does not do on demand: half lines, silence, 429, an old
server's way with new parameters, a restored backup.
"""

from __future__ import annotations

import base64
import copy
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

import msgspec

Object = dict[str, Any]
Streaming = Literal["offered", "refused", "failing", "ignored", "endless", "silent"]

PATHS = {
    "CiliumNode": "/apis/cilium.io/v2/ciliumnodes",
    "CiliumIdentity": "/apis/cilium.io/v2/ciliumidentities",
    "CiliumEndpoint": "/apis/cilium.io/v2/ciliumendpoints",
    "CiliumEndpointSlice": "/apis/cilium.io/v2alpha1/ciliumendpointslices",
    "CiliumNetworkPolicy": "/apis/cilium.io/v2/ciliumnetworkpolicies",
    "CiliumClusterwideNetworkPolicy": "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies",
    "Namespace": "/api/v1/namespaces",
    "Service": "/api/v1/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
}
CUSTOM = {path for path in PATHS.values() if "cilium.io" in path}
_KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
_ONE_SERVICE = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/services/(?P<name>[^/]+)")
_OF_NAMESPACE = re.compile(r"(?P<path>/.+/)namespaces/(?P<namespace>[^/]+)/(?P<plural>[^/]+)")
_WAIT_S = 60.0
_LOOK_S = 0.5


class Fault(msgspec.Struct):
    """An answer in place of the right one, so many times: of requests whose verb and path begin so."""

    verb: str
    path: str
    status: int
    times: int
    headers: Mapping[str, str]
    body: bytes


class Change(msgspec.Struct, frozen=True):
    """One step of history."""

    revision: int
    path: str
    type: str
    value: Object


class FakeApi:
    """Running from `start` to `close`. Objects are put and removed by calls; every other method is a fault."""

    def __init__(self, *, streaming: Streaming = "refused") -> None:
        """How it answers when asked for a list as a stream."""
        self.streaming: Streaming = streaming
        self.requests: Counter[tuple[str, str]] = Counter()
        """By verb and path. A ``probe`` is a list of one object: nobody wants the object, but the version."""
        self.open_watches: Counter[str] = Counter()
        self.most_watches: Counter[str] = Counter()
        self.tokens: set[str] | None = None
        """Who does not show one of these is not known (401); everybody is while it is None."""
        self.forbidden: set[tuple[str, str]] = set()
        """(verb, path) that nobody may."""
        self.missing: set[str] = set()
        """Paths that are not served."""
        self.gone_by_status = False
        """Whether a watch that begins too early is refused by the HTTP status, and not inside the stream."""
        self.begin_line = b""
        """Is written after each event, as the beginning of the next line or a whole one."""
        self.begin_chunk = b""
        """Is written after each event, as the beginning of the next chunk."""
        self.ends_after_events = False
        """Whether a watch is ended in good order after each event, as a busy server does with slow watchers."""
        self.closes_connections = False
        """Whether streams are sent with ``Connection: close``."""
        self.garbled: tuple[bytes, bytes] | None = None
        """Bytes in objects, and what is sent in their place."""
        self.revision = 100
        self.uid = "uid-1"
        self._objects: dict[str, dict[tuple[str, str], Object]] = {path: {} for path in PATHS.values()}
        self._history: list[Change] = []
        self._compacted = 0
        self._pages: dict[tuple[str, int], list[Object]] = {}
        self._faults: list[Fault] = []
        self._half_lines = 0
        self._half_answers = 0
        self._is_frozen = False
        self._held: set[tuple[str, str]] = set()
        self._endings = 0
        self._bookmarks = 0
        self._lock = threading.Condition()
        self._epoch = 0
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    # --- life ---------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Serve, on the same port as before."""
        fake = self

        class Handler(_Handler):
            api = fake

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # connections that are cut off are what this is for

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def kill(self) -> None:
        """Nobody listens any more, and every connection is cut."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            assert self._thread is not None
            self._thread.join()
        self.thaw()
        self.cut()

    def cut(self) -> None:
        """Every connection is cut; new ones are welcome."""
        with self._lock:
            self._epoch += 1
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            self._lock.notify_all()

    # --- objects ------------------------------------------------------------------------------------------------------

    def put(self, value: Object) -> int:
        """Create or update; gives the revision."""
        path, key = PATHS[value["kind"]], _key(value)
        with self._lock:
            self.revision += 1
            kind = "MODIFIED" if key in self._objects[path] else "ADDED"
            stored = copy.deepcopy(value)
            stored["metadata"] |= {"resourceVersion": str(self.revision), "uid": f"uid-of-{key}"}
            self._objects[path][key] = stored
            self._history.append(Change(self.revision, path, kind, stored))
            self._lock.notify_all()
            return self.revision

    def remove(self, value: Object) -> None:
        """Delete; nothing happens where it is not there."""
        path, key = PATHS[value["kind"]], _key(value)
        with self._lock:
            stored = self._objects[path].pop(key, None)
            if stored is None:
                return
            self.revision += 1
            last = copy.deepcopy(stored)
            last["metadata"]["resourceVersion"] = str(self.revision)
            self._history.append(Change(self.revision, path, "DELETED", last))
            self._lock.notify_all()

    def find(self, path: str, namespace: str, name: str) -> Object | None:
        """An object that it holds."""
        with self._lock:
            return copy.deepcopy(self._objects[path].get((namespace, name)))

    def objects(self) -> list[Object]:
        """All that it holds."""
        with self._lock:
            return [copy.deepcopy(value) for held in self._objects.values() for value in held.values()]

    # --- faults -------------------------------------------------------------------------------------------------------

    def fail(
        self,
        verb: str,
        path: str = "",
        *,
        status: int,
        times: int = 1,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
    ) -> None:
        """Answer the next requests so."""
        said = _status(status, "InternalError", "made to fail") if body is None else body
        with self._lock:
            self._faults.append(Fault(verb, path, status, times, headers, said))

    def half_line(self, times: int = 1) -> None:
        """The next events are written by half, and then their connections are closed in good order."""
        with self._lock:
            self._half_lines += times

    def half_answer(self, times: int = 1) -> None:
        """The next lists break off in the middle."""
        with self._lock:
            self._half_answers += times

    def compact(self) -> None:
        """Forget history: no watch can begin at an older revision, and pages of older lists are gone.

        Open watches are told what they have not had yet, as an API server does from its cache: the changes since the
        compaction before are kept for them.
        """
        with self._lock:
            self._history = [change for change in self._history if change.revision > self._compacted]
            self._compacted = self.revision
            self._pages.clear()

    def bookmark(self) -> None:
        """Every watch is told how far history has come."""
        with self._lock:
            self.revision += 1  # something that concerns no watch
            self._bookmarks += 1
            self._lock.notify_all()

    def end_watches(self) -> None:
        """Every watch is ended in good order."""
        with self._lock:
            self._endings += 1
            self._lock.notify_all()

    def hold_watches(self, hold: bool) -> None:
        """New watches are taken and not answered, until that is taken back."""
        with self._lock:
            self._held = {("watch", path) for path in PATHS.values()} if hold else set()
            self._lock.notify_all()

    def hold(self, *requests: tuple[str, str]) -> None:
        """New requests with such a verb and path are taken and not answered, until `hold` is called without them."""
        with self._lock:
            self._held = set(requests)
            self._lock.notify_all()

    def freeze(self) -> None:
        """Connections stay and are taken, and nothing is answered."""
        with self._lock:
            self._is_frozen = True

    def thaw(self) -> None:
        """Go on."""
        with self._lock:
            self._is_frozen = False
            self._lock.notify_all()

    def backup(self) -> Any:
        """What `restore` takes."""
        with self._lock:
            return self.revision, {path: dict(held) for path, held in self._objects.items()}

    def restore(self, backup: Any) -> None:
        """The store is an older one again, as after an etcd restore; the cluster has the same identity."""
        with self._lock:
            self.revision, objects = backup
            self._objects = {path: dict(held) for path, held in objects.items()}
            self._history = [change for change in self._history if change.revision <= self.revision]
            self._compacted = min(self._compacted, self.revision)
            self._pages.clear()
            self.cut()

    def replace(self, *, revision: int = 50) -> None:
        """Another cluster answers at this address, empty, at this revision."""
        with self._lock:
            self.uid = f"uid-{self.uid}-2"
            self.revision = revision
            self._objects = {path: {} for path in PATHS.values()}
            self._history.clear()
            self._compacted = 0
            self._pages.clear()
            self.cut()  # no connection leads from one cluster to another

    def wait_for_requests(self, verb: str, path: str, count: int) -> None:
        """Until so many requests have come since the start."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.requests[verb, path] >= count, _WAIT_S), self.requests


class _Closed(Exception):
    """The connection is to be closed."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    api: FakeApi

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.api._lock:
            self.api._connections.add(self.connection)

    def finish(self) -> None:
        with self.api._lock:
            self.api._connections.discard(self.connection)
        try:
            super().finish()
        except OSError:
            pass

    def do_GET(self) -> None:
        api = self.api
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        found = _ONE_SERVICE.fullmatch(url.path)
        single = url.path == _KUBE_SYSTEM or found is not None
        verb = "get" if single else "watch" if query.get("watch") == "true" else "list"
        with api._lock:
            api.requests["probe" if verb == "list" and query.get("limit") == "1" else verb, url.path] += 1
            api._lock.notify_all()
        try:
            self._hold(verb, url.path)
            if self._refused(verb, url.path):
                return
            if found is not None:
                self._service(found["namespace"], found["name"])
            elif single:
                self._answer(
                    200, json.dumps({"kind": "Namespace", "metadata": {"name": "kube-system", "uid": api.uid}})
                )
            elif verb == "list":
                self._list(url.path, query)
            else:
                with self._counted(url.path):
                    self._watch(url.path, query)
        except (_Closed, OSError):
            self.close_connection = True

    def _hold(self, verb: str, path: str) -> None:
        api = self.api
        with api._lock:
            epoch = api._epoch
            api._lock.wait_for(lambda: api._epoch != epoch or not (api._is_frozen or (verb, path) in api._held))
            if api._epoch != epoch:
                raise _Closed

    @contextmanager
    def _counted(self, path: str) -> Iterator[None]:
        api = self.api
        with api._lock:
            api.open_watches[path] += 1
            api.most_watches[path] = max(api.most_watches[path], api.open_watches[path])
        try:
            yield
        finally:
            with api._lock:
                api.open_watches[path] -= 1

    def _refused(self, verb: str, path: str) -> bool:
        api = self.api
        resource = path.rpartition("/")[2]
        with api._lock:
            fault = next(
                (f for f in api._faults if f.times and verb.startswith(f.verb) and path.startswith(f.path)), None
            )
            if fault is not None:
                fault.times -= 1
        if api.tokens is not None and self.headers.get("Authorization", "").removeprefix("Bearer ") not in api.tokens:
            self._answer(401, _status(401, "Unauthorized", "Unauthorized"))
        elif fault is not None:
            self._answer(fault.status, fault.body, fault.headers)
        elif (verb, path) in api.forbidden:
            self._answer(403, _status(403, "Forbidden", f'{resource} is forbidden: User "x" cannot {verb} {resource}'))
        elif path in api.missing:
            self._answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
        else:
            return False
        return True

    def _service(self, namespace: str, name: str) -> None:
        value = self.api.find(PATHS["Service"], namespace, name)
        if value is None:
            self._answer(404, _status(404, "NotFound", f'services "{name}" not found'))
        else:
            self._answer(200, json.dumps(value))

    def _list(self, path: str, query: Mapping[str, str]) -> None:
        api = self.api
        parts = _OF_NAMESPACE.fullmatch(path)
        path, namespace = (parts["path"] + parts["plural"], parts["namespace"]) if parts else (path, "")
        label, _, wanted = query.get("labelSelector", "").partition("=")
        limit = int(query.get("limit", "0"))
        with api._lock:
            if "continue" in query:
                revision, start = json.loads(base64.b64decode(query["continue"]))
                values = api._pages.get((path, revision))
                if values is None:
                    gone = _status(410, "Expired", "The provided continue parameter is too old")
                    self._answer(410, gone)
                    return
            else:
                revision, start = api.revision, 0
                held = api._objects[path]
                values = [held[key] for key in sorted(held) if key[0] == namespace or not namespace]
                if label:
                    values = [each for each in values if each["metadata"].get("labels", {}).get(label) == wanted]
            end = start + limit if limit else len(values)
            token = ""
            if end < len(values):
                api._pages[path, revision] = values
                token = base64.b64encode(json.dumps([revision, end]).encode()).decode()
            half = api._half_answers > 0 and bool(values)
            api._half_answers -= half
        items = [value if path in CUSTOM else _without_kind(value) for value in values[start:end]]
        page = {"kind": "ThingList", "apiVersion": "v1", "metadata": {"resourceVersion": str(revision)}, "items": items}
        if token:
            page["metadata"] |= {"continue": token, "remainingItemCount": len(values) - end}
        self._answer(200, json.dumps(page), half=half)

    def _watch(self, path: str, query: Mapping[str, str]) -> None:
        api = self.api
        until = time.monotonic() + float(query.get("timeoutSeconds", "60"))
        with api._lock:
            epoch = api._epoch
            revision = int(query.get("resourceVersion") or "0")
            told_bookmarks = api._bookmarks
            endings = api._endings
            initial = list(api._objects[path].values())
            now = api.revision
            is_gone = 0 < revision < api._compacted
        streamed = query.get("sendInitialEvents") == "true" and api.streaming != "ignored"
        if streamed and api.streaming == "refused":
            text = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            self._answer(422, _status(422, "Invalid", text))
            return
        if is_gone and api.gone_by_status:
            self._answer(410, _status(410, "Expired", "too old resource version"))
            return
        self._begin_stream()
        if is_gone:
            self._event("ERROR", json.loads(_status(410, "Expired", "too old resource version")))
            self._end_stream()
            return
        if streamed and api.streaming == "failing":
            self._event("ERROR", json.loads(_status(500, "InternalError", "a storage without streams")))
            self._end_stream()
            return
        while streamed and api.streaming in ("endless", "silent"):
            if api.streaming == "endless":
                self._event("ADDED", initial[0])
            with api._lock:
                if api._lock.wait_for(lambda: api._epoch != epoch, 0.05) or self._is_left():
                    raise _Closed
        if not revision:
            revision = now
            for place, value in enumerate(initial):
                self._event("ADDED", value)
                if api.streaming == "ignored" and not place:
                    self._event("BOOKMARK", _bookmark(revision))  # an ordinary one: it ends nothing
            if streamed:
                self._event("BOOKMARK", _bookmark(revision, ends_list=True))

        def has_news() -> bool:
            if api._epoch != epoch or api._is_frozen:
                return api._epoch != epoch
            return (api._bookmarks, api._endings) != (told_bookmarks, endings) or any(
                change.revision > revision and change.path == path for change in api._history
            )

        while True:
            with api._lock:
                api._lock.wait_for(has_news, min(_LOOK_S, max(0.0, until - time.monotonic())))
                if api._epoch != epoch or self._is_left():
                    raise _Closed
                changes = [c for c in api._history if c.revision > revision and c.path == path]
                bookmark = api._bookmarks != told_bookmarks
                told_bookmarks = api._bookmarks
                half = bool(changes) and api._half_lines > 0
                api._half_lines -= half
                now = api.revision
            if half:
                self._chunk(_line(changes[0].type, changes[0].value)[:-20])
                self._end_stream()
                return
            for change in changes:
                self._event(change.type, change.value)
                revision = change.revision
                if api.begin_line:
                    self._chunk(api.begin_line)
                self.wfile.write(api.begin_chunk)
            if bookmark and now > revision:
                revision = now
                self._event("BOOKMARK", _bookmark(now))
            if time.monotonic() >= until or api._endings != endings or (changes and api.ends_after_events):
                self._end_stream()
                return

    def _is_left(self) -> bool:
        """Whether the other side has closed: a watch without news would never find out."""
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False

    def _answer(self, status: int, body: str | bytes, headers: Mapping[str, str] = {}, *, half: bool = False) -> None:
        data = self._garbled(body.encode() if isinstance(body, str) else body)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if half else data)
        if half:
            raise _Closed

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        if self.api.closes_connections:
            self.send_header("Connection", "close")
        self.end_headers()

    def _event(self, kind: str, value: Object) -> None:
        self._chunk(self._garbled(_line(kind, value)))

    def _garbled(self, data: bytes) -> bytes:
        return data if self.api.garbled is None else data.replace(*self.api.garbled)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")


def _key(value: Object) -> tuple[str, str]:
    return value["metadata"].get("namespace", ""), value["metadata"]["name"]


def _line(kind: str, value: Object) -> bytes:
    return json.dumps({"type": kind, "object": value}).encode() + b"\n"


def _bookmark(revision: int, *, ends_list: bool = False) -> Object:
    metadata: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
    if ends_list:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return {"kind": "Thing", "apiVersion": "v1", "metadata": metadata}


def _without_kind(value: Object) -> Object:
    """As items of lists of built-in kinds are."""
    return {name: each for name, each in value.items() if name not in ("kind", "apiVersion")}


def _status(code: int, reason: str, message: str) -> bytes:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
    return json.dumps(status | {"reason": reason, "message": message}).encode()
