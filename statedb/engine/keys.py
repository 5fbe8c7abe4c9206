"""Keys of rows: the fields by which compound keys are compared, and the bounds of prefixes. Knows no tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Literal

from .errors import InvalidKey


def _no_fields(_: Any) -> None:
    return None


def _field_names(kind: type) -> tuple[str, ...] | None:
    """The fields by which a compound type is compared, in order. None for a plain type."""
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
    """The function that extracts the fields of a key, cached by the key's type."""

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
    """The fields of a compound key in comparison order. None for a plain value.

    Compound keys are tuples (NamedTuples too), msgspec Structs, dataclasses and attrs classes.
    """
    return GETTERS[type(key)](key)


class PrefixEdge:
    """The position in a sorted list just before, or just after, all keys whose leading fields equal a prefix.

    Compares only with compound keys, and only as the right operand: ``key < edge`` falls back to ``edge > key``.
    """

    __slots__ = ("_after", "_prefix")

    def __init__(self, prefix: tuple[Any, ...], *, after: bool) -> None:
        """``after=False`` is the lower bound, ``after=True`` the upper bound."""
        self._prefix = prefix
        self._after = after

    def __gt__(self, key: Any) -> bool:
        """Whether the key comes before this position."""
        leading = (fields_of(key) or ())[: len(self._prefix)]
        return bool(leading <= self._prefix) if self._after else bool(leading < self._prefix)

    def __lt__(self, key: Any) -> bool:
        """Whether the key comes after this position."""
        return not self > key


class KeyEdge:
    """The position in a sorted list just after a key. It makes a lower bound exclusive and an upper bound inclusive."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        """The position just after ``key``."""
        self.key = key

    def __gt__(self, key: Any) -> bool:
        """Whether the key comes before this position."""
        return not self.key < key

    def __lt__(self, key: Any) -> bool:
        """Whether the key comes after this position."""
        return bool(self.key < key)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same position."""
        return isinstance(other, KeyEdge) and bool(self.key == other.key)

    def __hash__(self) -> int:
        """The hash of a position, derived from its key."""
        return hash(self.key) + 1


Bounds = Literal["[)", "[]", "(]", "()"]
"""Which ends of a range are included, in mathematical notation: ``[`` and ``]`` are, ``(`` and ``)`` are not."""


def range_edges(start: Any, stop: Any, bounds: Bounds) -> tuple[Any, Any]:
    """A range as a lower (inclusive) and an upper (exclusive) position, None for no bound. Raises ValueError."""
    if bounds not in ("[)", "[]", "(]", "()"):
        raise ValueError(f"bounds must be one of '[)', '[]', '(]', '()', not {bounds!r}")
    low = KeyEdge(start) if bounds[0] == "(" and start is not None else start
    return low, KeyEdge(stop) if bounds[1] == "]" and stop is not None else stop


def _next_text(prefix: str) -> str | None:
    """The smallest text greater than every text that starts with the prefix. None if there is no bound."""
    stripped = prefix.rstrip("\U0010ffff")
    return stripped[:-1] + chr(ord(stripped[-1]) + 1) if stripped else None


def _next_bytes(prefix: bytes) -> bytes | None:
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None


def prefix_edges(prefix: Any) -> tuple[Any, Any]:
    """The bounds of the keys under a prefix: lower inclusive, upper exclusive, None for no bound.

    A prefix of text or bytes is a leading part. A prefix of a tuple or another compound key is its leading fields, each
    of which must match as a whole. Raises InvalidKey for anything else.
    """
    if isinstance(prefix, str):  # members of a StrEnum too, by their text
        prefix = str.__str__(prefix)
        return prefix, _next_text(prefix)
    if isinstance(prefix, bytes):
        return prefix, _next_bytes(prefix)
    fields = fields_of(prefix)
    if fields is None:
        raise InvalidKey(f"{prefix!r} is not a prefix; give str, bytes, or a tuple of leading fields")
    return PrefixEdge(fields, after=False), PrefixEdge(fields, after=True)


def prefix_matcher(prefix: Any) -> Callable[[Any], bool]:
    """A function that tests whether a key has the prefix (see ``prefix_edges``)."""
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
    """A prefix as a dict key, in the form that ``prefix_of`` returns, and its size."""
    if isinstance(prefix, (str, bytes)):
        return prefix, len(prefix)
    fields = fields_of(prefix)
    if fields is None:
        raise InvalidKey(f"{prefix!r} is not a prefix; give str, bytes, or a tuple of leading fields")
    return fields, len(fields)
