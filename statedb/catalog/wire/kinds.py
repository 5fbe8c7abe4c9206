"""Kubernetes objects as rows with typed fields: one JSON object in, one row out. Pure; knows no kind by name.

The struct that the JSON is decoded into is made from the row type, so each field is declared once.
"""

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from statedb.catalog.objects import ObjectHead

from .crds import read
from .metadata import ObjectMetadata, head

H = TypeVar("H", bound=ObjectHead)

_HEAD = len(ObjectHead.__struct_fields__)


def reader(row: type[H], cluster: str) -> Callable[[object], tuple[H, ...]]:
    """A function that makes rows of this type from objects of a cluster. An object is JSON or plain values.

    A null field is an absent one, and fields that the row does not have are ignored. The function raises WireError,
    which names the field, if a field has another type or the object has no name.
    """
    make: Any = row  # Any: the fields after the head differ between kinds
    wire = _wire_type(row)
    fields = attrgetter("metadata", *row.__struct_fields__[_HEAD:])

    def read_row(value: object) -> tuple[H, ...]:
        metadata, *body = fields(read(value, wire))
        return (make(*head(metadata, cluster), *body),)

    return read_row


@cache
def _wire_type(row: type[ObjectHead]) -> Any:  # Any: a class that is made here
    """The struct of an object's JSON: ``metadata``, and the fields of the row after its head."""
    body = msgspec.structs.fields(row)[_HEAD:]
    given: Any = msgspec.field  # Any: no overload accepts both defaults
    fields = [
        (each.name, each.type, given(default=each.default, default_factory=each.default_factory)) for each in body
    ]
    names = {each.name: each.encode_name for each in body}
    return msgspec.defstruct(f"{row.__name__}Object", [("metadata", ObjectMetadata), *fields], rename=names, gc=False)
