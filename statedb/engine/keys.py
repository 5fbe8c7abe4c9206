"""Keys of rows: the fields that a compound key compares by, and where a prefix begins and ends. Knows no tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Literal

from .errors import InvalidKey


def _no_fields(_: Any) -> None:
    return None


def _field_names(kind: type) -> tuple[str, ...] | None:
    """The fields that a compound type compares by, in order; None for a plain type."""
    names = getattr(kind, "__struct_fields__", None)
    if names is not None:
        return tuple(names)
    if dataclasses.is_dataclass(kind):
        return tuple([field.name for field in dataclasses.fields(kind) if field.compare])
    attributes = getattr(kind, "__attrs_attrs__", None)
    if attributes is not None:
        return tuple([attribute.name for attribute in attributes if attribute.order])
    return None


class _Getters(dict[type, Callable[[Any], tuple[Any, ...] | None]]):
    """What takes the fields out of a key, by its type; found out once for each type."""

    def __missing__(self, kind: type) -> Callable[[Any], tuple[Any, ...] | None]:
        getter = self[kind] = _getter(kind)
        return getter


def _getter(kind: type) -> Callable[[Any], tuple[Any, ...] | None]:
    if issubclass(kind, tuple):
        return tuple
    names = _field_names(kind)
    if names is None:
        return _no_fields
    if len(names) > 1:
        return attrgetter(*names)
    return lambda key: tuple([getattr(key, name) for name in names])


GETTERS = _Getters()


def fields_of(key: Any) -> tuple[Any, ...] | None:  # Any: keys are the user's
    """The fields of a compound key in comparison order, or None for a plain value.

    Compound are tuples (NamedTuples too), msgspec Structs, dataclasses and attrs classes.
    """
    return GETTERS[type(key)](key)


class PrefixEdge:
    """The place in a sorted list just before, or just after, all keys whose leading fields equal a prefix.

    Compares only against compound keys, from the right side: ``key < edge`` falls back to ``edge > key``.
    """

    __slots__ = ("_after", "_prefix")

    def __init__(self, prefix: tuple[Any, ...], *, after: bool) -> None:
        """``after=False`` is the lower edge, ``after=True`` the upper."""
        self._prefix = prefix
        self._after = after

    def __gt__(self, key: Any) -> bool:
        """Whether the key lies before this edge."""
        leading = (fields_of(key) or ())[: len(self._prefix)]
        return bool(leading <= self._prefix) if self._after else bool(leading < self._prefix)

    def __lt__(self, key: Any) -> bool:
        """Whether the key lies behind this edge."""
        return not self > key


class KeyEdge:
    """The place in a sorted list just after a key: what makes a lower bound exclusive, and an upper one inclusive."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        """Just after ``key``."""
        self.key = key

    def __gt__(self, key: Any) -> bool:
        """Whether the key lies before this edge."""
        return not self.key < key

    def __lt__(self, key: Any) -> bool:
        """Whether the key lies behind this edge."""
        return bool(self.key < key)

    def __eq__(self, other: object) -> bool:
        """Whether it is the same place."""
        return isinstance(other, KeyEdge) and bool(self.key == other.key)

    def __hash__(self) -> int:
        """Of its key."""
        return hash(self.key) + 1


Bounds = Literal["[)", "[]", "(]", "()"]
"""Which ends of a range belong to it, as mathematicians write it: ``[`` and ``]`` do, ``(`` and ``)`` do not."""


def range_edges(start: Any, stop: Any, bounds: Bounds) -> tuple[Any, Any]:
    """A range as low (inclusive) and high (exclusive) places among keys, None for open. Raises ValueError."""
    if bounds not in ("[)", "[]", "(]", "()"):
        raise ValueError(f"bounds must be one of '[)', '[]', '(]', '()', and not {bounds!r}")
    low = KeyEdge(start) if bounds[0] == "(" and start is not None else start
    return low, KeyEdge(stop) if bounds[1] == "]" and stop is not None else stop


def _next_text(prefix: str) -> str | None:
    """The smallest text above every text that starts with the prefix; None where there is no bound."""
    stripped = prefix.rstrip("\U0010ffff")
    return stripped[:-1] + chr(ord(stripped[-1]) + 1) if stripped else None


def _next_bytes(prefix: bytes) -> bytes | None:
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None


def prefix_edges(prefix: Any) -> tuple[Any, Any]:
    """The bounds (low inclusive, high exclusive, None for open) of the keys under a prefix.

    Text and bytes: a leading part. Tuples and other compounds: the leading fields, each matching whole.
    Raises InvalidKey for anything else.
    """
    if isinstance(prefix, str):  # members of a StrEnum too: their text counts
        prefix = str.__str__(prefix)
        return prefix, _next_text(prefix)
    if isinstance(prefix, bytes):
        return prefix, _next_bytes(prefix)
    fields = fields_of(prefix)
    if fields is None:
        raise InvalidKey(f"{prefix!r} is not a prefix; give str, bytes, or a tuple of leading fields")
    return PrefixEdge(fields, after=False), PrefixEdge(fields, after=True)


def prefix_matcher(prefix: Any) -> Callable[[Any], bool]:
    """A test whether a key lies under the prefix (see ``prefix_edges``)."""
    if isinstance(prefix, (str, bytes)):
        return lambda key: isinstance(key, type(prefix)) and key.startswith(prefix)  # type: ignore[arg-type]
    fields = fields_of(prefix)
    if fields is None:
        raise InvalidKey(f"{prefix!r} is not a prefix; give str, bytes, or a tuple of leading fields")
    size = len(fields)
    return lambda key: (fields_of(key) or ())[:size] == fields


def prefix_of(key: Any, size: int) -> Any:
    """The leading ``size`` characters, bytes or fields of a key."""
    if isinstance(key, (str, bytes)):
        return key[:size]
    return (fields_of(key) or ())[:size]


def normal_prefix(prefix: Any) -> tuple[Any, int]:
    """A prefix as a dict key that ``prefix_of`` reproduces, and its size."""
    if isinstance(prefix, (str, bytes)):
        return prefix, len(prefix)
    fields = fields_of(prefix)
    if fields is None:
        raise InvalidKey(f"{prefix!r} is not a prefix; give str, bytes, or a tuple of leading fields")
    return fields, len(fields)
