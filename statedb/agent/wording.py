"""Parts of messages: text that is safe on a terminal, and suggestions for a misspelled name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def printable(text: str) -> str:
    """``text`` on one line, with a question mark for each character that a terminal would interpret."""
    return "".join(char if char.isprintable() else "?" for char in text)


def escaped(json_text: str) -> str:
    """JSON on one or more lines, with an escape for each character that a terminal would interpret."""
    return "".join(char if char.isprintable() or char == "\n" else _escape(char) for char in json_text)


def _escape(char: str) -> str:
    """The JSON escape of a character: two escapes beyond the first 65 536 characters."""
    data = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(data[place : place + 2]):04x}" for place in range(0, len(data), 2))


def suggestion(names: Iterable[str], wrong: str) -> str:
    """The name that was probably meant by ``wrong``, if one is close, then all ``names``.

    >>> suggestion(["nodes", "addresses"], "addr"), suggestion(["nodes"], "pods")
    ("did you mean 'addresses'? known are nodes, addresses", 'known are nodes')
    """
    names = tuple(names)
    close = [name for name in names if len(wrong) > 2 and name.startswith(wrong)]
    close = close or difflib.get_close_matches(wrong, names, 1, 0.7)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known are {', '.join(names)}"
