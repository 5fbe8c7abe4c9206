"""The limits of a server, and what it counts."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a server: times in seconds, and maximum numbers.

    ``request_s``: from the opening of a connection, or the end of a response, to the end of the next request's headers.
    ``write_s``: how long a reader may leave more than 32 KiB unread before it is disconnected.
    """

    request_s: float = 10.0
    write_s: float = 10.0
    stop_s: float = 1.0
    connections: int = 8192
    queries: int = 256
    streams: int = 5000


class Counts(msgspec.Struct):
    """Counts of connection events since the start."""

    opened: int = 0
    slow_requests: int = 0
    slow_readers: int = 0
    refused: int = 0
