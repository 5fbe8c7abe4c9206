"""A server that resets the first connection."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Self


class ResettingServer:
    """Listens on ``port`` while its block runs. The reset has been sent once `wait` returns."""

    def __init__(self) -> None:
        """Listening, not yet accepting."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._reset)

    def __enter__(self) -> Self:
        """Accept."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._listening.close()

    def wait(self) -> None:
        """Until the connection was reset."""
        self._thread.join()

    def _reset(self) -> None:
        accepted, _ = self._listening.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
