"""Plain HTTP to an API server: what the tests of the rig and the rig itself need of it, and nothing else."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import msgspec

from ingest.unfinished_tls import close_unfinished_tls

_TIMEOUT_S = 30.0


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, said: Any) -> None:
        """``said`` is the decoded body: a Status, mostly (Any: JSON)."""
        super().__init__(f"HTTP {status}: {said}")
        self.status = status
        self.said = said


class Rest:
    """One user of one server. Each request has a connection of its own."""

    def __init__(self, url: str, ca: str, token: str) -> None:
        """``ca`` is the path of the certificate that signs the server's."""
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._trust = ssl.create_default_context(cafile=ca)
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def get(self, path: str, **query: str) -> Any:
        """What is there (Any: JSON). Raises Refused, and OSError if nobody answers."""
        return self.call("GET", path, query=query)

    def create(self, path: str, what: Any) -> Any:
        """Add an object to a collection; answers it as stored. Raises Refused and OSError."""
        return self.call("POST", path, what)

    def replace(self, path: str, what: Any) -> Any:
        """Overwrite an object; answers it as stored. Raises Refused and OSError."""
        return self.call("PUT", path, what)

    def delete(self, path: str) -> Any:
        """Remove an object. Raises Refused and OSError."""
        return self.call("DELETE", path)

    def call(self, method: str, path: str, what: Any = None, *, query: Mapping[str, str] = {}) -> Any:
        """One request, one decoded answer: text where it is no JSON. Raises Refused and OSError."""
        with closing(self._connection(_TIMEOUT_S)) as connection:
            with closing(self._send(connection, method, path, what, query)) as answer:
                return _decoded(answer)

    def watch(self, path: str, *, wait_s: float = _TIMEOUT_S, **query: str) -> Stream:
        """The events of a watch, which has begun when this returns. Raises Refused and OSError."""
        connection = self._connection(wait_s)
        try:
            return Stream(connection, self._send(connection, "GET", path, None, {"watch": "true", **query}))
        except BaseException:
            connection.close()
            raise

    def _connection(self, timeout_s: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._trust)

    def _send(
        self, connection: http.client.HTTPSConnection, method: str, path: str, what: Any, query: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        body = None if what is None else msgspec.json.encode(what)
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            connection.request(method, f"{path}?{urlencode(query)}" if query else path, body, headers)
        except OSError as error:  # a server that is ended, or begins, resets connections before they shake hands
            close_unfinished_tls(error)
            raise
        answer = connection.getresponse()
        if answer.status >= 400:
            with closing(answer):
                raise Refused(answer.status, _decoded(answer))
        return answer


class Stream:
    """The events of one watch, decoded, until the server ends it; a context manager.

    Raises TimeoutError after a silence, IncompleteRead and OSError where the stream does not end as it should.
    """

    def __init__(self, connection: http.client.HTTPSConnection, answer: http.client.HTTPResponse) -> None:
        """``answer`` is that of a watch, its head already read."""
        self._connection = connection
        self._answer = answer
        self._buffer = b""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        """The next event (Any: JSON)."""
        while b"\n" not in self._buffer:
            more = self._answer.read1()  # readline() would take a cut for the end
            if not more:
                self.close()
                raise StopIteration
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        return msgspec.json.decode(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Leave it."""
        self._answer.close()
        self._connection.close()


def _decoded(answer: http.client.HTTPResponse) -> Any:
    body = answer.read()
    is_json = (answer.getheader("Content-Type") or "").startswith("application/json")
    return msgspec.json.decode(body) if is_json else body.decode(errors="replace")


def eventually(
    check: Any, *, within_s: float = _TIMEOUT_S, unless: type[Exception] | tuple[type[Exception], ...]
) -> Any:
    """What ``check`` gives once it no longer raises ``unless``; its last exception after ``within_s``."""
    until = time.monotonic() + within_s
    while True:
        try:
            return check()
        except unless:
            if time.monotonic() > until:
                raise
        time.sleep(0.05)
