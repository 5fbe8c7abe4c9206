"""Requests to one API server: credentials, errors, counts, cutting them off. Knows no lists and no watches."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError, SSLError

from statedb.catalog.wire import DECODE_ERRORS

from .errors import ApiError, Broken, Silent, TooLarge, Unavailable
from .login import Login
from .options import ApiServerOptions
from .reasons import reason
from .refusals import refusal
from .request import Request
from .sockets import Greeting, Sockets, has_more, release, server_of, set_silence

Response: TypeAlias = urllib3.BaseHTTPResponse

_ERROR_BYTES = 1 << 16
_CHUNK = 1 << 16
_SUCCESSES = (200, 201, 202)

TRANSPORT_ERRORS = (HTTPError, http.client.HTTPException, OSError, ValueError, OverflowError)
"""What urllib3 raises while it sends or reads; the last two for headers and lengths that no server writes."""

D = TypeVar("D")


class Answer:
    """An answer that is no error, whose body is still to be read."""

    def __init__(self, request: Request, response: Response, server: str | None) -> None:
        """``request`` is named in errors."""
        self.request = request
        self.server = server
        """Who is at the other end of the connection that it came on; None: nobody has said so."""
        self._response = response

    def chunks(self, *, decoded: bool = False) -> Iterator[bytes]:
        """The body as it comes; ``decoded``: unpacked where it is compressed. Raises Silent, Unavailable."""
        chunks = self._response.stream(_CHUNK, decode_content=decoded)
        while True:
            with _transport_errors(self.request):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def has_more(self) -> bool:
        """Whether more has come already. May miss a little that a buffer holds."""
        return has_more(self._response)


class Identity(msgspec.Struct, frozen=True):
    """How a server is recognised: by what ``read`` finds in the answer to ``request``.

    It is empty for a server that does not tell us. ``read`` may raise what a decoder raises.
    """

    request: Request
    read: Callable[[bytes], str]


class Api:
    """One API server. For any threads; `close` ends what they wait for."""

    def __init__(self, options: ApiServerOptions, identity: Identity | None = None) -> None:
        """Reads the configuration. Raises Unauthorized naming what is wrong with it.

        With an ``identity``, who answers is asked first on every connection.
        """
        self.requests: Counter[tuple[str, str]] = Counter()
        """How many requests were sent, by verb and resource; for anybody to read."""
        self.on_answer: Callable[[float], None] = lambda _: None
        """Called on each answer's head, with the seconds that it took."""
        self._options = options
        self._lock = threading.Lock()
        self._sockets = Sockets(None if identity is None else self._greeting(identity))
        self._login = Login(options, self._sockets)

    @property
    def waiting(self) -> str:
        """What requests cannot begin without, in words; empty if they can."""
        return self._login.waiting

    @property
    def certificate_files(self) -> dict[str, str]:
        """The files with certificates that it shows or trusts, by the names of their options."""
        return self._login.certificate_files

    def close(self) -> None:
        """Cut off every request and let no other begin. From any thread, more than once."""
        self._sockets.abort()
        self._login.close()

    def clear(self) -> None:
        """Close connections that nobody uses; after `close`."""
        self._login.clear()

    @contextmanager
    def get(
        self, request: Request, *, silence_s: float | None = None, compressed: bool = False
    ) -> Generator[Answer, None, None]:
        """The answer; raises the ApiError that says why there is none.

        Its head must come within ``request_timeout_s``; then its body may be silent for ``silence_s``, the same if not
        given.
        """
        response, generation = self._send(request, compressed)
        if response.status == 401:
            _close(response)
            self._login.invalidate(generation)
            response, generation = self._send(request, compressed)
        connection = response.connection
        try:
            if response.status not in _SUCCESSES:
                raise _refused(request, response)
            if silence_s is not None:
                set_silence(connection, silence_s)
            yield Answer(request, response, server_of(connection))
        finally:
            response.close()
            release(connection, response)

    def document(
        self,
        request: Request,
        kind: type[D],
        *,
        bytes_max: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> D:
        """A whole answer; see `read`."""
        return self.read(request, kind, bytes_max=bytes_max, clock=clock)[0]

    def read(
        self,
        request: Request,
        kind: type[D],
        *,
        bytes_max: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> tuple[D, str | None]:
        """A whole answer, within ``request_timeout_s``, and who is at the other end of its connection.

        Raises TooLarge for more than ``bytes_max`` bytes, as soon as they have come.
        """
        until, size, pieces = clock() + self._options.request_timeout_s, 0, list[bytes]()
        with self.get(request, compressed=True) as answer:
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
    """Errors of the transport become Silent and Unavailable."""
    try:
        yield
    except ReadTimeoutError:
        raise Silent(f"{request}: silent for too long") from None
    except TRANSPORT_ERRORS as error:
        raise Unavailable(f"{request}: {reason(error)}") from None


def _decoded(request: Request, data: bytes, kind: type[D]) -> D:
    """A document. Bytes that are not UTF-8 are read as U+FFFD, as Go reads them."""
    try:
        return msgspec.json.decode(data, type=kind)
    except UnicodeDecodeError:
        return _decoded(request, data.decode("utf-8", "replace").encode(), kind)
    except DECODE_ERRORS:
        raise Broken(f"{request}: the answer is not of the API") from None


def _refused(request: Request, response: Response) -> ApiError:
    try:
        body = response.read(_ERROR_BYTES, decode_content=True)
    except TRANSPORT_ERRORS:
        body = b""
    return refusal(request, response.status, body, response.headers.get("retry-after", ""))


def _close(response: Response) -> None:
    connection = response.connection
    response.close()
    release(connection, response)
