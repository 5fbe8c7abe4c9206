"""Keys as text: one word per field, or all fields in one word, separated by slashes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, TypeAlias, get_args, get_origin

import msgspec

from statedb import PrefixIndex

from .errors import BadRequest

AnyIndex: TypeAlias = Any
"""An index with any key and row type."""

_PARTS = {
    "endpoints.by_pod": ("namespace", "pod"),
    "endpointslices.by_service": ("namespace", "service"),
    "events.by_object": ("kind", "namespace", "name"),
    "services.by_name": ("namespace", "name"),
}
"""Field names for keys that are plain tuples."""

_INT = re.compile(r"[-+]?[0-9]{1,30}")


class KeyForm(msgspec.Struct, frozen=True):
    """The text form of the keys of one index: the names and types of the fields, and the type of the key.

    If ``compound`` is False, the only field is the key itself.
    """

    where: str
    names: tuple[str, ...]
    types: tuple[Any, ...]
    compound: bool
    kind: Any = tuple

    def parse(self, texts: Sequence[str]) -> Any:
        """Parse a whole key. Raises BadRequest, which names the fields."""
        parts = self._split(texts)
        if len(parts) != len(self.names):
            raise BadRequest(f"{self._expectation()}; {len(parts)} given: write it like {self.example()}")
        values = self._convert(parts)
        if not self.compound:
            return values[0]
        return tuple(values) if self.kind is tuple else self.kind(*values)

    def parse_prefix(self, texts: Sequence[str]) -> Any:
        """Parse the leading fields of a key, or the beginning of a text key. Raises BadRequest."""
        parts = self._split(texts)
        if not 0 < len(parts) <= len(self.names):
            raise BadRequest(f"{self._expectation()}; a prefix is at least one and at most all of them, in this order")
        if self.compound:
            return tuple(self._convert(parts))
        if self.types[0] is not str:
            raise BadRequest(f"{self._expectation()}, a number: it has no prefix; ask for whole keys, or for a range")
        return parts[0]

    def leading(self, texts: Sequence[str]) -> tuple[Any, ...]:
        """The values of the leading fields. Raises BadRequest."""
        return tuple(self._convert(texts))

    def example(self) -> str:
        """An example of a key: the names of its fields in capitals."""
        return " ".join(name.upper() for name in self.names)

    def _expectation(self) -> str:
        fields = f"{len(self.names)} fields ({', '.join(self.names)})" if self.compound else f"one {self.names[0]}"
        return f"a key of {self.where} has {fields}"

    def _split(self, texts: Sequence[str]) -> list[str]:
        """Split a single text for several fields at its slashes; the last field may contain more of them."""
        if len(texts) == 1 and self.compound:
            return texts[0].split("/", len(self.names) - 1)
        return list(texts)

    def _convert(self, parts: Sequence[str]) -> list[Any]:
        return [self._value(name, kind, text) for name, kind, text in zip(self.names, self.types, parts)]

    def _value(self, name: str, kind: Any, text: str) -> Any:
        if kind is str:
            return canonical(text)
        if kind is int:
            if not _INT.fullmatch(text):
                raise BadRequest(f"{name} of {self.where} is a whole number; {text[:60]!r} is none")
            return int(text)
        raise BadRequest(f"{name} of {self.where} is of type {kind!r}, which cannot be written as text")


def canonical(text: str) -> str:
    """An IPv6 address or network in the form of rows (``FD00::A`` is ``fd00::a``); any other text unchanged."""
    if ":" not in text:
        return text
    try:
        return str(ip_network(text)) if "/" in text else str(ip_address(text))
    except ValueError:
        return text


def key_form(index: AnyIndex) -> KeyForm:
    """The text form of the keys of an index. An index without type arguments is assumed to have text keys."""
    where = index.table.name if index.position == 0 else f"{index.table.name}.{index.name}"
    if isinstance(index, PrefixIndex):
        return KeyForm(where, ("network",), (str,), compound=False)
    arguments = get_args(getattr(index, "__orig_class__", None))
    kind: Any = arguments[0] if arguments else str
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        return KeyForm(where, tuple(f.name for f in fields), tuple(f.type for f in fields), compound=True, kind=kind)
    if get_origin(kind) is tuple:
        types = get_args(kind)
        names = tuple(f"part{place}" for place in range(1, len(types) + 1))
        return KeyForm(where, _PARTS.get(where, names), types, compound=True)
    return KeyForm(where, (index.name.removeprefix("by_") if index.position else "key",), (kind,), compound=False)


def to_texts(key: Any) -> list[str]:
    """A key as texts, one per field, in the form that `KeyForm.parse` accepts."""
    if isinstance(key, msgspec.Struct):
        return [str(value) for value in msgspec.structs.astuple(key)]
    return [str(value) for value in key] if isinstance(key, tuple) else [str(key)]
