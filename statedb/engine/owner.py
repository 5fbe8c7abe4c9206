"""Owners: the exclusive right to write tables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

from .snapshot import AnyTable
from .transaction import WriteTransaction


class Owner:
    """The only writer of some tables, such as a source or a derivation. Everybody may still read and watch them.

    Made by ``Database.own``. Write with ``owner.write()``: ``db.write`` of an owned table raises TableOwned, which
    names the owner. ``release``, or the end of a ``with`` block, gives the tables back. Garbage collection of the owner
    does not.
    """

    __slots__ = ("_release", "_released", "_write", "_write_async", "name", "tables")

    def __init__(self, name: str, tables: tuple[AnyTable, ...], ways: tuple[Callable[..., Any], ...]) -> None:
        """Made by ``Database.own``."""
        self.name = name
        """The name of the owner, for messages."""
        self.tables = tables
        """The tables that it owns, or owned before ``release``."""
        self._released = False
        self._write, self._write_async, self._release = ways

    def __repr__(self) -> str:
        """Its name and tables."""
        return f"<Owner {self.name} of {', '.join([table.name for table in self.tables])}>"

    def write(self, *tables: AnyTable, timeout: float | None = None) -> WriteTransaction:
        """Open a transaction on these tables, or on all that it owns. Other tables may be named as well."""
        txn: WriteTransaction = self._write(*(tables or self.tables), owner=self, timeout=timeout)
        return txn

    def write_async(
        self, *tables: AnyTable, timeout: float | None = None
    ) -> AbstractAsyncContextManager[WriteTransaction]:
        """The same for a task: ``async with owner.write_async() as txn``."""
        opening: AbstractAsyncContextManager[WriteTransaction] = self._write_async(
            *(tables or self.tables), owner=self, timeout=timeout
        )
        return opening

    def release(self) -> None:
        """Give up the tables, so that others may write them again. Idempotent."""
        self._released = True
        self._release(self)

    def __enter__(self) -> Self:
        """The owner itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release the tables."""
        self.release()
