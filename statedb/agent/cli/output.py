"""Output of commands: aligned columns for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..wording import escaped, printable
from .columns import Column, align_rows, cells, flatten_row, pad_cells
from .programs import for_programs

if TYPE_CHECKING:
    from ..process.comparison import Comparison

Format = Literal["table", "wide", "name", "json", "jsonl", "yaml"]
FOR_PEOPLE = ("table", "wide")
_LIVE_WIDTH = 16
_COLOURS = {"synced": 32, "OK": 32, "stale": 33, "syncing": 33, "connecting": 33, "failed": 31}
_STATES = re.compile(rf"(?<![^ ])(?:{'|'.join(_COLOURS)})(?![^ ])")


def say(line: str) -> None:
    """Print a line and flush it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """Print a line for people to standard error, so that programs do not read it."""
    sys.stderr.write(f"statedb: {line}\n")
    sys.stderr.flush()


def rows(shape: Format, columns: Sequence[Column], found: Sequence[Any], *, selected: bool, table: str = "") -> None:
    """Print rows of a table. ``selected``: the user chose the columns; print only these, in full, in every format."""
    if shape in FOR_PEOPLE:
        print_lines(align_rows(columns, found, whole=selected or shape == "wide", width=_width()))
    else:
        plain = [for_programs(table, row) for row in found]
        value(shape, [_selected(columns, row) for row in plain] if selected else plain)


def value(shape: Format, what: Any) -> None:
    """Print one value for programs."""
    if shape == "yaml":
        import yaml  # start-up time

        yaml.safe_dump(what, sys.stdout, sort_keys=False, allow_unicode=True, width=120)
    elif shape == "jsonl":
        lines = what if isinstance(what, list) else [what]
        sys.stdout.writelines(escaped(json.dumps(line, ensure_ascii=False)) + "\n" for line in lines)
    else:
        sys.stdout.write(escaped(json.dumps(what, indent=2, ensure_ascii=False)) + "\n")


def names(keys: Sequence[Sequence[str]]) -> None:
    """Print keys, one per line, in the form that commands accept: the fields separated by slashes."""
    print_lines([printable("/".join(key)) for key in keys])


def print_lines(lines: Sequence[str]) -> None:
    """Print lines. A terminal shows the words for states in colour."""
    if lines:
        sys.stdout.write("\n".join(painted(lines) if _coloured() else lines) + "\n")


def painted(lines: Sequence[str]) -> list[str]:
    """Lines with a bold header and colours for the words of states."""
    head, *rest = lines
    return [f"\x1b[1m{head}\x1b[0m", *[_STATES.sub(_paint, line) for line in rest]]


def _paint(match: re.Match[str]) -> str:
    return f"\x1b[{_COLOURS[match[0]]}m{match[0]}\x1b[0m"


def _coloured() -> bool:
    """Whether to use colour: on a terminal that supports it, unless NO_COLOR (no-color.org) is set to any value."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _width() -> int | None:
    """The width of the terminal, or STATEDB_WIDTH where standard output is no terminal. None: nothing is cut."""
    if sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    width = os.environ.get("STATEDB_WIDTH", "")
    return int(width) if width.isdecimal() else None


def comparison(shape: Format, found: Comparison) -> None:
    """Print a comparison: a line for each field that differs, or for a row that one side lacks."""
    plain = [{**msgspec.json.decode(msgspec.json.encode(each)), "fields": each.fields} for each in found.differences]
    if shape not in FOR_PEOPLE:
        value(shape, plain)
    elif plain:
        columns = [Column(name.upper(), name) for name in ("table", "key", "field", "running", "other")]
        rows(shape, columns, [line for each in plain for line in _lines_of(each)], selected=False)
    counts = ", ".join([f"{table} {one} and {other}" for table, (one, other) in found.rows.items()])
    note(f"{_counted(len(plain))}; rows of the two: {counts}")
    if found.unsettled:
        note(f"{found.unsettled} more differed at the end, for too short a time to count; raise --timeout")


def _lines_of(difference: dict[str, Any]) -> list[dict[str, Any]]:
    key, running, other = difference["key"], difference["running"], difference["other"]
    place = {"table": difference["table"], "key": "/".join(map(str, key.values())) if isinstance(key, dict) else key}
    if running is None or other is None:
        return [{**place, "field": "(row)", "running": running is not None, "other": other is not None}]
    return [{**place, "field": name, "running": running[name], "other": other[name]} for name in difference["fields"]]


def _counted(count: int) -> str:
    return {0: "no row differs", 1: "1 row differs"}.get(count, f"{count} rows differ")


class ChangePrinter:
    """Prints changes as they arrive, one line each, or one YAML document each."""

    def __init__(self, shape: Format, table: str, columns: Sequence[Column], *, selected: bool) -> None:
        """In columns, the headers are printed before the first change."""
        self._shape = shape
        self._table = table
        self._columns = columns
        self._selected = selected
        self._widths: list[int] | None = None

    def change(self, event: str, revision: int, row: Any) -> None:
        """Print one change: ``put`` or ``delete``."""
        if self._shape in FOR_PEOPLE:
            whole = self._selected or self._shape == "wide"
            self._line([event, str(revision), *cells(self._columns, row, whole=whole)])
            return
        plain = for_programs(self._table, row)
        shown = {
            "event": event,
            "revision": revision,
            "row": _selected(self._columns, plain) if self._selected else plain,
        }
        if self._shape == "yaml":
            sys.stdout.write("---\n")
            value("yaml", shown)
        else:
            value("jsonl", shown)

    def flush(self) -> None:
        """Flush standard output."""
        sys.stdout.flush()

    def _line(self, texts: list[str]) -> None:
        """Column widths start with the first line and only grow, because printed lines cannot be changed."""
        if self._widths is None:
            headers = ["EVENT", "REVISION", *[column.header for column in self._columns]]
            self._widths = [max(len(h), len(t)) for h, t in zip(headers, texts)]
            sys.stdout.write(pad_cells(headers, self._widths) + "\n")
        self._widths = [max(width, min(len(text), _LIVE_WIDTH)) for width, text in zip(self._widths, texts)]
        sys.stdout.write(pad_cells(texts, self._widths) + "\n")


def _selected(columns: Sequence[Column], row: Any) -> dict[str, Any]:
    values = flatten_row(row)
    return {column.field: values.get(column.field) for column in columns}
