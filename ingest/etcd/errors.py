"""Errors of the etcd client, one class for each thing that the caller can do about it. Messages contain no secrets."""

from __future__ import annotations

import re

import grpc

from .types import Refusal


class EtcdError(Exception):
    """Base of all errors of this client: the server refused, and trying the same again will not help."""

    refusal: Refusal = ""
    """What `Client.commit` answers in place of this error; empty where it raises it."""


class Unavailable(EtcdError):
    """No server answers, or it has no leader, or it took too long: try again later, or another endpoint."""


class Compacted(EtcdError):
    """The requested revision is compacted: list again. ``revision`` is the oldest one available, 0 if unknown."""

    def __init__(self, message: str, revision: int = 0) -> None:
        """``revision`` is etcd's compact_revision."""
        super().__init__(message)
        self.revision = revision


class FutureRevision(EtcdError):
    """The server has not reached the requested revision: it is another server, or it lost data."""


class PermissionDenied(EtcdError):
    """The user may not do this: give the user's role the right to read the prefix."""

    refusal = "denied"


class Unauthenticated(EtcdError):
    """The server does not know who we are: check user name and password, or the client certificate."""


class TooLarge(EtcdError):
    """The request or its answer has more bytes than a limit: ask for less."""

    refusal = "too large"


class TooMany(EtcdError):
    """The transaction has more operations than the server takes: split it."""

    refusal = "too many"


class NoSpace(Unavailable):
    """The database has reached its quota: only reads and deletes work until the alarm is disarmed."""

    refusal = "no space"


class LeaseGone(EtcdError):
    """The lease has expired or was revoked: grant a new one."""

    refusal = "no lease"


class OtherCluster(Unavailable):
    """Another etcd cluster answers on this connection than before: reconnect, and trust nothing learned from it."""


class Closed(EtcdError):
    """The client was closed, by its owner, while it was used."""


_NO_CONNECTION = re.compile(
    r"(?:failed to connect to all addresses; last error: )?(?:[A-Z_]+: )?(?:ipv[46]:(?P<address>\S+): )?"
    r"(?:Failed to connect to remote host: )?"
)
"""What gRPC puts in front of the reason; there is one address only."""

_BY_CODE: dict[grpc.StatusCode, type[EtcdError]] = {
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,  # by a proxy, or by a server that shuts down
    grpc.StatusCode.UNKNOWN: Unavailable,  # a stream that broke in the middle
    grpc.StatusCode.INTERNAL: Unavailable,
    grpc.StatusCode.OK: Unavailable,  # a watch that the server ended
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
}


_BY_WORDS: dict[str, type[EtcdError]] = {
    "request is too large": TooLarge,
    "too many operations in txn": TooMany,
    "larger than max": TooLarge,
    "database space exceeded": NoSpace,
    "requested lease not found": LeaseGone,
}
"""Messages of etcd (api/v3rpc/rpctypes/error.go) and gRPC. Their status codes alone do not distinguish these errors."""


def translated(error: grpc.RpcError, endpoint: str) -> EtcdError:
    """Our error for an error of gRPC. ``endpoint`` is the server that was asked."""
    code: grpc.StatusCode = error.code()
    details = str(error.details() or code.name.lower())
    text = f"{endpoint}: {_reason(details.removeprefix('etcdserver: '), endpoint)}"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unavailable(f"{endpoint}: no answer in time")
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return Compacted(text) if "compacted" in details else FutureRevision(text)
    for words, kind in _BY_WORDS.items():
        if words in details:
            return kind(text)
    if "authentication failed" in details or "invalid auth token" in details:
        return Unauthenticated(text)
    return _BY_CODE.get(code, EtcdError)(text)


def _reason(details: str, endpoint: str) -> str:
    """What went wrong, without the words around it. The address stays where the endpoint is a name.

    >>> _reason("UNKNOWN: ipv4:10.0.0.1:2379: Failed to connect to remote host: Connection refused", "http://etcd:2379")
    '10.0.0.1:2379: Connection refused'
    >>> _reason("Stream removed (Socket closed (GOAWAY received; Debug Text: graceful_stop))", "etcd:2379")
    'the server was stopped'
    >>> _reason("Socket closed", "etcd:2379")
    'the connection was closed'
    """
    if "Socket closed" in details:  # gRPC's words, with the reason of HTTP/2 if the server gave one
        return "the server was stopped" if "graceful_stop" in details else "the connection was closed"
    match = _NO_CONNECTION.match(details)
    if match is None or match.end() == len(details):
        return details
    address = match["address"] or ""
    at = f"{address}: " if address and address not in endpoint else ""
    return at + details[match.end() :]


def is_stale_login(error: grpc.RpcError) -> bool:
    """Whether logging in anew may help: the token has expired, or users and roles have changed since."""
    details = str(error.details() or "")
    return "invalid auth token" in details or "revision of auth store is old" in details
