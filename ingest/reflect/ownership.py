"""Which rows of a table belong to a source. The source or the table declares it; it is not guessed from rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, get_args

from ..source import AnyTable

Owns: TypeAlias = Callable[[Any], bool]
"""Whether a row of a shared table belongs to the source (Any: a row of any table)."""


def begins_with_cluster(table: AnyTable) -> bool:
    """Whether the type of the table's keys begins with a field ``cluster``: then each cluster owns its own rows."""
    of_key = next((get_args(base)[0] for base in getattr(table, "__orig_bases__", ()) if get_args(base)), None)
    fields: tuple[str, ...] = getattr(of_key, "__struct_fields__", ())
    return fields[:1] == ("cluster",)


def owns_all_rows(table: AnyTable, owns: Owns | None) -> bool:
    """Whether a source owns all rows of the table, so that no other source can fill it."""
    return owns is None and not begins_with_cluster(table)


def owned(view: Any, table: AnyTable, cluster: str, owns: Owns | None) -> Iterable[Any]:
    """The rows in a view of the table that belong to the source (Any: a view of any table)."""
    if owns is not None:
        return [row for row in view.values() if owns(row)]
    rows: Iterable[Any] = view.prefix((cluster,)) if begins_with_cluster(table) else view.values()
    return rows
