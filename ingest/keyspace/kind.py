"""What stands under one prefix of an etcd, and how it becomes rows. Knows no prefix by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from ..errors import InvalidOptions
from ..source import AnyTable


class Copy(msgspec.Struct, frozen=True):
    """The values of a prefix as they are, in one more table, whether they can be decoded or not.

    ``row`` makes the one row of what follows the prefix in a key, and the value. ``complete`` is a row of that table
    that is there once a list was full. ``feed`` is what the reflector calls it.
    """

    feed: str
    table: AnyTable
    row: Callable[[str, bytes], Any]
    complete: Any


class Kind(msgspec.Struct, frozen=True):
    """One prefix. ``decode`` makes rows of what follows the prefix in a key, and the value; or raises WireError.

    ``mixed``: the rows are of several types. Rows of tables that are not among ``tables`` are left out. ``feed`` is
    what the reflector calls it, the prefix if not given: the same feed may stand under another prefix elsewhere.
    ``canaries`` are the keys that tell that a server holds all of it. Without ``tables`` nothing is decoded: there is
    only the ``copy``.
    """

    prefix: str
    tables: tuple[AnyTable, ...]
    decode: Callable[[str, bytes], tuple[Any, ...]]
    mixed: bool = False
    feed: str = ""
    canaries: tuple[bytes, ...] = ()
    copy: Copy | None = None

    @property
    def fills(self) -> tuple[AnyTable, ...]:
        """All tables that depend on the prefix."""
        return self.tables if self.copy is None else (*self.tables, self.copy.table)


def chosen(kinds: Iterable[Kind], names: tuple[str, ...]) -> tuple[Kind, ...]:
    """The kinds that fill the tables of these names, and no others; and those that are copied."""
    found = []
    for kind in kinds:
        tables = tuple(table for table in kind.tables if table.name in names)
        if tables or kind.copy is not None:
            found.append(msgspec.structs.replace(kind, tables=tables))
    return tuple(found)


def check_names(backend: str, tables: Sequence[AnyTable], names: tuple[str, ...] | None) -> tuple[str, ...]:
    """The names of the tables to fill, all without names. Raises InvalidOptions for one that the backend lacks."""
    known = tuple(table.name for table in tables)
    if names is None:
        return known
    for name in names:
        if name not in known:
            raise InvalidOptions(f"tables: {backend} carries no table {name!r}; it carries {', '.join(known)}")
    if not names:
        raise InvalidOptions("tables: name at least one, or leave the option out to fill all")
    return names
