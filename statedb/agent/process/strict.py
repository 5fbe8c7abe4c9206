"""Converts a mapping of a configuration to a struct, and reports every mistake with its path."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Iterator
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from ..wording import printable, suggestion

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
_SECONDS_MAX = 1_000_000_000
"""The longest time, about 31 years. The system and etcd refuse slightly longer ones."""
_NAME = re.compile(r"[A-Za-z_][-\w.]{0,59}")


class Problems(list[str]):
    """The mistakes found so far, one line each."""

    def add(self, path: str, text: str) -> None:
        """``path`` is the dotted name of the field, or empty for a mistake that is not in one field."""
        self.append(printable(f"{path}: {text}" if path else text))


def field_path(path: str, name: str) -> str:
    """The path of a field. A name that does not look like one may be a misplaced secret, so it is not repeated."""
    shown = name if _NAME.fullmatch(name) else "?"
    return f"{path}.{shown}" if path else shown


def to_struct(kind: type[S], value: Any, path: str, problems: Problems) -> S | None:
    """Convert ``value`` to this struct, or add to ``problems`` and return None. Problems never repeat values."""
    if not isinstance(value, dict):
        problems.add(path, f"must be a mapping of {', '.join(_names(kind))}, not {_type_word(value)}")
        return None
    before = len(problems)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in value:
        if name not in fields:
            problems.add(field_path(path, name), f"unknown field; {suggestion(fields, name)}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        where = field_path(path, name)
        if name in value:
            values[field.name] = _to_field(field.type, value[name], where, problems)
        elif field.required:
            problems.add(where, "is missing; add it")
    if len(problems) > before:
        return None
    made = kind(**values)
    _check_pauses(made, path, problems)
    return made if len(problems) == before else None


def _names(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.encode_name for field in msgspec.structs.fields(kind))


def _to_field(kind: Any, value: Any, path: str, problems: Problems) -> Any:
    struct = _struct_in(kind)
    if struct is not None and value is not None:
        return to_struct(struct, value, path, problems)
    try:
        converted = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problems.add(*_explained(path, str(error)))
        return None
    for part in _parts(converted):
        if isinstance(part, str) and "\0" in part:
            problems.add(path, "must not contain a NUL character; remove it")
        elif isinstance(part, float) and not math.isfinite(part):
            problems.add(path, "must be a finite number; write one")
        elif isinstance(part, int | float) and path.endswith("-s") and part > _SECONDS_MAX:
            problems.add(path, f"must be a number <= {_SECONDS_MAX}; write such a number")
    return converted


def _parts(value: Any) -> Iterator[Any]:
    """The value and, for a list or mapping, everything in it."""
    yield value
    if isinstance(value, dict):
        value = (*value, *value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _parts(each)


def _check_pauses(made: msgspec.Struct, path: str, problems: Problems) -> None:
    """Check that no shortest pause is longer than the longest: fields like ``retry-min-s`` and ``retry-max-s``."""
    named = {field.encode_name: getattr(made, field.name) for field in msgspec.structs.fields(made)}
    for name, least in named.items():
        other = name.replace("-min-", "-max-")
        if other != name and other in named and least > named[other]:
            problems.add(
                field_path(path, name), f"is {least:g}, more than {other} ({named[other]:g}); change one of them"
            )


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """The struct type in ``Struct`` or ``Struct | None``; None for other types."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for each in kinds:
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            return each
    return None


def _explained(path: str, error: str) -> tuple[str, str]:
    """Turn a msgspec error into a path and a sentence with a remedy."""
    match = _EXPECTED.fullmatch(error)
    if match is None:
        message, _, place = error.removesuffix("`").partition(" - at `$")
        return path + place, message.replace("Object contains unknown field", "unknown field").replace("`", "'")
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


def _type_word(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return "text"
    return "true or false" if isinstance(value, bool) else "a number"
