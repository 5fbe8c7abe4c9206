"""Paths into JSON values: ``spec.nodeName``, ``metadata.annotations['a/b.c']``, ``spec.containers[*].image``. Pure.

A path that reaches a list continues in each of its elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str, ...]

_PART = re.compile(r"""\.?(?P<name>(?:[^.\[\]\\'"\s]|\\.)+)|\[\*\]|\[(?P<quote>['"])(?P<quoted>.+?)(?P=quote)\]""")


def parse(text: str) -> Path:
    r"""The names of a path. A dot within a name is escaped, or the name is written in brackets and quotes.

    >>> parse("spec.containers[*].image"), parse(r"labels.a\.b"), parse("annotations['a/b.c']")
    (('spec', 'containers', 'image'), ('labels', 'a.b'), ('annotations', 'a/b.c'))

    Raises ValueError if the text is not a path.
    """
    names, position = list[str](), 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            break
        name = match["quoted"] or re.sub(r"\\(.)", r"\1", match["name"] or "")
        names += [name] if name else []
        position = match.end()
    if not names or position < len(text):
        raise ValueError(f"{text!r} is not a path; write it like spec.nodeName or metadata.annotations['a/b.c']")
    return tuple(names)


def values_at(value: Any, path: Path) -> Iterator[Any]:
    """All values at a path: none, one or several (Any: JSON)."""
    if isinstance(value, list):
        for each in value:
            yield from values_at(each, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from values_at(value[path[0]], path[1:])


def keys_at(value: Any, path: Path) -> tuple[str, ...]:
    """The values at a path as keys of an index, each once: text, numbers, and booleans as in JSON.

    >>> keys_at({"a": [{"b": 1}, {"b": True}, {"b": "x"}, {"b": None}, {"b": {}}]}, ("a", "b"))
    ('1', 'true', 'x')
    """
    found = [_key(each) for each in values_at(value, path) if isinstance(each, str | int | float)]
    return tuple(dict.fromkeys(found))


def _key(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def remove(value: Any, path: Path) -> None:
    """Remove everything at a path from a value, in place."""
    if isinstance(value, list):
        for each in value:
            remove(each, path)
    elif isinstance(value, dict) and path[0] in value:
        if len(path) == 1:
            del value[path[0]]
        else:
            remove(value[path[0]], path[1:])


def kept(value: Any, wanted: Iterable[Path]) -> Any:
    """A copy of a value with only the parts at these paths. Elements of lists keep their positions.

    >>> kept({"a": 1, "b": {"c": 2, "d": 3}, "e": [{"f": 4, "g": 5}]}, [("a",), ("b", "d"), ("e", "g")])
    {'a': 1, 'b': {'d': 3}, 'e': [{'g': 5}]}
    """
    paths = tuple(wanted)
    if () in paths:
        return value
    if isinstance(value, list):
        return [kept(each, paths) for each in value]
    if not isinstance(value, dict):
        return None
    return {
        name: kept(each, below)
        for name, each in value.items()
        if (below := [path[1:] for path in paths if path[0] == name])
    }
