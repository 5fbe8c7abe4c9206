"""Converts rows to plain values and back, by their types. Imported at the first dump: only dumps need msgspec."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from .sameness import same

_REMEDY = "annotate the fields of the row type in full (tuple[str, ...], not tuple), or pass a decoder to dump and load"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def plain(row: Any) -> Any:
    """A row as a JSON value: fields by name, nested ones too, bytes as base64. Raises TypeError."""
    value = msgspec.to_builtins(row, str_keys=True)
    fields = _names(type(row))
    return value if fields is None else dict(zip(fields, value))


def _names(kind: Any) -> tuple[str, ...] | None:
    """The fields of a NamedTuple: msgspec converts it to a list, but a dump has the names. None for other types."""
    return getattr(kind, "_fields", None) if isinstance(kind, type) and issubclass(kind, tuple) else None


def row_of(table: Any, value: Any) -> Any:
    """The row that a plain value stands for, by the declared row type of the table.

    Types whose annotations cannot be evaluated, such as classes made in a function, must be flat. Raises what the row
    type raises.
    """
    kind = table.row_type
    if kind is None:
        return tuple(value) if isinstance(value, list) else value
    fields = _names(kind)
    if fields is not None and isinstance(value, dict):
        if unknown := value.keys() - set(fields):
            raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
        given = {**kind._field_defaults, **value}
        value = [given[name] for name in fields]
    try:
        return msgspec.convert(value, kind, str_keys=True)
    except msgspec.ValidationError:
        raise
    except (TypeError, NameError):  # msgspec does not support the type
        if isinstance(value, dict):
            return kind(**value)
        return tuple(value) if isinstance(value, list) else value


def line(value: Any) -> bytes:
    """A plain value as one line of JSON. msgspec cannot encode all: lone surrogates, NaN, large integers."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def checked_line(table: Any, row: Any, revision: int, decode: Callable[[Any, Any], Any]) -> bytes:
    """The line of a row. Raises TypeError if loading it would not return an equal row.

    A dump must fail when written, not when loaded. An identity takes 10 us, and 22 us without msgspec.
    """
    value = {"table": table.name, "revision": revision, "row": plain(row)}
    try:
        encoded: bytes = _encode(value)
        if same(row, decode(table, _decode(encoded)["row"])):
            return encoded + b"\n"
    except Exception:  # the slower way below says what is wrong
        pass
    encoded = line(value)
    _check_return(table, row, json.loads(encoded)["row"], decode)
    return encoded


def _check_return(table: Any, row: Any, value: Any, decode: Callable[[Any, Any], Any]) -> None:
    try:
        again = decode(table, value)
    except Exception as error:
        raise TypeError(f"table {table.name!r}: {row!r} cannot be loaded again: {error}; {_REMEDY}") from error
    if not same(row, again):
        raise TypeError(f"table {table.name!r}: {row!r} would be loaded as {again!r}; {_REMEDY}")
