"""Sends requests to one API server, with credentials, errors, counters and cancellation. Knows no lists or watches."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError, SSLError

from statedb.catalog.wire import DECODE_ERRORS

from .errors import ApiError, Broken, Silent, TooLarge, Unavailable
from .incoming import Incoming
from .login import Login
from .options import ApiServerOptions
from .reasons import reason
from .refusals import refusal
from .request import Request
from .sockets import Greeting, Sockets, limit, release, server_of
from .utf8 import repaired

Response: TypeAlias = urllib3.BaseHTTPResponse

_ERROR_BYTES = 1 << 16
_CHUNK = 1 << 16
_SUCCESSES = (200, 201, 202)

TRANSPORT_ERRORS = (HTTPError, http.client.HTTPException, OSError, ValueError, OverflowError)
"""Exceptions of urllib3 while it sends or reads; the last two come with malformed headers and lengths."""

D = TypeVar("D")


class Answer:
    """A successful answer, whose body is still to be read."""

    def __init__(self, request: Request, response: Response) -> None:
        """``request`` is used in error messages."""
        self.request = request
        self.server = server_of(response.connection)
        """The identity of the server at the other end of the connection; None if it is unknown."""
        self._response = response

    def chunks(self, *, decoded: bool = False) -> Iterator[bytes]:
        """The body in pieces, decompressed if ``decoded`` is true. Raises Silent, Unavailable."""
        chunks = self._response.stream(_CHUNK, decode_content=decoded)
        while True:
            with _transport_errors(self.request):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def limit(self, seconds: float) -> None:
        """The rest of the body must come within this time. Otherwise `chunks` raises Silent."""
        limit(self._response, seconds)


class Stream:
    """A successful answer, whose body is read as it comes. Never waits. For one thread at a time."""

    def __init__(self, request: Request, response: Response) -> None:
        """``request`` is used in error messages. Raises Unavailable if the connection is closed already."""
        self.request = request
        self.server = server_of(response.connection)
        """The identity of the server at the other end of the connection; None if it is unknown."""
        with _transport_errors(request):
            self._incoming = Incoming(response)

    @property
    def is_complete(self) -> bool:
        """Whether the whole body has come."""
        return self._incoming.is_complete

    def fileno(self) -> int:
        """The descriptor to wait on, after `pieces` has come to its end."""
        return self._incoming.fileno()

    def wait(self, timeout_s: float) -> bool:
        """Wait for more, after `pieces` has come to its end. False if nothing comes in time."""
        return self._incoming.wait(timeout_s)

    def pieces(self) -> Iterator[list[bytes]]:
        """What has arrived. Ends when nothing more is there. Raises Unavailable."""
        with _transport_errors(self.request):
            yield from self._incoming.pieces()

    def close(self) -> None:
        """Cancel what has not come yet. May be called repeatedly."""
        self._incoming.close()


class Identity(msgspec.Struct, frozen=True):
    """How a server is identified: ``read`` extracts its identity from the answer to ``request``.

    The identity is empty if the server does not reveal it. ``read`` may raise the errors of a decoder.
    """

    request: Request
    read: Callable[[bytes], str]


class Api:
    """One API server. For any thread; `close` cancels the requests of all threads."""

    def __init__(self, options: ApiServerOptions, identity: Identity | None = None) -> None:
        """Reads the configuration. Raises Unauthorized with the reason if it is invalid.

        With an ``identity`` each new connection begins with its request.
        """
        self.requests: Counter[tuple[str, str]] = Counter()
        """The number of requests, by verb and resource. Any thread may read it."""
        self.on_answer: Callable[[float], None] = lambda _: None
        """Called when the head of an answer has come, with the seconds that it took."""
        self._options = options
        self._lock = threading.Lock()
        self._sockets = Sockets(None if identity is None else self._greeting(identity))
        self._login = Login(options, self._sockets)

    @property
    def waiting(self) -> str:
        """What new requests are waiting for, in words; empty if nothing."""
        return self._login.waiting

    @property
    def certificate_files(self) -> dict[str, str]:
        """The certificate files that it uses, by the names of their options."""
        return self._login.certificate_files

    def close(self) -> None:
        """Cancel all requests and allow no new ones. May be called from any thread and repeatedly."""
        self._sockets.abort()
        self._login.close()

    def clear(self) -> None:
        """Close idle connections, after `close`."""
        self._login.clear()

    @contextmanager
    def get(self, request: Request, *, compressed: bool = False) -> Generator[Answer, None, None]:
        """The answer to a request. Raises an ApiError if there is none.

        Its head must come within ``request_timeout_s``. Its body may then be silent for the same time.
        """
        response = self._answered(request, compressed)
        connection = response.connection
        try:
            yield Answer(request, response)
        finally:
            _close(response, connection)

    def stream(self, request: Request) -> Stream:
        """The answer to a request, as a stream that the caller closes. Raises an ApiError if there is none.

        Its head must come within ``request_timeout_s``.
        """
        response = self._answered(request, compressed=False)
        connection = response.connection
        try:
            return Stream(request, response)
        except BaseException:
            _close(response, connection)
            raise

    def document(
        self,
        request: Request,
        kind: type[D],
        *,
        bytes_max: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> D:
        """A whole answer, decoded; see `read`."""
        return self.read(request, kind, bytes_max=bytes_max, clock=clock)[0]

    def read(
        self,
        request: Request,
        kind: type[D],
        *,
        bytes_max: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> tuple[D, str | None]:
        """A whole answer, within ``request_timeout_s``, and the identity of the server at the end of its connection.

        Raises TooLarge as soon as more than ``bytes_max`` bytes have come.
        """
        until, size, pieces = clock() + self._options.request_timeout_s, 0, list[bytes]()
        with self.get(request, compressed=True) as answer:
            answer.limit(self._options.request_timeout_s)
            for piece in answer.chunks(decoded=True):
                pieces.append(piece)
                size += len(piece)
                if size > bytes_max:
                    raise TooLarge(f"{request}: an answer of more than {bytes_max} bytes")
                if clock() > until:
                    raise Unavailable(f"{request}: the answer takes too long")
        return _decoded(request, b"".join(pieces), kind), answer.server

    def _greeting(self, identity: Identity) -> Greeting:
        request = identity.request

        def asked() -> None:
            with self._lock:
                self.requests[request.verb, request.resource] += 1

        def read(status: int, body: bytes) -> str | None:
            if status in (403, 404):
                return ""
            if status not in _SUCCESSES:
                return None
            try:
                return identity.read(body)
            except DECODE_ERRORS:
                return None

        return Greeting(request.path, read, asked, self._options.request_timeout_s)

    def _answered(self, request: Request, compressed: bool) -> Response:
        """A successful answer, which the caller closes. Credentials that the server refuses are renewed once."""
        response, generation = self._send(request, compressed)
        if response.status == 401:
            _close(response, response.connection)
            self._login.invalidate(generation)
            response, _ = self._send(request, compressed)
        if response.status in _SUCCESSES:
            return response
        connection = response.connection
        try:
            limit(response, self._options.request_timeout_s)
            raise _refused(request, response)
        finally:
            _close(response, connection)

    def _send(self, request: Request, compressed: bool) -> tuple[Response, int]:
        context = self._login.request_context()
        with self._lock:
            self.requests[request.verb, request.resource] += 1
        headers = context.headers | {"accept": request.accept or "application/json", "user-agent": "statedb"}
        headers["accept-encoding"] = "gzip" if compressed else "identity"
        if request.content_type:
            headers["content-type"] = request.content_type
        options = self._options
        started = time.perf_counter()
        try:
            response = context.pools.request(
                request.method,
                context.url + _target(request),
                body=request.body or None,
                headers=headers,
                preload_content=False,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=options.connect_timeout_s, read=options.request_timeout_s),
            )
        except SSLError as error:
            self._login.invalidate(context.generation)  # certificates may have been renewed on disk
            raise Unavailable(f"{request}: {context.url}: {reason(error)}") from None
        except TRANSPORT_ERRORS as error:
            raise Unavailable(f"{request}: {context.url}: {reason(error)}") from None
        self.on_answer(time.perf_counter() - started)
        return response, context.generation


def _target(request: Request) -> str:
    """The path and the query of a URL."""
    return f"{request.path}?{urlencode(request.parameters)}" if request.parameters else request.path


@contextmanager
def _transport_errors(request: Request) -> Generator[None, None, None]:
    """Translate errors of the transport to Silent and Unavailable."""
    try:
        yield
    except ReadTimeoutError:
        raise Silent(f"{request}: silent for too long") from None
    except TRANSPORT_ERRORS as error:
        raise Unavailable(f"{request}: {reason(error)}") from None


def _decoded(request: Request, data: bytes, kind: type[D]) -> D:
    """Decode a document. Bytes that are not UTF-8 become U+FFFD, as in Go."""
    try:
        return msgspec.json.decode(data, type=kind)
    except DECODE_ERRORS:
        text = repaired(data)
        if text is None:
            raise Broken(f"{request}: the answer is not of the API") from None
        return _decoded(request, text, kind)


def _refused(request: Request, response: Response) -> ApiError:
    try:
        body = response.read(_ERROR_BYTES, decode_content=True)
    except TRANSPORT_ERRORS:
        body = b""
    return refusal(request, response.status, body, response.headers.get("retry-after", ""))


def _close(response: Response, connection: Any) -> None:
    """Close an answer. ``connection`` (Any: urllib3 has no common type): its own, before any of it was read."""
    response.close()
    release(connection, response)
