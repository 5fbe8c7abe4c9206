"""Functions that compute the keys of a row in all secondary indexes, in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .schema import AnyIndex, Keys
from .shape import KeyShape
from .states import Row


def extractor_of(indexes: list[AnyIndex[Any, Any]]) -> Callable[[Row], tuple[Keys, ...]]:
    """One function that returns the keys of a row in all of these indexes.

    One and two indexes have their own code: it takes half the time of the general form, for every insert and replace.
    """
    parts = [index.extractor() for index in indexes]
    if not parts:
        return lambda _: ()
    if len(parts) == 1:
        ((first, first_tuple),) = parts

        def one(row: Row) -> tuple[Keys, ...]:
            a = first(row)
            return (a if type(a) is tuple else first_tuple(a),)

        return one
    if len(parts) == 2:
        (first, first_tuple), (second, second_tuple) = parts

        def two(row: Row) -> tuple[Keys, ...]:
            a, b = first(row), second(row)
            return (a if type(a) is tuple else first_tuple(a), b if type(b) is tuple else second_tuple(b))

        return two

    def several(row: Row) -> tuple[Keys, ...]:
        return tuple([a if type(a := keys(row)) is tuple else as_tuple(a) for keys, as_tuple in parts])

    return several


def checking_extractor_of(
    indexes: list[AnyIndex[Any, Any]], shapes: tuple[KeyShape, ...]
) -> Callable[[Row], tuple[Keys, ...] | None]:
    """One function that returns the keys of a row in all of these indexes, or None if a key is not of its index's type.

    Two indexes have their own code, as above.
    """
    parts = [(shape, *index.extractor()) for index, shape in zip(indexes, shapes)]
    if len(parts) == 2:
        (one, first, first_tuple), (other, second, second_tuple) = parts

        def two(row: Row) -> tuple[Keys, ...] | None:
            a, b = first(row), second(row)
            if type(a) is not tuple:
                a = first_tuple(a)
            if type(b) is not tuple:
                b = second_tuple(b)
            for key in a:
                if type(key) is not one.plain and not one.fits(key):
                    return None
            for key in b:
                if type(key) is not other.plain and not other.fits(key):
                    return None
            return a, b

        return two

    def several(row: Row) -> tuple[Keys, ...] | None:
        found = []
        for shape, keys_of, as_tuple in parts:
            keys = keys_of(row)
            if type(keys) is not tuple:
                keys = as_tuple(keys)
            for key in keys:
                if type(key) is not shape.plain and not shape.fits(key):
                    return None
            found.append(keys)
        return tuple(found)

    return several
