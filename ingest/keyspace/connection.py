"""The thread of a source, which has one connection at a time. Knows neither keys nor tables."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ..backoff import Backoff
from ..etcd import Client, Closed, EtcdError
from ..status import Status
from ..worker import Worker
from .connect import Connector

_log = logging.getLogger("ingest")


class ConnectionLoop:
    """Connects and calls ``session``. When that fails, it tries the next server, or waits, longer each time.

    ``session`` gets a client, which is closed afterwards. It raises EtcdError when the connection is lost, and returns
    to get a new connection at once. ``lost`` is called with the error, ``ended`` with the exception that ended the
    thread, or None.
    """

    def __init__(
        self,
        name: str,
        connector: Connector,
        status: Status,
        session: Callable[[Client], None],
        lost: Callable[[EtcdError], None],
        ended: Callable[[Exception | None], None],
        *,
        retry_min_s: float,
        retry_max_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``name`` is the name of the thread. Pending rows of the status are written while the loop waits."""
        self.connector = connector
        self._status = status
        self._session = session
        self._lost = lost
        self._backoff = Backoff(retry_min_s, retry_max_s)
        self._clock = clock
        self._healthy_since: float | None = None
        self._client: Client | None = None
        self._reconnect = threading.Event()
        self._name = name
        self._worker = Worker(name, self._run, ended)

    @property
    def failure(self) -> BaseException | None:
        """The error that ended the thread unexpectedly, or None."""
        return self._worker.failure

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._worker.stopping

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def stop(self) -> None:
        """Ask it to end. A request in progress is cancelled."""
        self._worker.stop()
        self.reconnect()
        self.connector.close()

    def reconnect(self) -> None:
        """End the current connection or pause. The session's calls raise Closed. May be called from any thread."""
        self._reconnect.set()
        client = self._client
        if client is not None:
            client.close()

    def replace(self, connector: Connector) -> None:
        """Use another connector from now on. May be called from any thread."""
        before, self.connector = self.connector, connector
        self.reconnect()
        before.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended."""
        return self._worker.join(timeout)

    def mark_healthy(self) -> None:
        """The connection works: keep this server, and begin with short pauses again after the next failure."""
        if self._healthy_since is None:
            self._healthy_since = self._clock()
            self._status.figures.record_connection()
            self.connector.mark_working()

    def _run(self) -> None:
        while not self._worker.stopping:
            self._healthy_since = None
            try:
                self._connect()
                continue
            except EtcdError as error:
                if self._worker.stopping:
                    return
                if isinstance(error, Closed) and self._reconnect.is_set():
                    continue
                _log.debug("%s: the connection is lost: %s", self._name, error)
                self._status.figures.failures += 1
                self._lost(error)
            if self._healthy_since is not None:
                self._backoff.record_uptime(self._clock() - self._healthy_since)
            if not self.connector.try_next():
                wait_s = self._backoff.next()
                _log.debug("%s: next try in %.2f s", self._name, wait_s)
                self._wait(wait_s)

    def _connect(self) -> None:
        self._reconnect.clear()
        self._client = client = self.connector.connect()
        client.on_answer = self._status.figures.record_request
        try:
            # stop() may have looked for a client before there was one
            if not self._worker.stopping and not self._reconnect.is_set():
                self._session(client)
        finally:
            self._client = None
            client.close()

    def _wait(self, seconds: float) -> None:
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            due_in = self._status.due_in()
            if self._reconnect.wait(left if due_in is None else min(left, due_in)):
                return
            self._status.write_if_due()
