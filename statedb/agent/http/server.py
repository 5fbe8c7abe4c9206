"""The HTTP server: runs an ASGI application on a thread with its own event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import uvicorn

from ..address import Address
from ..errors import StartError
from .accepting import Acceptor
from .connections import Connection, Connections
from .limits import Counts, Limits
from .listening import Listener
from .tls import TlsFiles

log = logging.getLogger("statedb.agent")

_HEAD_BYTES_MAX = 64 * 1024
_KEEPALIVE_S = 5
_POLL_S = 1.0


class Server:
    """Listens from its creation on, and answers between `begin` and `end`."""

    def __init__(
        self,
        address: Address,
        app: Any,
        limits: Limits | None = None,
        *,
        tls: TlsFiles | None = None,
        option: str = "http.listen",
    ) -> None:
        """``app`` is an ASGI application; ``tls`` is looked at every second. Raises StartError naming ``option``."""
        self._app = app
        self._tls = tls
        self._limits = limits or Limits()
        self._listener = Listener(address, option)
        self._connections = Connections(self._limits)
        self._stopping = asyncio.Event()
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=option, daemon=True)

    @property
    def address(self) -> Address:
        """The address that it listens on."""
        return self._listener.address

    @property
    def counts(self) -> Counts:
        """Counts of connection events since the start."""
        return self._connections.counts

    @property
    def connection_count(self) -> int:
        """The number of open connections."""
        return len(self._connections.connections)

    def begin(self) -> None:
        """Start to answer requests."""
        self._thread.start()
        self._started.wait()

    def end(self) -> None:
        """Stop listening, and close all connections within about a second. Call it at most once."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await anyio.to_thread.run_sync(int)  # anyio's first call imports modules, which takes 0.1 s
        config = self._config()
        config.load()
        acceptor = self._acceptor(config)
        self._started.set()
        while not await self._stopped_within(None if self._tls is None else _POLL_S):
            if self._tls is not None and self._renewed(self._tls):
                acceptor.tls = self._tls.context
        await acceptor.close()
        await self._connections.close()

    def _acceptor(self, config: uvicorn.Config) -> Acceptor:
        make: Callable[[], Connection] = lambda: Connection(config, self._connections)  # noqa: E731
        tls = None if self._tls is None else self._tls.context
        return Acceptor(self._listener.socket, make, self._connections.turns, self._limits, tls)

    async def _stopped_within(self, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    def _renewed(self, tls: TlsFiles) -> bool:
        """Whether there is a new certificate. A bad one is logged once, and the previous one stays in use."""
        try:
            if not tls.changed():
                return False
        except StartError as error:
            log.warning("%s; the previous files stay in use", error)
            return False
        log.info("http.tls: certificates were reloaded")
        return True

    def _config(self) -> uvicorn.Config:
        """The protocol and the parser are uvicorn's. Listening, stopping and logging are ours."""
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
