"""Label and field selectors. https://kubernetes.io/docs/concepts/overview/working-with-objects/labels"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ._refusal import Refusal

Matches = Callable[[dict[str, Any]], bool]
_SET = re.compile(r"(?P<name>[^\s!=,()]+)\s+(?P<word>in|notin)\s*\((?P<values>[^)]*)\)")
_EQUAL = re.compile(r"(?P<name>[^\s!=,()]+)\s*(?P<sign>!=|==|=)\s*(?P<value>[^\s!=,()]*)")
_EXISTS = re.compile(r"(?P<sign>!?)\s*(?P<name>[^\s!=,()]+)")
_COMMA = re.compile(r",(?![^(]*\))")


def labels(text: str) -> Matches:
    """A test for the labels of an object. Raises Refusal for an invalid selector."""
    wanted = [_requirement(part.strip()) for part in _COMMA.split(text) if part.strip()]
    return lambda value: all(holds(value.get("metadata", {}).get("labels") or {}) for holds in wanted)


def _requirement(text: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _SET.fullmatch(text):
        name, values = match["name"], {value.strip() for value in match["values"].split(",")}
        if match["word"] == "in":
            return lambda labels: labels.get(name) in values
        return lambda labels: labels.get(name) not in values
    if match := _EQUAL.fullmatch(text):
        name, value = match["name"], match["value"]
        if match["sign"] == "!=":
            return lambda labels: labels.get(name) != value
        return lambda labels: labels.get(name) == value
    if match := _EXISTS.fullmatch(text):
        name, wanted = match["name"], not match["sign"]
        return lambda labels: (name in labels) == wanted
    raise Refusal(400, "BadRequest", f"unable to parse requirement: {text!r}")


def fields(text: str) -> Matches:
    """A test for fields of an object. A field is named by its path; a missing one is empty. Raises Refusal."""
    wanted = []
    for part in filter(None, text.split(",")):
        match = _EQUAL.fullmatch(part.strip())
        if match is None:
            raise Refusal(400, "BadRequest", f"invalid selector: {part!r}; can't understand it")
        wanted.append((match["name"].split("."), match["value"], match["sign"] != "!="))
    return lambda value: all((_at(value, path) == expected) == equal for path, expected, equal in wanted)


def _at(value: Any, path: list[str]) -> str:
    for name in path:
        value = value.get(name, "") if isinstance(value, dict) else ""
    return str(value).lower() if isinstance(value, bool) else str(value)
