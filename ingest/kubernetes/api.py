"""Requests to one API server: credentials, errors, counts, cutting them off. Knows no lists and no watches."""

from __future__ import annotations

import email.utils
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError, SSLError

from ..events import excerpt
from .credentials import Credentials
from .errors import ApiError, Broken, Expired, Forbidden, Invalid, Missing, Silent, Unauthorized, Unavailable
from .options import ApiServerOptions
from .sockets import Sockets

Response: TypeAlias = urllib3.BaseHTTPResponse

_ERROR_BYTES = 1 << 16
_TEXT = 200
_CHUNK = 1 << 16

D = TypeVar("D")


class Request(msgspec.Struct, frozen=True):
    """What is asked. ``verb`` is Kubernetes' word (get, list, watch), for counting and for errors."""

    verb: str
    resource: str
    path: str
    parameters: Mapping[str, str] = {}

    def __str__(self) -> str:
        """``list ciliumnodes.cilium.io``."""
        return f"{self.verb} {self.resource}"


class Api:
    """One API server. For any threads; `close` ends what they wait for."""

    def __init__(self, options: ApiServerOptions) -> None:
        """Reads the configuration. Raises Unauthorized naming what is wrong with it."""
        self.requests: Counter[tuple[str, str]] = Counter()
        """How many requests were sent, by verb and resource; for anybody to read."""
        self._options = options
        self._lock = threading.Lock()
        self._sockets = Sockets()
        self._generation = 0
        self._credentials = self._read()

    def close(self) -> None:
        """Cut off every request and let no other begin. From any thread, more than once."""
        self._sockets.cut()

    def clear(self) -> None:
        """Close connections that nobody uses; after `close`."""
        with self._lock:
            self._credentials.pools.clear()

    @contextmanager
    def get(self, request: Request, *, silence_s: float, compressed: bool = False) -> Generator[Response, None, None]:
        """The answer, whose body is still to be read; what it cannot do is an ApiError.

        ``silence_s``: how long it may say nothing. Inside the block, `reading` translates errors of the transport.
        """
        response, generation = self._send(request, silence_s, compressed)
        if response.status == 401:
            response.close()
            self._outdate(generation)
            response, generation = self._send(request, silence_s, compressed)
        try:
            if response.status != 200:
                raise _refusal(request, response)
            with self.reading(request):
                yield response
        finally:
            response.close()

    def document(
        self, request: Request, kind: type[D], timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> D:
        """A whole answer, within a time that holds for each silence and for all of it."""
        until = clock() + timeout_s
        with self.get(request, silence_s=timeout_s, compressed=True) as response:
            pieces = []
            for piece in response.stream(_CHUNK, decode_content=True):
                pieces.append(piece)
                if clock() > until:
                    raise Unavailable(f"{request}: the answer takes too long")
        try:
            return msgspec.json.decode(b"".join(pieces), type=kind)
        except (msgspec.MsgspecError, RecursionError):
            raise Broken(f"{request}: the answer is not of the API") from None

    @contextmanager
    def reading(self, request: Request) -> Generator[None, None, None]:
        """Errors of the transport become Silent and Unavailable."""
        try:
            yield
        except ReadTimeoutError:
            raise Silent(f"{request}: silent for too long") from None
        except (HTTPError, OSError) as error:
            raise Unavailable(f"{request}: {_reason(error)}") from None

    def _send(self, request: Request, silence_s: float, compressed: bool) -> tuple[Response, int]:
        with self._lock:
            if self._generation < 0:
                before, self._credentials = self._credentials, self._read()
                before.pools.clear()  # who still uses one of its connections is not disturbed
                self._generation = -self._generation
            generation, credentials = self._generation, self._credentials
            headers = credentials.headers()
            self.requests[request.verb, request.resource] += 1
        headers |= {"accept": "application/json", "user-agent": "statedb"}
        headers["accept-encoding"] = "gzip" if compressed else "identity"
        try:
            return (
                credentials.pools.request(
                    "GET",
                    credentials.url + request.path,
                    fields=dict(request.parameters),
                    headers=headers,
                    preload_content=False,
                    retries=False,
                    redirect=False,
                    timeout=urllib3.Timeout(connect=self._options.connect_timeout_s, read=silence_s),
                ),
                generation,
            )
        except SSLError as error:
            self._outdate(generation)  # certificates may have been renewed on disk
            raise Unavailable(f"{request}: {credentials.url}: {_reason(error)}") from None
        except (HTTPError, OSError) as error:
            raise Unavailable(f"{request}: {credentials.url}: {_reason(error)}") from None

    def _read(self) -> Credentials:
        credentials = Credentials(self._options)
        self._sockets.adopt(credentials.pools)
        return credentials

    def _outdate(self, generation: int) -> None:
        """Read the configuration anew before the next request; once for all that failed with the same one."""
        with self._lock:
            if self._generation == generation:
                self._generation = -(generation + 1)


def refusal(request: Request, status: int, body: bytes | msgspec.Raw, retry_after: str = "") -> ApiError:
    """What an HTTP status, or an error inside a stream, means. ``body`` is a Status of Kubernetes, mostly."""
    try:
        said = msgspec.json.decode(body, type=_Status)
    except msgspec.MsgspecError:
        said = _Status()
    message = excerpt(said.message)[:_TEXT] or f"HTTP {status}"
    error: ApiError
    if status == 401:
        error = Unauthorized(f"{request}: the API server refuses our credentials (401), renewed ones too: {message}")
    elif status == 403:
        error = Forbidden(f"may not {request}: {message}; grant it by a ClusterRole, see docs/kubernetes.md")
    elif status == 404:
        error = Missing(f"{request}: not served by this API server; waiting for its CRD")
    elif status == 410 or said.reason in ("Gone", "Expired") or said.is_of_the_future:
        error = Expired(f"{request}: {message}")
    elif status in (429, 502, 503, 504):
        error = Unavailable(f"{request}: {'too many requests' if status == 429 else 'not available'}: {message}")
    elif status >= 500 or status < 400:
        error = Broken(f"{request}: HTTP {status}: {message}")
    else:
        error = Invalid(f"{request}: refused with HTTP {status}: {message}")
    error.retry_after_s = _seconds(retry_after) if retry_after else said.details.retry_after_seconds
    return error


class _Cause(msgspec.Struct):
    reason: str | None = None


class _Details(msgspec.Struct, rename="camel"):
    retry_after_seconds: float | None = None
    causes: list[_Cause] | None = None


class _Status(msgspec.Struct, rename="camel"):
    message: str = ""
    reason: str = ""
    details: _Details = msgspec.field(default_factory=_Details)

    @property
    def is_of_the_future(self) -> bool:
        """We ask for a version that the server has not reached: it lags, or its history is another one."""
        return any(cause.reason == "ResourceVersionTooLarge" for cause in self.details.causes or ())


def _refusal(request: Request, response: Response) -> ApiError:
    try:
        body = response.read(_ERROR_BYTES, decode_content=True)
    except (HTTPError, OSError):
        body = b""
    return refusal(request, response.status, body, response.headers.get("retry-after", ""))


def _seconds(text: str) -> float | None:
    """A Retry-After, in seconds or as a date; None if it is neither."""
    try:
        return max(0.0, float(int(text)))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _reason(error: BaseException | Any) -> str:
    """What went wrong, in words without addresses of objects; the innermost error says it best."""
    seen = error
    for _ in range(8):
        inner = seen.__cause__ or next((each for each in seen.args if isinstance(each, BaseException)), None)
        if inner is None:
            break
        seen = inner
    if isinstance(seen, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {seen.verify_message}"
    if isinstance(seen, ssl.SSLError):
        return f"TLS: {seen.reason or type(seen).__name__}"
    if isinstance(seen, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(seen, TimeoutError) or "Timeout" in type(seen).__name__:
        return "no answer in time"
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return f"the connection broke ({type(seen).__name__})"
