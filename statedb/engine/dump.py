"""Tables as JSON lines.

    {"statedb": 1, "tables": [{"name": "pods", "fields": ["name", "node"], "rows": 2, "revision": 7}]}
    {"table": "pods", "revision": 3, "row": {"name": "a", "node": "n1"}}
    {"table": "pods", "revision": 7, "row": {"name": "b", "node": "n1"}}
    {"end": 2}

Rows are in key order. The last line shows that a dump is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from .fields import fields_of
from .table_view import TableView

VERSION = 1
_PAGE_ROWS = 500

Decoder: TypeAlias = Callable[[Any, Any], Any]
"""(table, plain value) -> row (Any: JSON in, the user's row out)."""


def codec() -> Any:
    """The module that converts rows to plain values and back."""
    from . import codec as rows  # imported late: programs that never dump do not need msgspec

    return rows


def dump(views: Mapping[Any, TableView[Any, Any]], decoder: Decoder | None = None) -> Iterator[bytes]:
    """The lines, each with its newline. They are generated one by one: writers are not blocked, and no copy is kept.

    ``views`` are the views of the tables, all of one snapshot (Any: of all key and row types). Each line is decoded
    again, by ``decoder`` or by the row type, before it is returned. Raises TypeError if the result is not the row.
    """
    rows = codec()
    decode = rows.row_of if decoder is None else decoder
    shapes = [
        {
            "name": table.name,
            "fields": fields_of(table.row_type),
            "rows": len(view),
            "revision": view.revision,
        }
        for table, view in views.items()
    ]
    yield rows.line({"statedb": VERSION, "tables": shapes})
    total = 0
    for table, view in views.items():
        for key, row in _rows(table, view):
            entry = view.entry(key)
            yield rows.checked_line(table, row, entry.revision if entry else 0, decode)
            total += 1
    yield rows.line({"end": total})


def _rows(table: Any, view: TableView[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """All keys and rows in key order, a page at a time: a slow reader of a million rows holds no list of them."""
    page = view.range(limit=_PAGE_ROWS)
    while page:
        key = None
        for row in page:
            key = table.key_of(row)
            yield key, row
        page = view.range(key, limit=_PAGE_ROWS, bounds="()")
