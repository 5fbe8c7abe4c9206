"""The keys of an index as texts, found by how they begin: what a shell completes. Knows no HTTP."""

from __future__ import annotations

from bisect import bisect_left
from itertools import islice
from typing import Any

import msgspec

from statedb import Database, PrefixIndex

from ..errors import BadRequest
from ..keys import KeyForm, key_form, to_texts
from .query import SEARCHED_MAX, index_named, table_named

LIMIT = 50


def index_keys(db: Database, table: str, index: str | None, begins: str, limit: int = LIMIT) -> list[list[str]]:
    """Keys in their order, each as texts, whose text with slashes between the fields begins with ``begins``.

    Finds them by bisection if the fields before the last one are given in full. Looks at 20 000 keys at most. Raises
    NotFound.
    """
    chosen = index_named(table_named(db, table), index)
    form, keys = key_form(chosen), tuple(db.snapshot()[chosen].keys())
    *whole, part = begins.split("/", len(form.names) - 1)
    first = 0 if isinstance(chosen, PrefixIndex) else bisect_left(keys, _lowest(form, whole, part), key=_fields)
    found: list[list[str]] = []
    for key in islice(keys, first, first + SEARCHED_MAX):
        texts = to_texts(key)
        if len(found) == limit or texts[: len(whole)] != whole:
            break
        if texts[len(whole)].startswith(part):
            found.append(texts)
    return found


def _lowest(form: KeyForm, whole: list[str], part: str) -> tuple[Any, ...]:
    """The fields of the lowest key that may begin so: fewer than a key has, none where they are of another type."""
    try:
        fields = form.leading(whole)
    except BadRequest:
        return ()
    return (*fields, part) if form.types[len(whole)] is str else fields


def _fields(key: Any) -> tuple[Any, ...]:
    if isinstance(key, msgspec.Struct):
        return msgspec.structs.astuple(key)
    return key if isinstance(key, tuple) else (key,)
