"""A client for the HTTP interface of an agent."""

from __future__ import annotations

import http.client
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Generic, NamedTuple, TypeVar, cast
from urllib.parse import quote, urlencode

import msgspec

from statedb import Entry, Table

from ..address import DEFAULT_LISTEN, Address, parse_server
from ..errors import AgentError, BadRequest, NoRow, NotFound, Unreachable
from .connection import Cancellation, Connection
from .credentials import Credentials, refusal, tls_failure

R = TypeVar("R")

DEFAULT_SERVER = f"http://{DEFAULT_LISTEN}"
SILENCE_S = 75.0
"""A stream that sends nothing for this time counts as lost. An agent sends a keepalive line twice in this time."""
_TIMEOUT_S = 30.0

Parameters = Iterable[tuple[str, str]]


class Remote:
    """The address of an agent. Each request opens a connection of its own, so it may be used from any thread."""

    def __init__(
        self,
        server: str | Address = DEFAULT_SERVER,
        *,
        credentials: Credentials | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        """``http://host:port``, ``https://host:port`` or ``unix:/path``. Raises BadRequest.

        ``credentials`` are required by an agent that other machines can reach. Every method then raises Denied if they
        are not sufficient, or if the agent's certificate cannot be trusted, and BadRequest for a bad file.
        """
        try:
            self.address = parse_server(server) if isinstance(server, str) else server
        except ValueError as error:
            raise BadRequest(str(error)) from None
        self._credentials = credentials or Credentials()
        self._credentials.check(self.address)
        self._timeout_s = timeout_s

    def table(self, table: str | type[Table[Any, R]]) -> RemoteTable[R]:
        """A table of the agent. Given the table's class, rows have its row type; given its name, rows are dicts."""
        return RemoteTable(self, table)

    def json(self, path: str, parameters: Parameters = (), method: str = "GET") -> Any:
        """The body of a response. Raises BadRequest, NotFound, Unreachable."""
        with self._response(method, path, parameters, self._timeout_s) as response:
            return self._decoded(response.read())

    def probe(self, path: str) -> dict[str, Any]:
        """The response of ``/healthz`` or ``/readyz``, whether the agent is healthy or not."""
        with self._response("GET", path, (), self._timeout_s, probe=True) as response:
            return self._decoded(response.read())

    def lines(
        self,
        path: str,
        parameters: Parameters = (),
        *,
        silence_s: float = SILENCE_S,
        cancellation: Cancellation | None = None,
    ) -> Iterator[Any]:
        """The lines of an endless stream. Raises Unreachable when it ends, and BadRequest, NotFound at the start."""
        with self._response("GET", path, parameters, silence_s, cancellation) as response:
            while (line := self._line(response)).endswith(b"\n"):  # a partial line means that the connection broke
                yield self._decoded(line)
        raise Unreachable(f"{self.address} ended the stream; request it again to start over from the current rows")

    def dump(self) -> Iterator[bytes]:
        """All tables at one instant, as lines for `statedb.load`. Raises Unreachable when the dump is incomplete."""
        line = b""
        with self._response("GET", "/dump", (), self._timeout_s) as response:
            while (next_line := self._line(response)).endswith(b"\n"):
                line = next_line
                yield line
        if not line.startswith(b'{"end":'):
            raise Unreachable(f"{self.address} ended in the middle of the dump; request it again")

    def _line(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.readline()
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException):
            return b""

    @contextmanager
    def _response(
        self,
        method: str,
        path: str,
        parameters: Parameters,
        timeout_s: float,
        cancellation: Cancellation | None = None,
        *,
        probe: bool = False,
    ) -> Generator[http.client.HTTPResponse]:
        query = urlencode(list(parameters))
        headers = self._credentials.headers()
        tls = self._credentials.context() if self.address.secure else None
        try:
            with closing(Connection(self.address, timeout_s, tls, cancellation)) as connection:
                connection.request(method, f"{path}?{query}" if query else path, headers=headers)
                with connection.getresponse() as response:
                    if response.status != 200 and not (response.status == 503 and probe):
                        raise self._refusal(response)
                    yield response
        except ConnectionRefusedError:
            raise self._unreachable("") from None
        except FileNotFoundError:
            raise self._unreachable(": there is no such socket") from None
        except TimeoutError:
            raise Unreachable(
                f"{self.address} has sent nothing for {timeout_s:g} s; check whether it is running"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            failure = tls_failure(self.address, error)
            if failure is not None:
                raise failure from None
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise self._unreachable(f": {reason}") from None
        finally:
            if cancellation is not None:
                cancellation.detach()

    def _unreachable(self, reason: str) -> Unreachable:
        return Unreachable(
            f"no agent answers at {self.address}{reason}; start one with 'statedb run -c agent.yaml', "
            "or give the address of another (on the command line: --server or STATEDB_SERVER)"
        )

    def _decoded(self, data: bytes) -> dict[str, Any]:
        """One JSON object: every response of an agent and every line of its streams is one."""
        try:
            return msgspec.json.decode(data, type=dict[str, Any])
        except msgspec.DecodeError:
            raise Unreachable(f"what answers at {self.address} is not an agent; give the address of one") from None

    def _refusal(self, response: http.client.HTTPResponse) -> AgentError:
        body = self._decoded(response.read())
        error = str(body.get("error") or f"{self.address} answers with status {response.status}")
        if response.status in (401, 403):
            return refusal(self.address, response.status, error)
        if response.status == 404:
            return NoRow(error) if body.get("missing") == "row" else NotFound(error)
        return BadRequest(error) if response.status == 400 else AgentError(error)


class RemoteChange(NamedTuple, Generic[R]):
    """The newest state of one changed row. If ``deleted``, ``row`` is the row that was deleted."""

    row: R
    revision: int
    deleted: bool


class RemoteBatch(NamedTuple, Generic[R]):
    """The changes up to a revision of the table. The first batch has all current rows."""

    changes: tuple[RemoteChange[R], ...]
    revision: int
    initialized: bool


class RemoteTable(Generic[R]):
    """A table of an agent. Keys are given in text form: one text or number per field.

    All methods raise NotFound (no such table or index), BadRequest (a bad key), Unreachable.
    """

    def __init__(self, remote: Remote, table: str | type[Table[Any, R]]) -> None:
        """Made by `Remote.table`."""
        self._remote = remote
        self.name = table if isinstance(table, str) else table.name
        self._row_type: Any = None if isinstance(table, str) else table.row_type

    def get(self, *key: str | int) -> Entry[R] | None:
        """The row of a primary key with its revision, or None."""
        try:
            rows = self._rows([("key", str(part)) for part in key])
        except NoRow:
            return None
        return rows[0]

    def rows(self) -> tuple[Entry[R], ...]:
        """All rows in key order."""
        return self._rows([])

    def list(self, index: str, *key: str | int) -> tuple[Entry[R], ...]:
        """The rows of a key of an index. For an index of networks, those of the longest prefix."""
        return self._rows([("index", index), *[("key", str(part)) for part in key]])

    def prefix(self, *key: str | int, index: str | None = None) -> tuple[Entry[R], ...]:
        """The rows whose key begins with these fields, or with this text."""
        parameters = [] if index is None else [("index", index)]
        return self._rows([*parameters, *[("prefix", str(part)) for part in key]])

    def changes(
        self, *key: str | int, silence_s: float = SILENCE_S, cancellation: Cancellation | None = None
    ) -> Iterator[RemoteBatch[R]]:
        """All rows as the first batch, then each change, of the table or of one row.

        It ends with Unreachable when the connection is lost, when nothing has come for ``silence_s`` seconds, or when
        ``cancellation`` ends it; call it again to start over. `Replica` does that for you.
        """
        changes: list[RemoteChange[R]] = []
        path = f"/changes/{quote(self.name, safe='')}"
        lines = cast(Any, self._remote.lines(path, _key(key), silence_s=silence_s, cancellation=cancellation))
        with closing(lines):
            for line in lines:
                match line["event"]:
                    case "put" | "delete" as event:
                        changes.append(RemoteChange(self._row(line["row"]), line["revision"], event == "delete"))
                    case "commit":
                        yield RemoteBatch(tuple(changes), line["revision"], line["initialized"])
                        changes = []
                    case _:
                        pass

    def _rows(self, parameters: Parameters) -> tuple[Entry[R], ...]:
        answer = self._remote.json(f"/tables/{quote(self.name, safe='')}", parameters)
        return tuple([self._entry(row) for row in answer["rows"]])

    def _entry(self, row: dict[str, Any]) -> Entry[R]:
        revision = row.pop("revision")
        plain = self._row_type is not None and row.keys() == {"value"} and not hasattr(self._row_type, "value")
        return Entry(self._row(row["value"] if plain else row), revision)

    def _row(self, row: Any) -> Any:
        return row if self._row_type is None else msgspec.convert(row, self._row_type)


def _key(key: tuple[str | int, ...]) -> Parameters:
    return [("key", str(part)) for part in key]
