"""What commands print: aligned columns for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .columns import Column, aligned, cells, flat, padded

if TYPE_CHECKING:
    from ..client.comparison import Comparison

Format = Literal["table", "json", "yaml"]
_LIVE_WIDTH = 16


def say(line: str) -> None:
    """A line that whoever waits for it sees at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """A line for people who watch, out of the way of programs that read."""
    sys.stderr.write(f"statedb: {line}\n")
    sys.stderr.flush()


def rows(shape: Format, columns: Sequence[Column], found: Sequence[Any], *, picked: bool) -> None:
    """Print rows. ``picked``: the columns were asked for; then they are all that programs get, and nothing is cut."""
    if shape == "table":
        sys.stdout.write("\n".join(aligned(columns, found, whole=picked)) + "\n")
    else:
        value(shape, [_picked(columns, row) for row in found] if picked else list(found))


def value(shape: Format, what: Any) -> None:
    """Print one value for programs."""
    if shape == "yaml":
        import yaml

        yaml.safe_dump(what, sys.stdout, sort_keys=False, allow_unicode=True, width=120)
    else:
        sys.stdout.write(json.dumps(what, indent=2, ensure_ascii=False) + "\n")


def comparison(shape: Format, found: Comparison) -> None:
    """Print how two sides differ: a line for each field that does, or for a row that one side lacks."""
    plain = [{**msgspec.json.decode(msgspec.json.encode(each)), "fields": each.fields} for each in found.differences]
    if shape != "table":
        value(shape, plain)
    elif plain:
        columns = [Column(name.upper(), name) for name in ("table", "key", "field", "running", "other")]
        rows("table", columns, [line for each in plain for line in _lines_of(each)], picked=False)
    counts = ", ".join([f"{table} {one} and {other}" for table, (one, other) in found.rows.items()])
    note(f"{_counted(len(plain))}; rows of the two: {counts}")
    if found.young:
        note(f"{found.young} more differed at the end, for too short a time to count; raise --timeout")


def _lines_of(difference: dict[str, Any]) -> list[dict[str, Any]]:
    key, running, other = difference["key"], difference["running"], difference["other"]
    place = {"table": difference["table"], "key": "/".join(map(str, key.values())) if isinstance(key, dict) else key}
    if running is None or other is None:
        return [{**place, "field": "(row)", "running": running is not None, "other": other is not None}]
    return [{**place, "field": name, "running": running[name], "other": other[name]} for name in difference["fields"]]


def _counted(count: int) -> str:
    return {0: "no row differs", 1: "1 row differs"}.get(count, f"{count} rows differ")


class Live:
    """Prints changes as they come, one line each; YAML as documents."""

    def __init__(self, shape: Format, columns: Sequence[Column], *, picked: bool) -> None:
        """For people, the headers come before the first change."""
        self._shape = shape
        self._columns = columns
        self._picked = picked
        self._widths: list[int] | None = None

    def change(self, event: str, revision: int, row: Any) -> None:
        """One change: ``put`` or ``delete``."""
        if self._shape == "table":
            self._line([event, str(revision), *cells(self._columns, row, whole=self._picked)])
            return
        shown = {"event": event, "revision": revision, "row": _picked(self._columns, row) if self._picked else row}
        if self._shape == "yaml":
            sys.stdout.write("---\n")
            value("yaml", shown)
        else:
            sys.stdout.write(json.dumps(shown, ensure_ascii=False) + "\n")

    def flush(self) -> None:
        """Whoever reads sees what was printed."""
        sys.stdout.flush()

    def _line(self, texts: list[str]) -> None:
        """The widths are those of the first line, and grow: what was printed cannot be moved."""
        if self._widths is None:
            headers = ["EVENT", "REVISION", *[column.header for column in self._columns]]
            self._widths = [max(len(h), len(t)) for h, t in zip(headers, texts)]
            sys.stdout.write(padded(headers, self._widths) + "\n")
        self._widths = [max(width, min(len(text), _LIVE_WIDTH)) for width, text in zip(self._widths, texts)]
        sys.stdout.write(padded(texts, self._widths) + "\n")


def _picked(columns: Sequence[Column], row: Any) -> dict[str, Any]:
    values = flat(row)
    return {column.field: values.get(column.field) for column in columns}
