"""Rows as text in columns. It takes rows as decoded from JSON, and knows the default columns of each table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..errors import BadRequest
from ..wording import printable, suggestion

_WIDE = 48
_NARROW = 12
TIMES = frozenset({"since", "when"})


class Column(msgspec.Struct, frozen=True):
    """A header and the name of the field below it."""

    header: str
    field: str


def _columns(text: str) -> tuple[Column, ...]:
    """Parses ``HEADER=field`` or just ``field``, separated by spaces."""
    pairs = [word.partition("=") for word in text.split()]
    return tuple(Column(head if field else head.upper().replace("_", " "), field or head) for head, _, field in pairs)


DEFAULT_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "nodes": _columns("name cluster addresses pod_cidrs source"),
    "identities": _columns("id cluster namespace labels"),
    "endpoints": _columns("ip identity NODE=host_ip namespace pod cluster"),
    "services": _columns("namespace name cluster shared frontends"),
    "backends": _columns("namespace service cluster ip port protocol PORTS=port_names ready"),
    "namespaces": _columns("name cluster labels"),
    "policies": _columns("kind namespace name selectors"),
    "sources": _columns("cluster table backend state rows WITHHELD=withheld_deletes since ERROR=last_error"),
    "rejected": _columns("cluster table object error when"),
    "ipcache": _columns("network identity NODE=host_ip KEY=encryption_key cluster namespace pod source"),
    "routes": _columns("pod_cidr node ipv4 ipv6 KEY=encryption_key source"),
    "loadbalancer": _columns("namespace name frontends clusters"),
    "tables": _columns("name rows revision initialized key indexes"),
}
_FEW = 7


def flatten_row(row: Any) -> dict[str, Any]:
    """A row with the fields of its key moved to the top level."""
    if not isinstance(row, dict):
        return {"value": row}
    key = row.get("key")
    if not isinstance(key, dict):
        return dict(row)
    return {**key, **{name: value for name, value in row.items() if name != "key"}}


def select_columns(table: str, wanted: str | None, fields: Sequence[str]) -> tuple[Column, ...]:
    """The columns to print: those in ``wanted``, by field or header, or the default columns of the table.

    ``fields`` are the fields of its rows. Raises BadRequest for an unknown one.
    """
    default = DEFAULT_COLUMNS.get(table) or tuple(
        Column(field.upper().replace("_", " "), field) for field in fields[:_FEW]
    )
    if wanted is None:
        return default
    by_name = {column.header.lower().replace(" ", "_"): column for column in default}
    found: list[Column] = []
    for name in wanted.split(","):
        name = name.strip().lower().replace("-", "_")
        column = Column(name.upper().replace("_", " "), name) if name in fields else by_name.get(name)
        if column is None:
            raise BadRequest(f"table {table!r} has no column {name[:60]!r}; {suggestion(fields, name)}")
        found.append(column)
    return tuple(found)


def align_rows(
    columns: Sequence[Column], rows: Iterable[Any], *, whole: bool = False, width: int | None = None
) -> list[str]:
    """A line of headers, then a line for each row.

    Unless ``whole``, long cells are truncated to 48 characters, or to the room for them in lines of ``width``
    characters.
    """
    lines = [[column.header for column in columns], *[cells(columns, row, whole=True) for row in rows]]
    widths = [max(map(len, column)) for column in zip(*lines)]
    if not whole:
        most = _WIDE if width is None else _room(widths, width)
        lines = [[truncated(text, most) for text in line] for line in lines]
        widths = [min(size, most) for size in widths]
    return [pad_cells(line, widths) for line in lines]


def _room(widths: Sequence[int], width: int) -> int:
    """The longest cell length with which lines are not longer than ``width``; at least 12."""
    most = max(widths, default=0)
    while most > _NARROW and sum([min(size, most) for size in widths]) + 2 * (len(widths) - 1) > width:
        most -= 1
    return most


def truncated(text: str, most: int) -> str:
    """The text, truncated to ``most`` characters with three dots at the end."""
    return text if len(text) <= most else text[: most - 3] + "..."


def cells(columns: Sequence[Column], row: Any, *, whole: bool = False) -> list[str]:
    """The cells of one row."""
    values = flatten_row(row)
    return [cell(column.field, values.get(column.field), whole=whole) for column in columns]


def pad_cells(texts: Sequence[str], widths: Sequence[int]) -> str:
    """Pad texts to these widths, with two spaces between them."""
    return "  ".join(text.ljust(width) for text, width in zip(texts, widths)).rstrip()


def cell(field: str, value: Any, *, whole: bool = False) -> str:
    """One value as text, on one line and without control characters."""
    text = _text(value) if field not in TIMES else _time(value)
    text = printable(text) or "-"
    return text if whole else truncated(text, _WIDE)


def _time(value: Any) -> str:
    if not isinstance(value, int | float) or not 0 < value < 1e11:
        return ""
    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case list():
            return ",".join([_part(each) for each in value])
        case dict():
            return _part(value)
        case _:
            return str(value)


def _part(value: Any) -> str:
    """One element of a list: a pair becomes ``key=value``, an object its values joined with colons."""
    match value:
        case [str() as key, str() as text]:
            return f"{key}={text}"
        case {"path": str() as path, "requirements": _}:
            return path
        case {"ip": ip, "port": port, "protocol": protocol, **more}:
            backends = more.get("backends")
            return f"{ip}:{port}/{protocol}" + (f"({len(backends)})" if isinstance(backends, list) else "")
        case dict():
            return ":".join(_text(each) for each in value.values() if each not in ("", None))
        case list():
            return json.dumps(value)
        case _:
            return _text(value)
