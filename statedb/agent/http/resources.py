"""The resources of the server: tables, rows, the state of sources and consumers. HTTP appears only as status codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from ingest import Source
from statedb import Database, PrefixIndex, Snapshot, Table
from statedb.catalog import Rejected

from ..consumer import Consumer
from ..errors import BadRequest, NotFound
from ..keys import key_form, to_texts
from ..readiness import Readiness
from .index_keys import index_keys
from .page.references import References, references
from .parameters import Parameters, query_of
from .pieces import joined
from .query import Answer, Query, ask, encode_row, table_named

_encode = msgspec.json.Encoder().encode


class Flow(msgspec.Struct, frozen=True):
    """The tables that a consumer reads and those that it fills."""

    reads: tuple[str, ...] = ()
    fills: tuple[str, ...] = ()


NO_FLOWS: Mapping[str, Flow] = MappingProxyType({})


class Reply(msgspec.Struct, frozen=True):
    """A status and a body: a tuple if it is complete, otherwise an iterator of pieces."""

    status: int
    body: Iterable[bytes]
    lines: bool = False


class Resources:
    """The tables and the sources of an agent. May be used from any thread. All methods may raise an AgentError."""

    def __init__(self, db: Database, readiness: Readiness, flows: Mapping[str, Flow] = NO_FLOWS) -> None:
        """``readiness`` has the sources and consumers of the agent, ``flows`` the tables of each consumer."""
        self.db = db
        self.readiness = readiness
        self._flows = flows

    def tables(self, parameters: Parameters) -> Reply:
        """All tables, with the number of their rows, their key and their indexes."""
        parameters.only()
        return as_json(200, {"tables": [self._describe(table) for table in self.db.tables]})

    def rows(self, table: str, parameters: Parameters) -> Reply:
        """Rows of a table."""
        return Reply(200, joined(_parts(ask(self.db, query_of(table, parameters)))))

    def keys(self, table: str, parameters: Parameters) -> Reply:
        """Some keys of an index, each as texts."""
        parameters.only("index", "begins")
        found = index_keys(self.db, table, parameters.text("index"), parameters.text("begins") or "")
        return as_json(200, {"table": table, "keys": found})

    def references(self, table: str, parameters: Parameters) -> Reply:
        """The rows that refer to a row, and the rows that it refers to."""
        parameters.only("key")
        key = parameters.texts("key")
        if key is None:
            raise BadRequest("name the row: give its key")
        answer = ask(self.db, Query(table=table, key=key))
        found = references(answer.snapshot, answer.table, answer.rows[0])
        return as_json(200, {"table": table, "references": [_relation(answer.snapshot, each) for each in found]})

    def consumers(self, parameters: Parameters) -> Reply:
        """All consumers, with their health."""
        parameters.only()
        return as_json(200, {"consumers": self.consumer_states()})

    def consumer_states(self) -> list[dict[str, Any]]:
        """The name, the health and the tables of each consumer."""
        return [_consumer_status(each, self._flows.get(each.name, Flow())) for each in self.readiness.consumers]

    def live_status(self) -> dict[str, Any]:
        """The status that an open page gets each second, besides the figures."""
        return {
            "failures": self.readiness.failures(),
            "missing": self.readiness.missing(),
            "stale": self.readiness.stale(),
            "consumers": self.consumer_states(),
        }

    def dump(self, parameters: Parameters) -> Reply:
        """All rows at one instant, in the format of `statedb.load`. Rows of ``sources`` include their origin."""
        parameters.only()
        tables = [table for table in self.db.tables if table is not Rejected]
        return Reply(200, joined(self.db.dump(*tables)), lines=True)

    def health(self, parameters: Parameters) -> Reply:
        """Whether every part of the process works; outages of servers do not count."""
        del parameters  # probes may add their own
        failures = self.readiness.failures()
        if failures:
            return as_json(503, {"status": "failed", "error": "; ".join(failures)})
        return as_json(200, {"status": "ok"})

    def ready(self, parameters: Parameters) -> Reply:
        """Whether the agent is ready now, what is missing, and which tables are stale."""
        del parameters  # probes may add their own
        missing = self.readiness.missing()
        if missing:
            return as_json(503, {"status": "not ready", "missing": missing})
        return as_json(200, {"status": "ready", "stale": self.readiness.stale()})

    def accept(self, parameters: Parameters) -> Reply:
        """Carry out the deletes that sources withhold."""
        parameters.only("table", "cluster")
        sources = self._sources_named(parameters.text("cluster"), parameters.text("table"))
        for source in sources:
            source.accept()
        accepted = [
            {"backend": each.backend, "cluster": each.cluster, "tables": [table.name for table in each.tables]}
            for each in sources
        ]
        return as_json(200, {"accepted": accepted})

    def _describe(self, table: type[Table[Any, Any]]) -> dict[str, Any]:
        view = self.db.snapshot()[table]
        indexes = table.indexes.items()
        key = list(key_form(table.indexes["primary"]).names)
        parts = () if key == ["key"] else ("key",)  # a key with several parts is in "key", split into its parts
        return {
            "name": table.name,
            "rows": len(view),
            "revision": view.revision,
            "initialized": view.initialized,
            "pending": list(view.pending_initializers),
            "key": key,
            "fields": [
                field for field in getattr(table.row_type, "__struct_encode_fields__", ()) if field not in parts
            ],
            "indexes": [
                {"name": name, "key": list(key_form(index).names), "networks": isinstance(index, PrefixIndex)}
                for name, index in indexes
                if index.position
            ],
        }

    def _sources_named(self, cluster: str | None, table: str | None) -> Sequence[Source]:
        """The sources to accept. Remote clusters must be named, because accepting trusts one particular etcd."""
        sources = self.readiness.sources if cluster is None else self._sources_of(cluster)
        if table is None:
            return sources
        wanted = table_named(self.db, table)
        found = [source for source in sources if wanted in source.tables]
        if not found:
            filled = ", ".join(table.name for source in self.readiness.sources for table in source.tables)
            raise NotFound(f"no source fills table {table!r}; filled are {filled or 'none'}")
        return found

    def _sources_of(self, cluster: str) -> Sequence[Source]:
        everywhere = (*self.readiness.sources, *self.readiness.remote_sources())
        found = [source for source in everywhere if source.cluster == cluster]
        if not found:
            names = ", ".join(dict.fromkeys(source.cluster for source in everywhere))
            raise NotFound(f"no source reads cluster {cluster[:60]!r}; there are {names}")
        return found


def as_json(status: int, value: Any) -> Reply:
    """A complete reply with one JSON value."""
    return Reply(status, (_encode(value) + b"\n",))


def _relation(snapshot: Snapshot, relation: References) -> dict[str, Any]:
    key_of, view = relation.table.key_of, snapshot[relation.table]
    entries = [entry for row in relation.rows if (entry := view.entry(key_of(row))) is not None]
    rows = [msgspec.Raw(encode_row(entry.row, entry.revision)) for entry in entries]
    keys = [to_texts(key_of(entry.row)) for entry in entries]
    return {
        "title": relation.title,
        "table": relation.table.name,
        "count": relation.count,
        "keys": keys,
        "rows": rows,
    }


def _consumer_status(consumer: Consumer, flow: Flow) -> dict[str, Any]:
    return {
        "consumer": consumer.name,
        "ready": consumer.ready,
        "queue": consumer.queue_size,
        "set_aside": getattr(consumer, "set_aside_count", 0),
        "health": consumer.health,
        "reads": flow.reads,
        "fills": flow.fills,
    }


def _parts(answer: Answer) -> Iterator[bytes]:
    """The parts of an answer, which is one JSON object."""
    view = answer.view
    head: dict[str, Any] = {
        "table": answer.table.name,
        "revision": view.revision,
        "initialized": view.initialized,
        "total": len(view),
    }
    if answer.keys is not None:
        head["keys"] = answer.keys
    yield _encode(head)[:-1] + b',"rows":['
    glue = b""
    for row in answer.encoded_rows():
        yield glue + row
        glue = b","
    yield b"]," + _encode({"more": answer.more, "next": answer.next})[1:] + b"\n"
