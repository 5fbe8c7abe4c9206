"""What a source says about its objects. Knows no tables: rows are whatever the decoder made of an object.

An *object* is one thing at the source: an etcd key, a CRD. It has a name that no other object of the source has, and
gives zero, one or many rows. A *feed* is a part of the source that is listed as a whole: an etcd prefix, a directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec


class Upsert(msgspec.Struct, frozen=True, gc=False):
    """The object is there, and these are its rows: all of them, of every table of its feed.

    ``rows`` may be `PartlyRead` (Any: a feed may fill several tables). ``table`` is the one that the faults are told of
    in ``rejected``; the feed's first where it is not given.
    """

    feed: str
    object: str
    rows: tuple[Any, ...]
    table: str = ""


class Bad(msgspec.Struct, frozen=True, gc=False):
    """The object is there, but it cannot be read: it keeps the rows of its last good value."""

    feed: str
    object: str
    error: str
    excerpt: str = ""
    table: str = ""
    """The table that would hold its rows; the feed's first where it is not given."""


class Delete(msgspec.Struct, frozen=True, gc=False):
    """The object is gone; or, with a ``doubt``, the server says so and is not believed: the delete is withheld."""

    feed: str
    object: str
    doubt: str = ""


class Listed(msgspec.Struct, frozen=True):
    """All objects of a feed, in the source's order. What is not among them is gone.

    ``full`` False: what is not among them may be there nevertheless (the server behind the list may not be the one that
    knew it). Those deletes are withheld, for the reason ``doubt``, except for the objects in ``gone``.
    """

    feed: str
    objects: Sequence[Upsert | Bad]
    full: bool = True
    doubt: str = ""
    gone: frozenset[str] = frozenset()


Event: TypeAlias = Listed | Upsert | Bad | Delete
"""All that a source can say; closed."""

_EXCERPT_BYTES = 256


def excerpt(value: bytes | str) -> str:
    r"""The beginning of a value for an operator to see: at most 256 bytes of UTF-8, unprintable ones escaped.

    >>> excerpt(b'{"IP":\xff\n')
    '{"IP":\\xff\\n'
    """
    start = value[:_EXCERPT_BYTES]
    text = start if isinstance(start, str) else start.decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return shown.encode("utf-8", "backslashreplace")[:_EXCERPT_BYTES].decode("utf-8", "ignore")
