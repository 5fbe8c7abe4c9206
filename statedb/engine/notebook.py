"""HTML of tables and indexes for notebooks, of bounded size. Knows only the fields of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from .fields import fields_of

SHOWN = 20
"""The largest number of rows or index keys that are shown."""
_WIDTH = 80


def html_of_rows(title: str, rows: Sequence[Any], total: int) -> str:
    """The rows of one table, with a column for each field of the first row's class."""
    names = (fields_of(type(rows[0])) if rows else None) or ["row"]
    return html_table(title, names, [[getattr(row, name, row) for name in names] for row in rows], total)


def html_table(title: str, names: Sequence[str], lines: Iterable[Iterable[Any]], total: int) -> str:
    """A table with a caption. ``total`` is the number of all lines; a note below says how many are not shown."""
    body = [_line("td", map(_cell, line)) for line in lines]
    rest = f"<p>and {total - len(body):,} more</p>" if total > len(body) else ""
    head = _line("th", map(escape, names))
    return f"<table><caption>{escape(title)}</caption><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>{rest}"


def _line(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join([f'<{tag}>{cell}</{tag}>' for cell in cells])}</tr>"


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return escape(text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…")
