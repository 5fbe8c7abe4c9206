"""Parses JSON files with one value or several, as kubectl accepts them. Knows no kinds of objects.

A duplicate key in an object is an error, as in YAML. A lone surrogate is read as U+FFFD, as in Go. ``NaN`` and
``Infinity`` are errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .document import Document, LineCallback, TextError, Value, ignore

_SPACE = re.compile(r"[ \t\r\n]*")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPES = re.compile(
    r"\\\\|(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def split(text: str) -> list[Document]:
    """The file as one document; none if it is empty."""
    return [Document(text, 1)] if text.strip() else []


def load(document: Document, *, on_line: LineCallback = ignore) -> Iterator[Value]:
    """The values of a document, in order. Raises TextError at the first one that cannot be parsed."""
    text = _without_half_characters(document.text)
    position, line, counted = _after_space(text, 0), document.line, 0
    while position < len(text):
        value, end = _value(text, position, document.line)
        line, counted = line + text.count("\n", counted, end), end
        on_line(line)
        yield value
        position = _after_space(text, end)


def _value(text: str, position: int, first_line: int) -> tuple[Value, int]:
    """The value that begins at a position, and where it ends."""
    try:
        return _decoder.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise TextError(f"line {first_line + error.lineno - 1}: not JSON: {error.msg}") from None
    except RecursionError:
        raise TextError(f"line {first_line + text.count(chr(10), 0, position)}: nested too deep") from None
    except ValueError as error:
        raise TextError(f"line {first_line + text.count(chr(10), 0, position)}: {error}") from None


def _after_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return position if found is None else found.end()


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"not JSON: {name} is not a number")


def _without_half_characters(text: str) -> str:
    """The same JSON, with the same length, where lone surrogates are replaced by U+FFFD."""
    if _HALF.search(text) is None:
        return text
    return _ESCAPES.sub(lambda found: found[0] if found["pair"] or found[0] == "\\\\" else r"\ufffd", text)


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)
