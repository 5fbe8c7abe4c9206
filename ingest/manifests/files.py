"""A file's bytes into events. Pure: knows the kinds it is given, no directory and no tables.

An object is named ``file:Kind/namespace/name``; what cannot be told apart, ``file:line``; a whole file, by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from statedb.catalog.wire import WireError

from ..events import Bad, Upsert, excerpt
from ..status import ANY_TABLE
from .yaml_text import Document, Value, YamlError, load, split

FEED = "manifests"

_SECRET = re.compile(r"kind['\"]?\s*:\s*['\"]?Secret")


class Kind(msgspec.Struct, frozen=True):
    """How the objects of one kind are read.

    ``decode`` gives rows, or raises WireError. ``typed``: its values are resolved as YAML's core schema says, because
    parts of it are kept as they are; all others come as text, for the fields to decide.
    """

    table: str
    decode: Callable[[dict[str, Any]], tuple[Any, ...]]
    typed: bool = False


Kinds: TypeAlias = Mapping[tuple[str, str], Kind | None]
"""By API group and kind; None: a kind that we know of and have no use for."""


class Parsed(msgspec.Struct, frozen=True):
    """What a file says. ``whole`` False: it may hold more objects than could be told apart."""

    events: dict[str, Upsert | Bad]
    whole: bool


def unreadable(file: str, reason: str, text: str = "") -> Parsed:
    """A file of which nothing could be read."""
    return Parsed({file: Bad(FEED, file, reason, _shown(text), ANY_TABLE)}, whole=False)


def parse(file: str, data: bytes, kinds: Kinds, aliases_max: int) -> Parsed:
    """The objects of a file, each good or bad. An empty file holds none."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return unreadable(file, f"not UTF-8 at byte {error.start}")
    events: dict[str, Upsert | Bad] = {}
    whole = True
    for document in split(text):
        for event, known in _document(file, document, kinds, aliases_max):
            whole = whole and known
            if event.object in events:
                event = Bad(
                    FEED, f"{event.object} (again)", "stands twice in this file; the first one counts", "", ANY_TABLE
                )
            events[event.object] = event
    return Parsed(events, whole)


def _document(file: str, document: Document, kinds: Kinds, aliases_max: int) -> Iterator[tuple[Upsert | Bad, bool]]:
    """The events of a document, each with whether we know which object it is about."""
    try:
        for value in load(document, aliases_max=aliases_max):
            yield from _value(file, document, value, kinds, aliases_max)
    except YamlError as error:
        yield _unknown(file, document, str(error)), False


def _value(
    file: str, document: Document, value: Value, kinds: Kinds, aliases_max: int
) -> Iterator[tuple[Upsert | Bad, bool]]:
    if value is None:
        return
    untyped = list(_items(value))
    kinds_of = [_find(each, kinds) for each in untyped]
    objects = untyped
    if any(kind is not None and kind.typed for kind in kinds_of):
        resolved = [each for whole in load(document, typed=True, aliases_max=aliases_max) for each in _items(whole)]
        if len(resolved) == len(untyped):  # not so where "..." put several values into one document text
            objects = [t if k is not None and k.typed else u for u, t, k in zip(untyped, resolved, kinds_of)]
    for each in objects:
        try:
            event = _object(file, document, each, kinds)
        except _Nameless as error:
            yield _unknown(file, document, str(error)), False
        else:
            if event is not None:
                yield event, True


class _Nameless(ValueError):
    """An object that does not say which one it is."""


def _object(file: str, document: Document, value: Value, kinds: Kinds) -> Upsert | Bad | None:
    group, kind_name = _kind_of(value)
    if (group, kind_name) not in kinds:
        if group == "cilium.io":
            raise _Nameless(f"kind {kind_name!r} of {group} is not known; its spelling may be wrong")
        return None
    kind = kinds[group, kind_name]
    if kind is None:
        return None
    name = f"{file}:{kind_name}/{_name_of(value)}"
    try:
        return Upsert(FEED, name, kind.decode(value), kind.table)
    except WireError as error:
        return Bad(FEED, name, str(error), _shown(document.text), kind.table)


def _items(value: Value) -> Iterator[Value]:
    """The objects in a value: itself, or the items of a list; items of a typed list need not repeat their kind."""
    if not isinstance(value, dict) or not isinstance(value.get("items"), list):
        yield value
        return
    kind = value.get("kind")
    if not isinstance(kind, str) or not kind.endswith("List"):
        yield value
        return
    defaults = {"apiVersion": value.get("apiVersion"), "kind": kind.removesuffix("List")} if kind != "List" else {}
    for item in value["items"]:
        for each in _items(item):
            yield {**defaults, **each} if isinstance(each, dict) else each


def _find(value: Value, kinds: Kinds) -> Kind | None:
    """How the object is read; None where it is not."""
    try:
        return kinds.get(_kind_of(value))
    except _Nameless:
        return None


def _kind_of(value: Value) -> tuple[str, str]:
    """API group (empty for the core) and kind."""
    if not isinstance(value, dict):
        raise _Nameless("a Kubernetes object is a mapping with apiVersion, kind and metadata")
    version, kind = value.get("apiVersion"), value.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str) or not version or not kind:
        raise _Nameless("apiVersion or kind is missing")
    return version.rpartition("/")[0], kind


def _name_of(value: dict[str, Any]) -> str:
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, (str, int)) or isinstance(name, bool) or name == "":
        raise _Nameless("metadata.name is missing")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    return f"{namespace}/{name}" if namespace else str(name)


def _unknown(file: str, document: Document, error: str) -> Bad:
    return Bad(FEED, f"{file}:{document.line}", error, _shown(document.text), ANY_TABLE)


def _shown(text: str) -> str:
    """The beginning of a document for an operator, unless it may be a secret."""
    return "" if _SECRET.search(text) else excerpt(text)
