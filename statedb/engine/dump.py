"""Tables as JSON lines.

    {"statedb": 1, "tables": [{"name": "pods", "fields": ["name", "node"], "rows": 2, "revision": 7}]}
    {"table": "pods", "revision": 3, "row": {"name": "a", "node": "n1"}}
    {"table": "pods", "revision": 7, "row": {"name": "b", "node": "n1"}}
    {"end": 2}

Rows are in key order. The last line shows that a dump is complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from .fields import fields_of
from .table_view import TableView

VERSION = 1

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
    yield _line({"statedb": VERSION, "tables": shapes})
    total = 0
    for table, view in views.items():
        for key, row in view.items():
            entry = view.entry(key)
            value = {"table": table.name, "revision": entry.revision if entry else 0, "row": rows.plain(row)}
            line = _line(value)
            rows.check_return(table, row, json.loads(line)["row"], decode)
            yield line
            total += 1
    yield _line({"end": total})


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
