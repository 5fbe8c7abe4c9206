"""What an agent answers to which request. Knows no sockets: method, path and parameters in, a reply out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from statedb import Database, PrefixIndex, Table
from statedb.catalog import Rejected, Sources

from ..consumer import Consumer
from ..errors import BadRequest, NotFound
from ..keys import key_form
from ..readiness import Readiness
from ..wording import suggestion
from .query import Answer, Match, Query, ask, table_named
from .streams import Streams

_PATHS = ("/tables", "/tables/NAME", "/changes/NAME", "/consumers", "/dump", "/healthz", "/readyz", "/sources/accept")
_PIECE_ROWS = 500
_PARAMETERS_MAX = 64
_LIMIT = re.compile(r"[1-9][0-9]{0,8}")

_encode = msgspec.json.Encoder().encode


class Reply(msgspec.Struct, frozen=True):
    """A status and a body in pieces; empty pieces are occasions to see whether the reader is still there."""

    status: int
    body: Iterable[bytes]
    lines: bool = False


class Resources:
    """The tables and the sources of an agent, for requests. For any thread."""

    def __init__(self, db: Database, streams: Streams, readiness: Readiness) -> None:
        """``readiness`` has the sources and consumers of the agent."""
        self._db = db
        self._streams = streams
        self._readiness = readiness

    def respond(self, method: str, target: str) -> Reply:
        """The reply to a request. Raises BadRequest, NotFound."""
        parts = urlsplit(target)
        path = tuple(unquote(part) for part in parts.path.strip("/").split("/"))
        try:
            pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=_PARAMETERS_MAX)
        except ValueError:
            raise BadRequest(f"more than {_PARAMETERS_MAX} parameters; ask for less at once") from None
        parameters = _Parameters(pairs)
        if method == "POST":
            if path != ("sources", "accept"):
                raise NotFound("nothing takes a POST here; known is /sources/accept")
            return self._accept(parameters)
        match path:
            case ("tables",):
                parameters.only()
                return _json(200, {"tables": [self._describe(table) for table in self._db.tables]})
            case ("tables", name):
                return _rows(ask(self._db, _query(name, parameters)))
            case ("changes", name):
                parameters.only("key")
                return Reply(200, self._streams.lines(table_named(self._db, name), parameters.texts("key")), lines=True)
            case ("consumers",):
                parameters.only()
                return _json(200, {"consumers": [_consumer_status(each) for each in self._readiness.consumers]})
            case ("dump",):
                parameters.only()
                return Reply(200, self._dump(), lines=True)
            case ("healthz",):
                return self._health()
            case ("readyz",):
                return self._ready()
            case _:
                raise NotFound(f"nothing is at {parts.path[:60]!r}; known are {', '.join(_PATHS)}")

    def _describe(self, table: type[Table[Any, Any]]) -> dict[str, Any]:
        view = self._db.snapshot()[table]
        indexes = table.indexes.items()
        key = list(key_form(table.indexes["primary"]).names)
        parts = () if key == ["key"] else ("key",)  # a key of several parts stands in "key" by its parts
        return {
            "name": table.name,
            "rows": len(view),
            "revision": view.revision,
            "initialized": view.initialized,
            "pending": list(view.pending_initializers),
            "key": key,
            "fields": [field for field in getattr(table.row_type, "__struct_fields__", ()) if field not in parts],
            "indexes": [
                {"name": name, "key": list(key_form(index).names), "networks": isinstance(index, PrefixIndex)}
                for name, index in indexes
                if index.position
            ],
        }

    def _dump(self) -> Iterator[bytes]:
        """What `statedb.load` reads: all tables at one instant, but for those that are about this process."""
        tables = [table for table in self._db.tables if table not in (Sources, Rejected)]
        lines = self._db.dump(*tables)
        while piece := b"".join(islice(lines, _PIECE_ROWS)):
            yield piece

    def _health(self) -> Reply:
        failures = self._readiness.failures()
        if failures:
            return _json(503, {"status": "failed", "error": "; ".join(failures)})
        return _json(200, {"status": "ok"})

    def _ready(self) -> Reply:
        missing = self._readiness.missing()
        if missing:
            return _json(503, {"status": "not ready", "missing": missing})
        return _json(200, {"status": "ready", "stale": self._readiness.stale()})

    def _accept(self, parameters: _Parameters) -> Reply:
        parameters.only("table", "cluster")
        name, cluster = parameters.text("table"), parameters.text("cluster")
        sources = self._readiness.sources  # remote clusters only by name: accepting trusts one particular etcd
        if cluster is not None:
            everywhere = (*self._readiness.sources, *self._readiness.remote_sources())
            sources = tuple(source for source in everywhere if source.cluster == cluster)
            if not sources:
                names = ", ".join(dict.fromkeys(source.cluster for source in everywhere))
                raise NotFound(f"no source brings cluster {cluster[:60]!r}; there are {names}")
        if name is not None:
            table = table_named(self._db, name)
            sources = tuple(source for source in sources if table in source.tables)
            if not sources:
                filled = ", ".join(table.name for source in self._readiness.sources for table in source.tables)
                raise NotFound(f"no source fills table {name!r}; filled are {filled or 'none'}")
        for source in sources:
            source.accept()
        told = [(each.backend, each.cluster, [table.name for table in each.tables]) for each in sources]
        return _json(200, {"accepted": [{"backend": b, "cluster": c, "tables": t} for b, c, t in told]})


class _Parameters:
    """The parameters of a request, each with all its values."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def only(self, *names: str) -> None:
        """Raises BadRequest for any other parameter."""
        for name in self._values:
            if name not in names:
                hint = suggestion(names, name) if names else "none is known here"
                raise BadRequest(f"unknown parameter {name[:60]!r}; {hint}")

    def texts(self, name: str) -> tuple[str, ...] | None:
        """All values; None without any."""
        values = self._values.get(name)
        return None if values is None else tuple(values)

    def text(self, name: str) -> str | None:
        """The one value. Raises BadRequest where there are several."""
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise BadRequest(f"parameter {name!r} is given {len(values)} times; give it once")
        return values[0]


