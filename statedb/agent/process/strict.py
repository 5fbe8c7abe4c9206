"""A mapping from a configuration into a struct, with every mistake named by its path. Knows no particular fields."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

S = TypeVar("S", bound=msgspec.Struct)

_EXPECTED = re.compile(
    r"Expected `(?P<want>[^`]+)`(?:, got `(?P<got>[^`]+)`|(?P<bound>[^$]*?))(?: - at `(?P<at>[^`]+)`)?", re.DOTALL
)
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
_NAME = re.compile(r"[A-Za-z_][-\w.]{0,59}")


class Problems(list[str]):
    """What is wrong, one line each, in the order found."""

    def add(self, path: str, text: str) -> None:
        """``path`` is the dotted name of a field, or empty where it is about the whole."""
        self.append(printable(f"{path}: {text}" if path else text))


def printable(text: str) -> str:
    """A text on one line, without anything that a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text)


def known(names: Iterable[str], wrong: str) -> str:
    """What could have been meant: a close name first, then all."""
    names = tuple(names)
    close = difflib.get_close_matches(wrong, names, 1, 0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known are {', '.join(names)}"


def below(path: str, name: str) -> str:
    """The path of a field. What does not look like a name may be a secret in the wrong place, and is not repeated."""
    shown = name if _NAME.fullmatch(name) else "?"
    return f"{path}.{shown}" if path else shown


def to_struct(kind: type[S], value: Any, path: str, problems: Problems) -> S | None:
    """``value`` as this struct; None after adding at least one problem. Values are never repeated in a problem."""
    if not isinstance(value, dict):
        problems.add(path, f"must be a mapping of {', '.join(_names(kind))}, not {_word_of(value)}")
        return None
    before = len(problems)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in value:
        if name not in fields:
            problems.add(below(path, name), f"unknown field; {known(fields, name)}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        where = below(path, name)
        if name in value:
            values[field.name] = _to_field(field.type, value[name], where, problems)
        elif field.required:
            problems.add(where, "is missing; add it")
    return kind(**values) if len(problems) == before else None


def _names(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.encode_name for field in msgspec.structs.fields(kind))


def _to_field(kind: Any, value: Any, path: str, problems: Problems) -> Any:
    struct = _struct_in(kind)
    if struct is not None and value is not None:
        return to_struct(struct, value, path, problems)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problems.add(*_told(path, str(error)))
        return None


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """The struct of ``Struct`` or ``Struct | None``."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for each in kinds:
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            return each
    return None


def _told(path: str, error: str) -> tuple[str, str]:
    """An error of msgspec as a path and a sentence with a remedy."""
    match = _EXPECTED.fullmatch(error)
    if match is None:
        return path, error
    where = path + (match["at"] or "$")[1:]
    want = match["want"].removesuffix(" | null")
    word = " or ".join(_WORDS.get(each, each) for each in want.split(" | "))
    if match["got"]:
        return where, f"must be {word}, not {_WORDS.get(match['got'], match['got'])}; {_remedy(want, match['got'])}"
    bound = (match["bound"] or "").strip()
    if want == "array" and bound:
        return where, "the list is empty; name at least one"
    if want == "str" and bound:
        return where, "the text is empty; write something, or leave the field out"
    return where, f"must be {word} {bound}".rstrip() + "; write such a number"


def _remedy(want: str, got: str) -> str:
    if got == "null":
        return "write a value, or leave the field out"
    if want == "str":
        return "put it in quotes"
    if want == "array":
        return "write it as [value]"
    if got == "str":
        return "write it without quotes, in digits"
    return f"write {_WORDS.get(want, want)}"


def _word_of(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return "text"
    return "true or false" if isinstance(value, bool) else "a number"
