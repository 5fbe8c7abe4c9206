"""Tables as JSON lines and back. Knows rows by their fields; msgspec only where rows are its Structs.

    {"statedb": 1, "tables": [{"name": "pods", "fields": ["name", "node"], "rows": 2, "revision": 7}]}
    {"table": "pods", "revision": 3, "row": {"name": "a", "node": "n1"}}
    {"table": "pods", "revision": 7, "row": {"name": "b", "node": "n1"}}
    {"end": 2}

Rows come in key order. The last line tells a whole dump from one that was cut off.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from .table_view import TableView

_VERSION = 1


def dump(views: Mapping[Any, TableView[Any, Any]]) -> Iterator[bytes]:
    """The lines, each with its newline. Made as they are asked for: writers go on, and nothing is held twice.

    ``views`` are the tables' views, all of one snapshot (Any: of all key and row types).
    """
    shapes = [
        {
            "name": table.name,
            "fields": _fields_of(table.row_type),
            "rows": len(view),
            "revision": view.revision,
        }
        for table, view in views.items()
    ]
    yield _line({"statedb": _VERSION, "tables": shapes})
    total = 0
    for table, view in views.items():
        for key, row in view.items():
            entry = view.entry(key)
            yield _line({"table": table.name, "revision": entry.revision if entry else 0, "row": _plain(row)})
            total += 1
    yield _line({"end": total})


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _fields_of(kind: Any) -> list[str] | None:
    """The names of a row's fields; None for a plain value."""
    for names in ("__struct_fields__", "_fields"):
        if hasattr(kind, names):
            return list(getattr(kind, names))
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if hasattr(kind, "__attrs_attrs__"):
        return [attribute.name for attribute in kind.__attrs_attrs__]
    return None


def _plain(row: Any) -> Any:
    if hasattr(row, "__struct_fields__"):
        return sys.modules["msgspec"].to_builtins(row)
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return dataclasses.asdict(row)
    fields = _fields_of(type(row))
    return row if fields is None else {name: getattr(row, name) for name in fields}
