"""The configuration, from the types that check it: each option with its type, default, bounds and meaning."""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from ingest import BACKENDS, RemoteClustersOptions
from statedb.agent.process.config import Cluster
from statedb.agent.process.consumers import CONSUMER_KINDS

_PAGES = Path(__file__).parents[1]
_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_OBVIOUS = {
    "aliases-max": "how many aliases one YAML file may have",
    "ca-file": "certificates (PEM) of the authorities that sign the server's",
    "cert-file": "our certificate (PEM), for servers that ask for one",
    "context": "which context of the kubeconfig; the current one if not given",
    "file-bytes-max": "the largest file that is read",
    "id": "0 to 511, different in each cluster; 0 only for a cluster named `default`",
    "key-file": "the key (PEM) of our certificate",
    "kubeconfig": "the file; if not given, as kubectl does, else the service account of the pod",
    "name": "1 to 32 lower-case letters, digits and dashes",
    "page-limit": "how many objects one page of a list holds",
    "password-file": "a file with the password",
    "request-timeout-s": "how long one request may take",
    "retry-max-s": "the longest pause between two attempts",
    "retry-min-s": "the pause after the first failure; it doubles up to `retry-max-s`",
    "username": "the user of the etcd, where it asks for a password",
}
"""What stands in no docstring, or for several options at once."""
_UNITS = {"s": "seconds", "bytes": "bytes", "keys": "keys"}
_BOUNDS = {
    "ge": "at least {}",
    "gt": "more than {}",
    "le": "at most {}",
    "lt": "less than {}",
    "min_length": "length at least {}",
}


def markdown() -> str:
    """A section for each part of a configuration that has options."""
    lines: list[str] = []
    for title, kind in _parts():
        lines += [f"## `{title}`", "", *_section(kind)]
    return "\n".join(lines)


def _parts() -> Iterator[tuple[str, type[msgspec.Struct]]]:
    yield "cluster", Cluster
    for name, backend in BACKENDS.items():
        yield f"ingest.{name}", backend.options
    yield "remote-clusters", RemoteClustersOptions
    for name, consumer in CONSUMER_KINDS.items():
        if msgspec.structs.fields(consumer.options):
            yield f"consumers: {name}", consumer.options


def _section(kind: type[msgspec.Struct]) -> list[str]:
    lines = ["| option | type | default | meaning |", "|---|---|---|---|"]
    return [*lines, *_rows(kind, ""), ""]


def _rows(kind: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        name, hint = f"{prefix}{field.encode_name}", hints[field.name]
        inner = _struct_in(hint)
        if inner is None:
            yield f"| `{name}` | {_type(hint, field.encode_name)} | {_default(field)} | {_meaning(kind, field.name)} |"
        else:
            yield f"| `{name}` | mapping | {_default(field)} | {_meaning(kind, field.name)} |"
            yield from _rows(inner, f"{name}.")


def _struct_in(hint: Any) -> type[msgspec.Struct] | None:
    for each in (hint, *get_args(hint)):
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            return each
    return None


def _type(hint: Any, name: str) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return ", ".join([_type(arguments[0], name), *_bounds(arguments[1])])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(each, name) for each in arguments if each is not type(None))
    if origin is tuple or hint is tuple:
        return f"list of {_type(arguments[0], '')}"
    if isinstance(origin, type):
        return "mapping"
    unit = _UNITS.get(name.rpartition("-")[2], "") if hint in (int, float) else ""
    return unit or _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _bounds(meta: Any) -> Iterator[str]:
    for name, words in _BOUNDS.items():
        value = getattr(meta, name, None)
        if value is not None:
            yield words.format(value)


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default_factory is not msgspec.NODEFAULT:
        return _shown(field.default_factory())
    return _shown(field.default)


def _shown(value: Any) -> str:
    if value is None or value in ({}, (), ""):
        return ""
    if isinstance(value, msgspec.Struct):
        return "as below"
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meaning(kind: type, name: str) -> str:
    """What the docstrings of the type and of its bases say behind the name of the field; else what the pages say."""
    names = rf"(?:``\w+``(?:, | and |, and ))*``{name}``(?:(?:, | and |, and )``\w+``)*"
    for each in kind.__mro__:
        text = " ".join((inspect.cleandoc(each.__doc__ or "") if "__doc__" in vars(each) else "").split())
        found = re.search(rf"{names}(?:: | is | are )(?P<what>.*?)(?:\.(?= |$)|$)", text)
        if found:
            return found["what"].replace("``", "`").replace("|", "\\|")
    return _documented().get(name.replace("_", "-"), "")


@functools.cache
def _documented() -> dict[str, str]:
    """Option -> its meaning, from the tables of the pages; the first that tells it counts."""
    found = dict(_OBVIOUS)
    for page in sorted(_PAGES.glob("*.md")):
        for row in re.findall(r"^\| (`[a-z].*?) \| (.*?) \|", page.read_text(), re.MULTILINE):
            names = re.findall(r"`([a-z][a-z0-9-]*)`", row[0])
            whole = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", row[1])
            each = whole.split("; ")  # one for each name, or one for all
            for option, meaning in zip(names, each if len(each) == len(names) else [whole] * len(names), strict=True):
                found.setdefault(option, meaning)
    return found
