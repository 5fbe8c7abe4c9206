"""The choice and order of rows: ``--where`` and ``--sort``. Takes rows as decoded from JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import BadRequest
from ..wording import suggestion
from .columns import cell, flatten_row


class Selection:
    """Conditions on fields, all of which must hold, and a field to sort by."""

    def __init__(self, where: Sequence[str] = (), sort: str | None = None) -> None:
        """``where``: texts ``field=value`` or ``field!=value``. ``sort``: a field, or ``-field`` for descending order.

        Raises BadRequest.
        """
        self._conditions = [_condition(text) for text in where]
        self._sort = sort.lstrip("-").replace("-", "_") if sort is not None else None
        self._falling = sort is not None and sort.startswith("-")

    def __bool__(self) -> bool:
        """Whether it filters or sorts."""
        return bool(self._conditions) or self._sort is not None

    def check(self, table: str, fields: Sequence[str]) -> None:
        """Raise BadRequest for a field that the rows of the table do not have."""
        for name in [*[field for field, _, _ in self._conditions], *([] if self._sort is None else [self._sort])]:
            if name not in fields:
                raise BadRequest(f"table {table!r} has no field {name[:60]!r}; {suggestion(fields, name)}")

    def of(self, rows: Sequence[Any]) -> list[Any]:
        """The rows that meet the conditions, sorted."""
        found = [row for row in rows if self.holds(row)]
        if self._sort is not None:
            field = self._sort
            found.sort(key=lambda row: _order(flatten_row(row).get(field)), reverse=self._falling)
        return found

    def holds(self, row: Any) -> bool:
        """Whether a row meets all conditions. For a list it is enough that one element meets a condition."""
        values = flatten_row(row)
        return all(_equal(field, values.get(field), text) == wanted for field, text, wanted in self._conditions)


def _condition(text: str) -> tuple[str, str, bool]:
    field, equals, value = text.partition("=")
    if not equals or not field.rstrip("!"):
        raise BadRequest(f"--where {text[:60]!r} is not a condition; write FIELD=VALUE or FIELD!=VALUE")
    return field.rstrip("!").strip().replace("-", "_"), value, not field.endswith("!")


def _equal(field: str, value: Any, text: str) -> bool:
    spelled = "" if text == "-" else text
    if isinstance(value, list) and any(_text(field, each) == spelled for each in value):
        return True
    return _text(field, value) == spelled or (isinstance(value, bool) and text == str(value).lower())


def _text(field: str, value: Any) -> str:
    text = cell(field, value, whole=True)
    return "" if text == "-" else text


def _order(value: Any) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return 0, value, ""
    return (2, 0.0, "") if value in (None, "", []) else (1, 0.0, str(value))
