"""The names of a row's fields, for every supported kind of class. Knows nothing of tables."""

from __future__ import annotations

import dataclasses
from typing import Any


def fields_of(kind: Any) -> list[str] | None:
    """The field names of a row's class. None for a plain value."""
    for names in ("__struct_fields__", "_fields"):
        if hasattr(kind, names):
            return list(getattr(kind, names))
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if hasattr(kind, "__attrs_attrs__"):
        return [attribute.name for attribute in kind.__attrs_attrs__]
    return None
