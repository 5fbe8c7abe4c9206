"""Loads a dump into a database."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .database import Database
from .dump import VERSION, Decoder, codec
from .errors import InvalidDump


def load(db: Database, lines: Iterable[bytes | str], decoder: Decoder | None = None) -> int:
    """Insert the rows of a dump, all in one transaction. Returns their number.

    Tables that are not in the dump stay as they are. Revisions are assigned anew. ``decoder`` converts a plain value to
    a row; the default is by row type. Raises InvalidDump, which names the line, also if lines follow the end of the
    dump. Then nothing is loaded.
    """
    decode = codec().row_of if decoder is None else decoder
    numbered = enumerate(lines, 1)
    tables = _tables_in(db, next(numbered, (1, b"")))
    count = 0
    with db.write(*tables.values()) as txn:
        for number, line in numbered:
            value = _parsed(number, line)
            if "end" in value:
                if value["end"] != count:
                    raise InvalidDump(f"line {number}: {value['end']} rows were written, but the dump has {count}")
                _check_nothing_follows(numbered)
                return count
            name = value.get("table")
            table = tables.get(name) if isinstance(name, str) else None
            if table is None or "row" not in value:
                raise InvalidDump(f"line {number}: not a row of a table that line 1 names")
            try:
                txn[table].insert(decode(table, value["row"]))
            except Exception as error:
                raise InvalidDump(f"line {number}: table {table.name!r}: {type(error).__name__}: {error}") from error
            count += 1
        raise InvalidDump(f"the dump ends after {count} rows without its last line; it is incomplete")


def _tables_in(db: Database, first: tuple[int, bytes | str]) -> dict[Any, Any]:
    """The tables that the first line of a dump names, by name."""
    header = _parsed(*first)
    if header.get("statedb") != VERSION:
        raise InvalidDump(f"line 1: not a dump of version {VERSION}")
    known = {table.name: table for table in db.tables}
    shapes = header.get("tables", [])
    shapes = shapes if isinstance(shapes, list) else [shapes]
    named: list[str] = [
        name for shape in shapes if isinstance(shape, dict) and isinstance(name := shape.get("name"), str)
    ]
    if len(named) != len(shapes):
        raise InvalidDump("line 1: the tables are not a list of objects with names; the dump is damaged")
    for name in named:
        if name not in known:
            raise InvalidDump(f"line 1: table {name!r} is not in this database ({', '.join(known)}); register it first")
    if len(set(named)) != len(named):
        raise InvalidDump(f"line 1: a table is named twice ({', '.join(named)}); the dump is damaged")
    return {name: known[name] for name in named}


def _check_nothing_follows(numbered: Iterable[tuple[int, bytes | str]]) -> None:
    for number, line in numbered:
        if line.strip():
            raise InvalidDump(f"line {number}: data after the end of the dump; load one dump at a time")


def _parsed(number: int, line: bytes | str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidDump(f"line {number}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidDump(f"line {number}: not a JSON object")
    return value
