"""What tests of typed rows share: what a row must hold of an object, told from its type and the object's JSON alone."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from statedb.catalog.objects import ObjectHead

Json = dict[str, Any]

HEAD = len(ObjectHead.__struct_fields__)


def body_of(row: type[ObjectHead]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a row below its head."""
    return msgspec.structs.fields(row)[HEAD:]


def inner(kind: Any) -> Any:
    """A type without its limits and without None."""
    if hasattr(kind, "__metadata__"):
        return inner(kind.__origin__)
    if get_origin(kind) in (Union, UnionType):
        rest = [each for each in get_args(kind) if each is not type(None)]
        return inner(rest[0]) if len(rest) == 1 else (int | str)
    return kind


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def check_body(row: ObjectHead, value: Json) -> None:
    """The fields of the row are those of the object."""
    _check_fields(body_of(type(row)), row, value, type(row).__name__)


def _check_fields(fields: tuple[msgspec.structs.FieldInfo, ...], found: Any, value: Json, at: str) -> None:
    for field in fields:
        held, given, place = getattr(found, field.name), value.get(field.encode_name), f"{at}.{field.name}"
        if given is None:
            assert held == default_of(field), place
        else:
            _check(held, given, place)


def _check(held: Any, given: Any, at: str) -> None:
    if isinstance(held, msgspec.Struct):
        assert isinstance(given, dict), at
        _check_fields(msgspec.structs.fields(type(held)), held, given, at)
    elif isinstance(held, tuple):
        assert len(held) == len(given), at
        for place, (one, other) in enumerate(zip(held, given)):
            _check(one, other, f"{at}[{place}]")
    elif isinstance(held, Mapping):
        assert held == {name: each for name, each in given.items() if each is not None}, at
    else:
        assert (type(held), held) == (type(given), given), at
