"""A proxy for HTTP in front of a real API server: it fails some requests, and counts what was created and deleted."""

from __future__ import annotations

import contextlib
import http.client
import random
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from ...apiserver.server import ApiServer

_TIMEOUT_S = 600.0
_LATE_S = 0.3
_HOP = {"host", "connection", "authorization", "transfer-encoding", "content-length", "keep-alive"}
_REASONS = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError"}


class FaultyProxy:
    """What passes through has the rights of the administrator. A context manager.

    Of each hundred requests that write, two are answered with 409, two with 429, two with 500 without being passed on;
    of two more the answer is lost: they are carried out, and answered with 500 or not at all. Watches are often late.
    """

    def __init__(self, server: ApiServer, seed: int) -> None:
        self.injected: Counter[str] = Counter()
        self.created: Counter[str] = Counter()
        """How often each ConfigMap was created, as far as the API server said so."""
        self.deleted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """How often each ConfigMap was not created because it was there: after a lost answer, by a new leader."""
        self._server = server
        self._parts = urlsplit(server.url)
        self._trust = ssl.create_default_context(cafile=str(server.ca))
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._pause = threading.Event()
        self._open: dict[BaseHTTPRequestHandler, http.client.HTTPSConnection] = {}

    def __enter__(self) -> Self:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Nothing."""

            def do_GET(self) -> None:
                proxy.serve(self)

            def finish(self) -> None:
                proxy.hang_up(self)
                super().finish()

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *about: Any) -> None:
                if not isinstance(sys.exception(), OSError):  # clients that are killed break connections
                    super().handle_error(*about)

        self._listener = Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._listener.server_port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        with self._lock:
            for connection in self._open.values():
                if connection.sock is not None:
                    with contextlib.suppress(OSError):
                        connection.sock.shutdown(2)

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        fault = self._fault(request)
        if fault in ("409", "429", "500"):
            _answer(request, int(fault))
            return
        try:
            self._pass_on(request, body, self._upstream(request), fault)
        except (OSError, http.client.HTTPException):
            request.close_connection = True

    def _upstream(self, request: BaseHTTPRequestHandler) -> http.client.HTTPSConnection:
        """The connection to the API server that belongs to the client's."""
        with self._lock:
            if request not in self._open:
                self._open[request] = http.client.HTTPSConnection(
                    self._parts.hostname or "", self._parts.port, timeout=_TIMEOUT_S, context=self._trust
                )
            return self._open[request]

    def hang_up(self, request: BaseHTTPRequestHandler) -> None:
        """The client has gone, or is to go."""
        with self._lock:
            upstream = self._open.pop(request, None)
        if upstream is not None:
            upstream.close()

    def _fault(self, request: BaseHTTPRequestHandler) -> str:
        """``409``, ``429`` or ``500`` instead of the request; ``lost`` or ``cut`` instead of its answer; or nothing."""
        if request.command == "GET" and "watch=" in request.path:
            return ""
        weights = (
            {"429": 1, "500": 1} if request.command == "GET" else {"409": 2, "429": 2, "500": 2, "lost": 1, "cut": 1}
        )
        with self._lock:
            drawn = self._random.randrange(100)
            for fault, weight in weights.items():
                drawn -= weight
                if drawn < 0:
                    self.injected[fault] += 1
                    return fault
        return ""

    def _pass_on(
        self, request: BaseHTTPRequestHandler, body: bytes, upstream: http.client.HTTPSConnection, fault: str
    ) -> None:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        headers["Authorization"] = f"Bearer {self._server.token()}"
        upstream.request(request.command, request.path, body or None, headers)
        answer = upstream.getresponse()
        with contextlib.closing(answer):
            self._count(request, body, answer.status)
            if fault == "lost":
                answer.read()
                _answer(request, 500)
            elif fault == "cut":
                request.close_connection = True
            else:
                _copy(request, answer, self._holding_up())

    def _holding_up(self) -> Callable[[], None]:
        """What holds one watch up now and then: who does not wait for his own writes decides wrongly then."""
        held_until = time.monotonic()

        def hold_up() -> None:
            nonlocal held_until
            with self._lock:
                is_late = time.monotonic() > held_until + _LATE_S * 3 and self._random.randrange(10) == 0
                self.injected["late"] += is_late
            if is_late:
                self._pause.wait(_LATE_S)
                held_until = time.monotonic()

        return hold_up

    def _count(self, request: BaseHTTPRequestHandler, body: bytes, status: int) -> None:
        path = urlsplit(request.path).path
        if "/configmaps" not in path or request.command == "GET":
            return
        name = _name_of(path, body)
        with self._lock:
            if request.command == "POST" and status == 201:
                self.created[name] += 1
            elif request.command == "POST" and status == 409:
                self.refused[name] += 1
            elif request.command == "DELETE" and status == 200:
                self.deleted[name] += 1


def _name_of(path: str, body: bytes) -> str:
    """The name of the ConfigMap that a request is about."""
    last = path.rpartition("/")[2]
    return last if last != "configmaps" else str(msgspec.json.decode(body)["metadata"]["name"])


def _answer(request: BaseHTTPRequestHandler, status: int) -> None:
    value = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": _REASONS[status], "code": status}
    body = msgspec.json.encode({**value, "message": "injected"})
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    if status == 429:
        request.send_header("Retry-After", "1")
    request.end_headers()
    request.wfile.write(body)


def _copy(request: BaseHTTPRequestHandler, answer: http.client.HTTPResponse, before: Callable[[], None]) -> None:
    """The answer as it comes: a watch has no end."""
    request.send_response(answer.status)
    for name, value in answer.getheaders():
        if name.lower() not in _HOP:
            request.send_header(name, value)
    if not answer.chunked:
        body = answer.read()
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
        return
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    while piece := answer.read1(1 << 16):
        before()
        request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    request.wfile.write(b"0\r\n\r\n")
