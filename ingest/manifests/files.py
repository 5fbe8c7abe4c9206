"""Turns the bytes of a file into events. Pure: knows the kinds that it is given, but no directory and no tables.

The name of an object is ``file:Kind/namespace/name``. A document without kind or name is called ``file:line``, and a
file that cannot be parsed at all ``file``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from statedb.catalog.wire import PartlyRead, WireError

from ..events import Bad, Upsert, excerpt
from ..status import ANY_TABLE
from . import json_text, yaml_text
from .document import Document, TextError, Value, text_of

FEED = "manifests"

_TEMPLATE = "{{"
_RENDER_FIRST = "a template ({{ }}) that was not rendered; render it first, for instance with 'helm template'"
_OBJECTS_PER_CALL = 1000
_NESTED_LISTS_MAX = 20
_SECRET = re.compile(r"kind['\"]?\s*:\s*['\"]?Secret")


class Kind(msgspec.Struct, frozen=True):
    """How the objects of one kind are decoded.

    ``decode`` returns rows, or raises WireError. With ``typed``, scalars of YAML are resolved by its core schema,
    because parts of the object are stored unchanged. Otherwise they stay text, and the type of the field decides.
    """

    table: str
    decode: Callable[[dict[str, Any]], tuple[Any, ...]]
    typed: bool = False


Kinds: TypeAlias = Mapping[tuple[str, str], Kind | None]
"""By API group and kind. None: the kind is known and ignored."""

ProgressCallback: TypeAlias = Callable[[str], None]
"""Called from time to time with the progress in words. An exception that it raises ends the parsing."""


class Parsed(msgspec.Struct, frozen=True):
    """The events of a file. With ``whole=False`` it may have more objects than could be recognised."""

    events: dict[str, Upsert | Bad]
    whole: bool


def unreadable(file: str, reason: str, text: str = "") -> Parsed:
    """A file that cannot be parsed at all."""
    return Parsed({file: Bad(FEED, file, reason, _shown(text), ANY_TABLE)}, whole=False)


def parse(
    file: str, data: bytes, kinds: Kinds, aliases_max: int, on_progress: ProgressCallback = lambda _: None
) -> Parsed:
    """The objects of a file, each good or bad. An empty file has none.

    Files named ``*.json`` are parsed as JSON, all others as YAML. A template that was not rendered is one rejected
    object with the name of the file; other documents of the file are decoded nevertheless.
    """
    try:
        text = text_of(data)
    except TextError as error:
        return unreadable(file, str(error))
    reader = _Reader(file, kinds, aliases_max, on_progress)
    for document in json_text.split(text) if reader.is_json else yaml_text.split(text):
        reader.read(document)
    return Parsed(reader.events, reader.whole)


class _Nameless(ValueError):
    """An object without kind or name."""


class _Template(_Nameless):
    """A kind or a name that is a template expression."""


class _Reader:
    """Decodes the documents of one file."""

    def __init__(self, file: str, kinds: Kinds, aliases_max: int, on_progress: ProgressCallback) -> None:
        self.is_json = file.endswith(".json")
        self.events: dict[str, Upsert | Bad] = {}
        self.whole = True
        self._file = file
        self._kinds = kinds
        self._aliases_max = aliases_max
        self._on_progress = on_progress
        self._document = Document("", 1)
        self._shown: str | None = None

    def read(self, document: Document) -> None:
        """Add the objects of a document to the events."""
        self._document, self._shown = document, None
        try:
            for value in self._values():
                self._read_value(value)
        except TextError as error:
            self._reject(str(error), is_template=_TEMPLATE in document.text)

    def _values(self, *, typed: bool = False) -> Iterable[Value]:
        if self.is_json:
            return json_text.load(self._document, on_line=self._on_line)
        return yaml_text.load(self._document, typed=typed, aliases_max=self._aliases_max, on_line=self._on_line)

    def _read_value(self, value: Value) -> None:
        if value is None:
            return
        for number, each in enumerate(self._objects(value), 1):
            try:
                event = self._event(each)
            except _Nameless as error:
                self._reject(str(error), is_template=isinstance(error, _Template))
            else:
                if event is not None:
                    self._add(event)
            if not number % _OBJECTS_PER_CALL:
                self._on_progress(f"{number} objects of a list")

    def _objects(self, value: Value) -> list[Value]:
        """The objects in a value of a document. YAML is parsed again if one of them wants typed scalars."""
        objects = list(_items(value))
        if self.is_json:
            return objects
        kinds = [_find(each, self._kinds) for each in objects]
        if not any(kind is not None and kind.typed for kind in kinds):
            return objects
        typed = [each for whole in self._values(typed=True) for each in _items(whole)]
        if len(typed) != len(objects):  # the document has several values, separated by "..."
            return objects
        return [t if kind is not None and kind.typed else u for u, t, kind in zip(objects, typed, kinds, strict=True)]

    def _event(self, value: Value) -> Upsert | Bad | None:
        """The event of an object; None for a kind that is ignored. Raises _Nameless."""
        group, kind_name = _kind_of(value)
        if (group, kind_name) not in self._kinds:
            if group == "cilium.io":
                raise _Nameless(f"kind {kind_name!r} of {group} is not known; its spelling may be wrong")
            return None
        kind = self._kinds[group, kind_name]
        if kind is None:
            return None
        name = f"{self._file}:{kind_name}/{_name_of(value)}"
        try:
            return Upsert(FEED, name, kind.decode(value), kind.table)
        except WireError as error:
            return Bad(FEED, name, str(error), self._excerpt(), kind.table)

    def _add(self, event: Upsert | Bad) -> None:
        if event.object in self.events:
            fault = "stands twice in this file; the first one counts"  # it can be read, and has no rows
            event = Upsert(FEED, f"{event.object} (again)", PartlyRead.of((), (fault,)), ANY_TABLE)
        self.events[event.object] = event

    def _reject(self, error: str, *, is_template: bool = False) -> None:
        """Reject a document, or a part of it, whose objects cannot be recognised."""
        self.whole = False
        if not is_template:
            self._add(Bad(FEED, f"{self._file}:{self._document.line}", error, self._excerpt(), ANY_TABLE))
        elif self._file not in self.events:
            self._add(Bad(FEED, self._file, f"{_RENDER_FIRST}; {error}", self._excerpt(), ANY_TABLE))

    def _excerpt(self) -> str:
        if self._shown is None:
            self._shown = _shown(self._document.text)
        return self._shown

    def _on_line(self, line: int) -> None:
        self._on_progress(f"line {line}")


def _items(value: Value, level: int = 0) -> Iterator[Value]:
    """The objects in a value: itself, or the items of a list. Items of a typed list need not repeat their kind.

    A list that is nested too deep is returned as it is; its kind is not known.
    """
    if not isinstance(value, dict) or not isinstance(value.get("items"), list):
        yield value
        return
    kind = value.get("kind")
    if not isinstance(kind, str) or not kind.endswith("List") or level > _NESTED_LISTS_MAX:
        yield value
        return
    defaults = {"apiVersion": value.get("apiVersion"), "kind": kind.removesuffix("List")} if kind != "List" else {}
    for item in value["items"]:
        for each in _items(item, level + 1):
            yield {**defaults, **each} if defaults and isinstance(each, dict) else each


def _find(value: Value, kinds: Kinds) -> Kind | None:
    """How to decode the object; None if it is ignored."""
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
    if _TEMPLATE in version or _TEMPLATE in kind:
        raise _Template("apiVersion or kind is one of its expressions")
    return version.rpartition("/")[0], kind


def _name_of(value: dict[str, Any]) -> str:
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, (str, int)) or isinstance(name, bool) or name == "":
        raise _Nameless("metadata.name is missing")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    if _TEMPLATE in str(name) or _TEMPLATE in str(namespace):
        raise _Template("metadata.name or metadata.namespace is one of its expressions")
    return f"{namespace}/{name}" if namespace else str(name)


def _shown(text: str) -> str:
    """The beginning of a document, to show to an operator, unless it may contain a secret."""
    return "" if _SECRET.search(text) else excerpt(text)
