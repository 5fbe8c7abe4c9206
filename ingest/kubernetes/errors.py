"""What an API server, or the way to it, can do to a request; one class for each thing that can be done about it."""

from __future__ import annotations


class ApiError(Exception):
    """Base: the request got no answer that helps. The message names the verb and the resource, never a secret."""

    retry_after_s: float | None = None
    """How long the server wishes to be left alone."""


class Unavailable(ApiError):
    """Nobody answers, or the server cannot serve now: try again later."""


class Silent(Unavailable):
    """Nothing came for too long on a connection that stands."""


class Endless(ApiError):
    """A list that comes as a stream has no end in time."""


class Broken(ApiError):
    """The server failed at this very request (HTTP 500), or its answer is none of the protocol."""


class TooLarge(ApiError):
    """The answer is larger than we read at once: ask for less of it."""


class Expired(ApiError):
    """What was asked for is too old for the server, or too new (HTTP 410): list anew."""


class Replaced(ApiError):
    """Another server, or another history, answers in place of the one that we knew: list anew."""


class Missing(ApiError):
    """The resource is not served: its CRD is not there."""


class Absent(ApiError):
    """The object that the request is about is not there."""


class Conflict(ApiError):
    """Somebody else changed the object since, sets the field, or has created it (HTTP 409)."""


class Unauthorized(ApiError):
    """The server does not know us, not even by renewed credentials."""


class Forbidden(ApiError):
    """The server knows us, and we may not."""


class Invalid(ApiError):
    """The server does not understand the request, or refuses it for what it is."""


REFUSALS = (Unauthorized, Forbidden, Invalid)
"""Those that do not heal by waiting."""
