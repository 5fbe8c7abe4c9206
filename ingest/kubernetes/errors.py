"""Errors of requests to an API server, one class for each thing that the caller can do about it."""

from __future__ import annotations


class ApiError(Exception):
    """Base of all errors of requests. The message names the verb and the resource, and has no secrets."""

    retry_after_s: float | None = None
    """The pause that the server asks for (``Retry-After``)."""


class Unavailable(ApiError):
    """The server does not answer or is not available now: try again later."""


class Silent(Unavailable):
    """No data came for too long on an established connection."""


class Endless(ApiError):
    """A streamed list did not end in time."""


class Broken(ApiError):
    """The server failed on this request (HTTP 500), or its answer is malformed."""


class TooLarge(ApiError):
    """The answer exceeds the limit: request less."""


class Expired(ApiError):
    """The requested version is too old for the server, or too new (HTTP 410): list again."""


class Replaced(ApiError):
    """Another server, or one with another history, has replaced the one that we knew: list again."""


class Missing(ApiError):
    """The resource is not served: its CRD does not exist."""


class Absent(ApiError):
    """The object of the request does not exist."""


class Conflict(ApiError):
    """The object was changed or created by somebody else, or the field has another manager (HTTP 409)."""


class Unauthorized(ApiError):
    """The server rejects our credentials, also after they were renewed."""


class Forbidden(ApiError):
    """Our account does not have the right."""


class Invalid(ApiError):
    """The server does not understand the request, or refuses it as invalid."""


REFUSALS = (Unauthorized, Forbidden, Invalid)
"""Errors that waiting does not cure."""
