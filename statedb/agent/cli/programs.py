"""Rows as programs want them: labels are objects, and times are texts as RFC 3339 has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .columns import TIMES

_PAIRS = ("labels", "annotations", "selector")
_TEXTS = ("identities",)
"""Tables whose labels are texts: ``k8s:app=web``."""


def for_programs(table: str, row: Any) -> Any:
    """A row as it was decoded from JSON, with these fields in other forms. A time that is not known becomes None."""
    if not isinstance(row, dict):
        return row
    found = dict(row)
    for name in TIMES.intersection(found):
        found[name] = _time(found[name])
    for name in () if table in _TEXTS else _PAIRS:
        if _is_pairs(found.get(name)):
            found[name] = dict(found[name])
    return found


def _is_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, list) and len(each) == 2 for each in value)


def _time(value: Any) -> Any:
    if not isinstance(value, int | float) or not 0 <= value < 1e11:
        return value
    return (
        datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if value else None
    )
