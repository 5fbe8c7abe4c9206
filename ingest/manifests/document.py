"""Documents, the parts of a file that are parsed one by one; from bytes to text; what all formats have in common."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

Value: TypeAlias = Any
"""None, bool, int, float, str, or a list or dict (with str keys) of these."""

LineCallback: TypeAlias = Callable[[int], None]
"""Called from time to time with the current line of the file. An exception that it raises ends the parsing."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, which begins with the same bytes
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class TextError(ValueError):
    """The text cannot be parsed. The message names the line and the problem, and does not show the content."""


class Document(msgspec.Struct, frozen=True):
    """The text of a document, and the line in the file where it begins (from 1)."""

    text: str
    line: int


def ignore(line: int) -> None:
    """An `LineCallback` that does nothing."""


def text_of(data: bytes) -> str:
    """The text of a file: UTF-8, or what its byte order mark names (UTF-8, UTF-16, UTF-32). Raises TextError.

    Without a mark, UTF-16 is recognised by its first character, as the YAML 1.2 specification (5.2) has it.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], encoding, len(mark))
    if data[1:2] == b"\0":
        return _decoded(data, "utf-16-le", 0)
    if data[:1] == b"\0":
        return _decoded(data, "utf-16-be", 0)
    return _decoded(data, "utf-8", 0)


def _decoded(data: bytes, encoding: str, offset: int) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise TextError(f"not {encoding.upper()} at byte {offset + error.start}") from None
