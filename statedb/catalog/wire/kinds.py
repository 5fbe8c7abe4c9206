"""Objects of Kubernetes as rows with typed fields: JSON in, one row out. Pure; knows no kind by name.

A row type says once what its fields are: the struct that the JSON is decoded into is made from it.
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
    """A function that makes rows of this type from objects of one cluster, JSON or plain values.

    A null is an absent field, and fields that the row does not have are passed over. The function raises WireError
    naming the field where a field has another type, or the object no name.
    """
    make: Any = row  # Any: the fields below the head differ from kind to kind
    wire = _wire_type(row)
    fields = attrgetter("metadata", *row.__struct_fields__[_HEAD:])

    def read_row(value: object) -> tuple[H, ...]:
        metadata, *body = fields(read(value, wire))
        return (make(*head(metadata, cluster), *body),)

    return read_row


@cache
def _wire_type(row: type[ObjectHead]) -> Any:  # Any: a class that is made here
    """The struct of an object's JSON: ``metadata``, and the fields that the row has besides its head."""
    body = msgspec.structs.fields(row)[_HEAD:]
    given: Any = msgspec.field  # Any: its overloads do not allow what is passed on unseen
    fields = [
        (each.name, each.type, given(default=each.default, default_factory=each.default_factory)) for each in body
    ]
    names = {each.name: each.encode_name for each in body}
    return msgspec.defstruct(f"{row.__name__}Object", [("metadata", ObjectMetadata), *fields], rename=names, gc=False)
