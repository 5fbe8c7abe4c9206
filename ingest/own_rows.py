"""Rows that a user's function decodes, checked before they reach a table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from statedb import Table
from statedb.catalog.wire import WireError

from .events import excerpt

R = TypeVar("R")


def own_rows(
    table: type[Table[Any, R]], decode: Callable[[], Iterable[R]], owns: Callable[[R], bool] | None = None
) -> tuple[R, ...]:
    """What ``decode`` gives, as rows of ``table``.

    Raises WireError for whatever it raises, for what is no row of the table, and for rows whose key cannot be read or
    hashed, or that are not the source's by ``owns``: a user's mistake costs the object at hand and not the source.
    """
    try:
        rows = tuple(decode())
        kind: Any = table.row_type  # Any: a table may name its row type by a text that only type checkers resolve
        for row in rows:
            if isinstance(kind, type) and not isinstance(row, kind):
                raise WireError(f"decode gave {type(row).__name__}, not {kind.__name__}")
            hash(table.key_of(row))
            if owns is not None and not owns(row):
                raise WireError(f"decode gave a row that 'owns' leaves to another source: {excerpt(repr(row))}")
    except WireError:
        raise
    except Exception as error:  # whatever a user's function does with a bad object
        raise WireError(f"{type(error).__name__}: {error}") from error
    return rows
