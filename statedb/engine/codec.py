"""Converts rows to plain values and back, by their types. Imported at the first dump: only dumps need msgspec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .sameness import same

_REMEDY = "annotate the fields of the row type in full (tuple[str, ...], not tuple), or pass a decoder to dump and load"


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


def check_return(table: Any, row: Any, value: Any, decode: Callable[[Any, Any], Any]) -> None:
    """Raise TypeError if loading ``value`` would not return an equal row: a dump must fail when written, not when
    loaded.
    """
    try:
        again = decode(table, value)
    except Exception as error:
        raise TypeError(f"table {table.name!r}: {row!r} cannot be loaded again: {error}; {_REMEDY}") from error
    if not same(row, again):
        raise TypeError(f"table {table.name!r}: {row!r} would be loaded as {again!r}; {_REMEDY}")
