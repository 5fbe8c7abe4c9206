"""Keys: which ones may stand in one index, and where a prefix of them begins and ends. Knows no tables.

A comparison must never fail in a reader, so the writer demands of every new key the exact recursive type
shape of the index's first key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime, time
from decimal import Decimal
from operator import attrgetter, lt
from typing import Any

from .errors import InvalidKey

_UNORDERED = (set, frozenset, dict, complex)
PLAIN = frozenset({str, bytes, int, bool})
"""Types whose values are all hashable and totally ordered: a key of one of them needs no look inside."""


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


_GETTERS = _Getters()


def fields_of(key: Any) -> tuple[Any, ...] | None:  # Any: keys are the user's
    """The fields of a compound key in comparison order, or None for a plain value.

    Compound are tuples (NamedTuples too), msgspec Structs, dataclasses and attrs classes.
    """
    return _GETTERS[type(key)](key)


def _shape(key: Any) -> Any:
    # A type without an order raises here, once, and not in a reader. Every field is asked: tuples pass equal ones over.
    lt(key, key)
    fields = fields_of(key)
    if fields is not None:
        return (type(key), *map(_shape, fields))
    if isinstance(key, _UNORDERED):
        raise InvalidKey(f"{type(key).__name__} has no total order; use a sorted tuple")
    if isinstance(key, (float, Decimal)) and key != key:
        raise InvalidKey("NaN cannot be found again; leave the row out of the index instead")
    if isinstance(key, (datetime, time)):
        return (type(key), type(key.utcoffset()))  # naive and aware ones do not compare
    return type(key)


def shape_of(key: Any) -> Any:
    """The recursive type shape of a key; keys of equal shape can be ordered. Raises InvalidKey.

    >>> shape_of("a")
    <class 'str'>
    >>> shape_of(("a", 1)) == shape_of(("b", 2))
    True
    """
    try:
        hash(key)
        return _shape(key)
    except TypeError as error:
        if isinstance(error, InvalidKey):
            raise
        raise InvalidKey(
            f"{error}; keys must be hashable and ordered, like str, int, tuples and ordered Structs"
        ) from error


def fits_none(_: Any) -> bool:
    """The test of an index without a cheap one."""
    return False


def fits_of(shape: Any) -> Callable[[Any], bool]:
    """A cheap test that says yes only to keys of exactly this shape: for compounds of plain fields, else `fits_none`.

    >>> fits = fits_of(shape_of(("a", 1)))
    >>> fits(("b", 2)), fits(("b", "c")), fits("b")
    (True, False, False)
    """
    if not isinstance(shape, tuple) or not PLAIN.issuperset(shape[1:]):
        return fits_none
    kind, *of = shape
    types = tuple(of)
    fields: Callable[[Any], Any] = _GETTERS[kind]
    return lambda key: type(key) is kind and tuple(map(type, fields(key))) == types


def describe(shape: Any) -> str:
    """A shape for people: ``str``, ``tuple[str, int]``."""
    if isinstance(shape, tuple):
        head, *rest = shape
        return f"{head.__name__}[{', '.join(map(describe, rest))}]"
    return str(shape.__name__)


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
    if type(prefix) is str:
        return prefix, _next_text(prefix)
    if type(prefix) is bytes:
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
