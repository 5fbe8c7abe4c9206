"""What the connections of an API server share: its objects, its faults, and signals to its watches."""

from __future__ import annotations

import socket
from collections import Counter

from ._faults import Faults
from ._store import Store


class State:
    """The state of one API server. The lock of the store guards all of it."""

    def __init__(self) -> None:
        """No requests and no faults yet."""
        self.requests: Counter[tuple[str, str]] = Counter()
        """The number of requests by verb and plural."""
        self.streams_lists = True
        """Whether the server supports streamed lists (sendInitialEvents)."""
        self.store = Store()
        self.faults = Faults()
        self.epoch = 0
        """How many times all connections were cut."""
        self.endings = 0
        """How many times all watches were ended."""
        self.bookmarks = 0
        """How many times bookmarks were sent to all watches."""
        self.connections: set[socket.socket] = set()
        """The open connections."""
