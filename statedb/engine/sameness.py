"""When two rows are the same: by type and all fields, not by ``==`` alone. Knows no tables.

``==`` ignores differences that an update may be about: ``1 == True == 1.0``, and fields with ``compare=False``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import Any

PLAIN = frozenset({str, bytes, int, bool, type(None)})
"""Types whose values are the same exactly if they are equal."""


class _Getters(dict[type, "Callable[[Any], tuple[Any, ...]] | None"]):
    """The function that extracts all fields of a value, cached by its type. None for values without fields."""

    def __missing__(self, kind: type) -> Callable[[Any], tuple[Any, ...]] | None:
        getter = self[kind] = _getter(kind)
        return getter


def _getter(kind: type) -> Callable[[Any], tuple[Any, ...]] | None:
    if issubclass(kind, tuple):
        return tuple
    if issubclass(kind, dict):
        return lambda value: tuple(value.items())
    names = getattr(kind, "__struct_fields__", None)
    if names is None and dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    if names is None and hasattr(kind, "__attrs_attrs__"):
        names = [attribute.name for attribute in kind.__attrs_attrs__]
    if names is None:
        return None
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple([getattr(value, name) for name in names])


_GETTERS = _Getters()


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same type, and so are all their fields. Raises what their ``==`` raises.

    >>> same((1, "a"), (1, "a")), same((1, "a"), (True, "a")), same(1, 2)
    (True, False, False)
    """
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other) or not one == other:  # noqa: SIM201  # a class may define only one of the two
        return False
    if isinstance(one, frozenset):
        return {(type(element), element) for element in one} == {(type(element), element) for element in other}
    getter = _GETTERS[kind]
    if getter is None:
        return True
    fields, others = getter(one), getter(other)
    types = list(map(type, fields))
    if types != list(map(type, others)):
        return False
    if PLAIN.issuperset(types):  # most rows, at C speed
        return bool(fields == others)
    return all(map(same, fields, others))
