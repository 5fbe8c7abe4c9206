"""The credentials for one API server, shared by threads, and read again when the server refuses them.

Plugins run and files are read under a lock of their own, and not under the lock of the current credentials. So a
hanging plugin delays new requests until its time limit, and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
import urllib3

from .credentials import Credentials, PlainCredentials, check_headers, check_url, package_credentials, plain_credentials
from .errors import Unauthorized
from .options import ApiServerOptions
from .plugins import Plugins, PluginTimeout
from .sockets import Sockets

_OPENING_S = 3.0


class RequestContext(msgspec.Struct, frozen=True):
    """What one request needs. ``generation`` counts how often the configuration was read."""

    generation: int
    url: str
    pools: urllib3.PoolManager
    headers: dict[str, str]


class Login:
    """Provides credentials for requests. For any thread; `close` ends all waits."""

    def __init__(
        self, options: ApiServerOptions, sockets: Sockets, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Reads the configuration. Raises Unauthorized with the reason if it is invalid.

        If a plugin takes longer than three seconds, the first request runs it again.
        """
        self._options = options
        self._sockets = sockets
        self._clock = clock
        self._plugin_lock = threading.Lock()
        self._plugins = Plugins()
        self._lock = threading.Lock()
        self._generation = 0
        self._is_invalid = True
        self._credentials: Credentials | None = None
        self._failure = ""
        self._failed_at = float("-inf")
        try:
            self.request_context(min(_OPENING_S, options.plugin_timeout_s))
        except PluginTimeout:
            pass

    def request_context(self, timeout_s: float | None = None) -> RequestContext:
        """The present credentials, renewed if necessary. Raises Unauthorized, and after `close` runs no plugin.

        Threads that waited while another one failed share its failure, so that a hanging plugin is not run once for
        each of them.
        """
        arrived = self._clock()
        limit_s = self._options.plugin_timeout_s if timeout_s is None else timeout_s
        with self._plugin_lock:
            if self._failed_at >= arrived:
                raise Unauthorized(self._failure)
            try:
                credentials, generation = self._current(limit_s)
                headers = self._headers(credentials, limit_s)
                check_headers(headers)
            except Unauthorized as error:
                self._failure, self._failed_at = str(error), self._clock()
                raise
        return RequestContext(generation, credentials.url, credentials.pools, headers)

    @property
    def waiting(self) -> str:
        """The credential plugin that requests have been waiting for, for over a second; empty if there is none."""
        return self._plugins.waiting

    @property
    def certificate_files(self) -> dict[str, str]:
        """The certificate files of the present credentials, by their roles."""
        with self._lock:
            return {} if self._credentials is None else self._credentials.certificate_files

    def invalidate(self, generation: int) -> None:
        """Read the configuration again before the next request, once for all requests that failed with the same one."""
        with self._lock:
            self._is_invalid = self._is_invalid or self._generation == generation

    def clear(self) -> None:
        """Close idle connections."""
        with self._lock:
            credentials = self._credentials
        if credentials is not None:
            credentials.pools.clear()

    def close(self) -> None:
        """End all waits for a plugin with an error. May be called from any thread and repeatedly."""
        self._plugins.close()

    def _current(self, timeout_s: float) -> tuple[Credentials, int]:
        with self._lock:
            credentials, is_invalid = self._credentials, self._is_invalid
        if credentials is None or is_invalid:
            renewed = self._read(timeout_s)
            self._sockets.attach(renewed.pools, urlsplit(renewed.url).path.rstrip("/"))
            if credentials is not None:
                credentials.pools.clear()  # connections in use are not closed
            with self._lock:
                self._credentials = credentials = renewed
                self._generation += 1
                self._is_invalid = False
        return credentials, self._generation

    def _read(self, timeout_s: float) -> Credentials:
        plain = plain_credentials(self._options)
        read = plain or self._plugins.run(package_credentials(self._options), timeout_s)
        check_url(read.url)
        return read

    def _headers(self, credentials: Credentials, timeout_s: float) -> dict[str, str]:
        if isinstance(credentials, PlainCredentials):
            return credentials.headers()
        return self._plugins.run(credentials.headers, timeout_s)
