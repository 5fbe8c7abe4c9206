"""Describes the keys under one prefix of an etcd, and how they become rows. Knows no prefix by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from ..errors import InvalidOptions
from ..source import AnyTable


class Copy(msgspec.Struct, frozen=True):
    """A second table with the raw values of a prefix, whether they can be decoded or not.

    ``row`` makes a row from the part of a key after the prefix, and the value. ``complete`` is a row that is written to
    that table after a complete list. ``feed`` is the name of the feed in the reflector.
    """

    feed: str
    table: AnyTable
    row: Callable[[str, bytes], Any]
    complete: Any


class Kind(msgspec.Struct, frozen=True):
    """One prefix. ``decode`` makes rows from the part of a key after the prefix, and the value. It may raise WireError.

    With ``mixed`` the rows are of several types, and rows of tables that are not among ``tables`` are dropped. ``feed``
    is the name of the feed in the reflector, by default the prefix; one feed may have different prefixes on different
    servers. ``canaries`` are keys whose presence shows that a server has all keys of the prefix. Without ``tables``
    nothing is decoded, and only ``copy`` is filled. Objects are named by their keys.
    """

    prefix: str
    tables: tuple[AnyTable, ...]
    decode: Callable[[str, bytes], tuple[Any, ...]]
    mixed: bool = False
    feed: str = ""
    canaries: tuple[bytes, ...] = ()
    copy: Copy | None = None

    @property
    def feeds(self) -> tuple[str, ...]:
        """The feeds in the reflector that a list of the prefix replaces."""
        of_rows = (self.feed or self.prefix,) if self.tables else ()
        return of_rows if self.copy is None else (*of_rows, self.copy.feed)

    @property
    def fills(self) -> tuple[AnyTable, ...]:
        """All tables that depend on the prefix."""
        return self.tables if self.copy is None else (*self.tables, self.copy.table)


def chosen(kinds: Iterable[Kind], names: tuple[str, ...]) -> tuple[Kind, ...]:
    """The kinds that fill the named tables or are copied, without the tables that are not named."""
    found = []
    for kind in kinds:
        tables = tuple(table for table in kind.tables if table.name in names)
        if tables or kind.copy is not None:
            found.append(msgspec.structs.replace(kind, tables=tables))
    return tuple(found)


def check_names(backend: str, tables: Sequence[AnyTable], names: tuple[str, ...] | None) -> tuple[str, ...]:
    """The names of the tables to fill; None means all. Raises InvalidOptions for one that the backend cannot fill."""
    known = tuple(table.name for table in tables)
    if names is None:
        return known
    for name in names:
        if name not in known:
            raise InvalidOptions(f"tables: {backend} carries no table {name!r}; it carries {', '.join(known)}")
    if not names:
        raise InvalidOptions("tables: name at least one, or leave the option out to fill all")
    return names