def _query(table: str, parameters: _Parameters) -> Query:
    parameters.only("index", "key", "prefix", "from", "limit", "match")
    limit, match = parameters.text("limit"), parameters.text("match")
    if limit is not None and not _LIMIT.fullmatch(limit):
        raise BadRequest(f"limit {limit[:60]!r} is not a whole number from 1 to 999999999")
    if match is not None and match not in get_args(Match):
        raise BadRequest(f"match {match[:60]!r} is none; {suggestion(get_args(Match), match)}")
    values: Mapping[str, Any] = {"index": parameters.text("index"), "match": match}
    return Query(
        table=table,
        key=parameters.texts("key"),
        prefix=parameters.texts("prefix"),
        start=parameters.texts("from"),
        limit=None if limit is None else int(limit),
        **values,
    )


def _consumer_status(consumer: Consumer) -> dict[str, Any]:
    return {
        "consumer": consumer.name,
        "ready": consumer.ready,
        "queue": consumer.queue_size,
        "health": consumer.health,
    }


def _json(status: int, value: Any) -> Reply:
    return Reply(status, (_encode(value) + b"\n",))


def _rows(answer: Answer) -> Reply:
    return Reply(200, _rows_in_pieces(answer))


def _rows_in_pieces(answer: Answer) -> Iterator[bytes]:
    """An answer as one JSON object, a few hundred rows at a time: other threads get their turn in between."""
    view = answer.view
    head = {"table": answer.table.name, "revision": view.revision, "initialized": view.initialized}
    piece = [_encode(head)[:-1] + b',"rows":[']
    glue = b""
    for row in answer.encoded_rows():
        piece.append(glue + row)
        glue = b","
        if len(piece) >= _PIECE_ROWS:
            yield b"".join(piece)
            piece = []
    yield b"".join([*piece, b"],", _encode({"more": answer.more, "next": answer.next})[1:], b"\n"])
