"""Checks the rows that a user's function decodes, before they reach a table. Pure."""

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
    """The rows that ``decode`` returns for one object of ``table``.

    Raises WireError if ``decode`` raises, if it returns something that is not a row of the table, if a key cannot be
    computed or hashed, or if ``owns`` assigns a row to another source. So a mistake in the function affects one object
    and not the source.
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
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        raise WireError(f"{type(error).__name__}: {error}") from error
    return rows
