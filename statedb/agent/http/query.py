"""Queries of tables, and their answers. Knows no HTTP: texts in, rows out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

import msgspec

from ingest.source import AnyTable
from statedb import Database, InvalidKey, PrefixIndex, Snapshot

from ..errors import BadRequest, NoRow, NotFound
from ..keys import AnyIndex, key_form, to_texts
from ..wording import suggestion

Match = Literal["longest", "exact", "covering", "within"]

_encode = msgspec.json.Encoder().encode

SEARCHED_MAX = 20_000
"""The number of rows that one request searches."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One query. ``key``, ``prefix`` and ``start`` are texts, one per field; at most one of key and prefix.

    ``offset`` is a position in key order, instead of ``start``. ``contains`` is searched in the JSON of each row.
    ``keys``: whether the answer includes the keys of the rows. ``match`` is how to search an index of networks; None
    means the longest prefix for a key, and within for a prefix.
    """

    table: str
    index: str | None = None
    key: tuple[str, ...] | None = None
    prefix: tuple[str, ...] | None = None
    start: tuple[str, ...] | None = None
    limit: int | None = None
    match: Match | None = None
    offset: int | None = None
    contains: str | None = None
    keys: bool = False


class Answer(msgspec.Struct, frozen=True):
    """The rows, and the instant they come from. ``next``: where to continue, only for queries of the whole table."""

    table: AnyTable
    rows: Sequence[Any]
    snapshot: Snapshot
    more: bool = False
    next: list[str] | None = None
    keys: list[list[str]] | None = None

    @property
    def view(self) -> Any:
        """The table at that instant."""
        return self.snapshot[self.table]

    def encoded_rows(self) -> Iterator[bytes]:
        """Each row as JSON, its revision first."""
        key_of, entry = self.table.key_of, self.view.entry
        for row in self.rows:
            found = entry(key_of(row))
            yield encode_row(row, found.revision if found is not None else 0)


def encode_row(row: Any, revision: int) -> bytes:
    """A row as a JSON object with its ``revision``. A row that is not an object is under ``value``."""
    encoded = _encode(row)
    if encoded[:1] != b"{":
        return b'{"revision":%d,"value":%s}' % (revision, encoded)
    return b'{"revision":%d,%s' % (revision, encoded[1:]) if encoded != b"{}" else b'{"revision":%d}' % revision


def table_named(db: Database, name: str) -> AnyTable:
    """The registered table of this name. Raises NotFound."""
    for table in db.tables:
        if table.name == name:
            return table
    raise NotFound(f"no table {name[:60]!r}; {suggestion([table.name for table in db.tables], name)}")


def index_named(table: AnyTable, name: str | None) -> AnyIndex:
    """An index of the table; the primary index without a name. Raises NotFound."""
    if name is None:
        return table.indexes["primary"]
    index = table.indexes.get(name)
    if index is None:
        raise NotFound(f"table {table.name!r} has no index {name[:60]!r}; {suggestion(table.indexes, name)}")
    return index


def ask(db: Database, query: Query) -> Answer:
    """The answer to a query, from one snapshot. Raises BadRequest, NotFound."""
    table = table_named(db, query.table)
    index = index_named(table, query.index)
    if query.key is not None and query.prefix is not None:
        raise BadRequest("give a key or a prefix, not both")
    snapshot = db.snapshot()
    try:
        rows = _rows(snapshot, index, query)
    except InvalidKey as error:
        raise BadRequest(str(error)) from None
    if query.contains is not None:
        return _search(table, snapshot, rows, query, query.contains)
    limit = query.limit
    more = limit is not None and len(rows) > limit
    follows = None
    if more and index.position == 0 and query.key is None and query.prefix is None:
        follows = to_texts(table.key_of(rows[cast(int, limit)]))
    return Answer(table, rows[:limit], snapshot, more, follows, _keys(table, rows[:limit], query))


def _keys(table: AnyTable, rows: Sequence[Any], query: Query) -> list[list[str]] | None:
    return [to_texts(table.key_of(row)) for row in rows] if query.keys else None


def _search(table: AnyTable, snapshot: Snapshot, rows: Sequence[Any], query: Query, text: str) -> Answer:
    """The rows that contain the text, among the first ones. A large table is searched in several requests."""
    wanted, limit = text.lower().encode(), query.limit
    found: list[Any] = []
    for place, row in enumerate(rows):
        if place == SEARCHED_MAX or len(found) == limit:
            return Answer(table, found, snapshot, True, to_texts(table.key_of(row)), _keys(table, found, query))
        if wanted in _encode(row).lower():
            found.append(row)
    return Answer(table, found, snapshot, keys=_keys(table, found, query))


def _rows(snapshot: Any, index: AnyIndex, query: Query) -> Sequence[Any]:
    form, view = key_form(index), snapshot[index]
    if isinstance(index, PrefixIndex):
        return _network_rows(view, form.where, query)
    if query.match is not None:
        raise BadRequest(f"match is only for indexes of networks, and {form.where} is not one")
    if query.key is not None:
        return _rows_of_key(view, index, form.parse(query.key))
    if query.prefix is not None:
        return tuple(view.prefix(form.parse_prefix(query.prefix)))
    start = None if query.start is None else form.parse(query.start)
    if query.offset is not None:
        if query.start is not None or index.position:
            raise BadRequest("an offset is for the whole table in key order; leave out 'from' and 'index'")
        start = snapshot[index.table].key_at(query.offset)
        if start is None:
            return ()
    limit = None if query.limit is None else query.limit + 1
    if query.contains is not None:
        limit = SEARCHED_MAX + 1
    return tuple(view.range(start, None, limit=limit))


def _rows_of_key(view: Any, index: AnyIndex, key: Any) -> Sequence[Any]:
    if not index.unique:
        return tuple(view[key])
    row = view.get(key)
    if row is None:
        raise NoRow(f"table {index.table.name!r} has no row {' '.join(to_texts(key))!r}")
    return (row,)


def _network_rows(view: Any, where: str, query: Query) -> Sequence[Any]:
    texts = query.key if query.key is not None else query.prefix
    if texts is None or len(texts) != 1 or query.start is not None:
        raise BadRequest(f"{where} is an index of networks; give one network, like 10.0.0.1 or 10.0.0.0/8")
    match = query.match or ("longest" if query.key is not None else "within")
    if match == "exact":
        return tuple(view[texts[0]])
    return tuple(getattr(view, match)(texts[0]))
