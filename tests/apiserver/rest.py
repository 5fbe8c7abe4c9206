"""Plain HTTP to an API server: what the tests of the rig and the rig itself need of it, and nothing else."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

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
            answer = self._send(connection, method, path, what, query)
            return _decoded(answer)

    def watch(self, path: str, *, wait_s: float = _TIMEOUT_S, **query: str) -> Iterator[Any]:
        """The events of a watch until the server ends it. Raises Refused, OSError, and TimeoutError after a silence."""
        with closing(self._connection(wait_s)) as connection:
            answer = self._send(connection, "GET", path, None, {"watch": "true", **query})
            while line := answer.readline():
                yield msgspec.json.decode(line)

    def _connection(self, timeout_s: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._trust)

    def _send(
        self, connection: http.client.HTTPSConnection, method: str, path: str, what: Any, query: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        body = None if what is None else msgspec.json.encode(what)
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        connection.request(method, f"{path}?{urlencode(query)}" if query else path, body, headers)
        answer = connection.getresponse()
        if answer.status >= 400:
            raise Refused(answer.status, _decoded(answer))
        return answer


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
