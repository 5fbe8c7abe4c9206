"""Translates HTTP statuses, and errors within a stream, to exceptions. Pure except for the wall clock."""

from __future__ import annotations

import email.utils
import time

import msgspec

from statedb.catalog.wire import DECODE_ERRORS

from ..events import excerpt
from .errors import Absent, ApiError, Broken, Conflict, Expired, Forbidden, Invalid, Missing, Unauthorized, Unavailable
from .request import Request

_TEXT = 200
_RETRY_AFTER_MAX_S = 3600.0
"""The longest time for which a ``Retry-After`` of the server is obeyed."""


def refusal(request: Request, status: int, body: bytes | msgspec.Raw, retry_after: str = "") -> ApiError:
    """The error for an HTTP status, or for an error within a stream. ``body`` usually is a Status of Kubernetes."""
    reply = _status(body)
    message = excerpt(reply.message)[:_TEXT] or f"HTTP {status}"
    error: ApiError
    if status == 401:
        error = Unauthorized(f"{request}: the API server refuses our credentials (401), renewed ones too: {message}")
    elif status == 403:
        error = Forbidden(f"may not {request}: {message}; grant it by a ClusterRole, see docs/kubernetes.md")
    elif status == 404 and request.name:
        error = Absent(f"{request}: there is no such object")
    elif status == 409:
        error = Conflict(f"{request}: {message}")
    elif status == 404:
        error = Missing(f"{request}: not served by this API server; waiting for its CRD")
    elif status == 410 or reply.reason in ("Gone", "Expired") or reply.is_too_new:
        error = Expired(f"{request}: {message}")
    elif status in (429, 502, 503, 504):
        error = Unavailable(f"{request}: {'too many requests' if status == 429 else 'not available'}: {message}")
    elif status >= 500 or status < 400:
        error = Broken(f"{request}: HTTP {status}: {message}")
    else:
        error = Invalid(f"{request}: refused with HTTP {status}: {message}")
    error.retry_after_s = _bounded(_seconds(retry_after) if retry_after else reply.details.retry_after_seconds)
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
    def is_too_new(self) -> bool:
        """Whether the server has not reached the requested version: it lags, or has another history."""
        return any(cause.reason == "ResourceVersionTooLarge" for cause in self.details.causes or ())


def _status(body: bytes | msgspec.Raw) -> _Status:
    """The Status in a body; an empty one if there is none. Bytes that are not UTF-8 become U+FFFD."""
    try:
        return msgspec.json.decode(bytes(body).decode("utf-8", "replace"), type=_Status)
    except DECODE_ERRORS:
        return _Status()


def _bounded(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(0.0, seconds), _RETRY_AFTER_MAX_S)


def _seconds(text: str) -> float | None:
    """A Retry-After, in seconds or as a date; None if it is neither."""
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return None
