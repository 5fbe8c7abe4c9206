"""The HTTP server: runs an ASGI application on a thread of its own, with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import uvicorn

from ..address import Address
from .connections import Connection, Connections, Counts, Limits
from .listening import Listener

_HEAD_BYTES_MAX = 64 * 1024
_KEEPALIVE_S = 5


class Server:
    """Listens from the moment it is made; answers between `begin` and `end`."""

    def __init__(self, address: Address, app: Any, limits: Limits | None = None) -> None:
        """``app`` is an ASGI application. Raises StartError, which names ``http.listen``."""
        self._app = app
        self._limits = limits or Limits()
        self._listener = Listener(address)
        self._connections = Connections(self._limits)
        self._stopping = asyncio.Event()
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._listener.address

    @property
    def counts(self) -> Counts:
        """What has happened to connections since the start."""
        return self._connections.counts

    @property
    def connection_count(self) -> int:
        """How many connections are open."""
        return len(self._connections.connections)

    def begin(self) -> None:
        """Answer requests from now on."""
        self._thread.start()
        self._started.wait()

    def end(self) -> None:
        """Stop listening, and close all connections within about a second. At most once."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        config = self._config()
        config.load()
        listening = self._listener.socket
        server = await self._loop.create_server(lambda: Connection(config, self._connections), sock=listening)
        self._started.set()
        await self._stopping.wait()
        # Order: asyncio loses a connection that it has accepted, but not yet made, when the server closes meanwhile.
        self._loop.remove_reader(listening.fileno())
        await self._connections.all_made()
        server.close()
        await self._connections.close()

    def _config(self) -> uvicorn.Config:
        """Of uvicorn we use the protocol and its parser; listening, stopping and logging are ours."""
        return uvicorn.Config(
            self._app,
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEPALIVE_S,
            h11_max_incomplete_event_size=_HEAD_BYTES_MAX,
        )
