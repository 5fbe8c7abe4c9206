"""A server that resets the first connection, and what a client has left open then."""

from __future__ import annotations

import gc
import select
import socket
import ssl
import struct
from typing import Self


class ResettingServer:
    """Listens on ``port`` while its block runs, and resets its one connection by `reset`."""

    def __init__(self) -> None:
        """Listening."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])

    def __enter__(self) -> Self:
        """Nothing more is needed: the system accepts for it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._listening.close()

    def reset(self, client: socket.socket) -> None:
        """Reset the connection of a client that has connected. The client's side has been told when this returns."""
        accepted, _ = self._listening.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        poll = select.poll()
        poll.register(client, 0)  # a reset is told without being asked for
        assert poll.poll(30_000)


def open_tls_sockets() -> list[ssl.SSLSocket]:
    """Those of this process. One that an exception still refers to is among them, and told without a warning's luck."""
    return [each for each in gc.get_objects() if type(each) is ssl.SSLSocket and each.fileno() >= 0]
