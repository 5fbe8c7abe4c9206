"""The events of a source. Knows no tables: rows are whatever the decoder made from an object.

An *object* is one thing at the source: an etcd key, a CRD. Its name is unique within the source, and it has zero, one
or many rows. A *feed* is a part of the source that is listed as a whole: an etcd prefix, a directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec


class Upsert(msgspec.Struct, frozen=True, gc=False):
    """The object exists, and these are all of its rows, in all tables of its feed.

    ``rows`` may be `PartlyRead` (Any: a feed may fill several tables). Faults of the object are reported in
    ``rejected`` under ``table``, by default the first table of the feed.
    """

    feed: str
    object: str
    rows: tuple[Any, ...]
    table: str = ""


class Bad(msgspec.Struct, frozen=True, gc=False):
    """The object exists but cannot be decoded. It keeps the rows of its last good value."""

    feed: str
    object: str
    error: str
    excerpt: str = ""
    table: str = ""
    """The table that its rows would be in, by default the first table of the feed."""


class Delete(msgspec.Struct, frozen=True, gc=False):
    """The object is gone. With a ``doubt``, the server is not believed, and the delete is withheld."""

    feed: str
    object: str
    doubt: str = ""


class Listed(msgspec.Struct, frozen=True):
    """All objects of a feed, in the order of the source. Objects that are not in the list are gone.

    With ``full=False`` they may still exist, for instance because the list came from another server. Their deletes are
    withheld for the reason ``doubt``, except for the objects in ``gone``.
    """

    feed: str
    objects: Sequence[Upsert | Bad]
    full: bool = True
    doubt: str = ""
    gone: frozenset[str] = frozenset()


Event: TypeAlias = Listed | Upsert | Bad | Delete
"""All kinds of events."""

_EXCERPT_BYTES = 256


def excerpt(value: bytes | str) -> str:
    r"""The beginning of a value, to show to an operator: at most 256 bytes of UTF-8, with unprintable ones escaped.

    >>> excerpt(b'{"IP":\xff\n')
    '{"IP":\\xff\\n'
    """
    start = value[:_EXCERPT_BYTES]
    text = start if isinstance(start, str) else start.decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return shown.encode("utf-8", "backslashreplace")[:_EXCERPT_BYTES].decode("utf-8", "ignore")
