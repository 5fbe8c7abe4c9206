"""The batches that change streams return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from .row_change import Change
from .schema import K, R, Table
from .snapshot import Snapshot


class ChangeBatch(Sequence[Change[R]]):
    """The changes from one state of a table to a later one. Each row appears once, in revision order.

    A batch may be empty: the first one if the table is empty, and a later one if the table has become initialized.
    """

    __slots__ = ("_changes", "initialized", "snapshot")

    def __init__(self, changes: tuple[Change[R], ...], snapshot: Snapshot, *, initialized: bool) -> None:
        """Made by change streams."""
        self._changes = changes
        self.snapshot = snapshot
        """The state of the whole database after this batch."""
        self.initialized = initialized
        """Whether the table is initialized in that state."""

    def __repr__(self) -> str:
        """The number of changes."""
        return f"<ChangeBatch of {len(self._changes)}>"

    def __len__(self) -> int:
        """The number of changed rows."""
        return len(self._changes)

    @overload
    def __getitem__(self, index: int) -> Change[R]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Change[R], ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """One change, or a tuple of changes for a slice."""
        return self._changes[index]

    def __iter__(self) -> Iterator[Change[R]]:
        """The changes in revision order."""
        return iter(self._changes)


class TablesBatch(Mapping[Any, tuple[Change[Any], ...]]):
    """The changes of several tables from one state of the database to a later one, at one instant for all tables.

    A mapping from every table of the stream, in its order, to the changes of that table, which may be none.
    """

    __slots__ = ("_changes", "initialized", "snapshot")

    def __init__(self, changes: dict[Any, tuple[Change[Any], ...]], snapshot: Snapshot, *, initialized: bool) -> None:
        """Made by change streams."""
        self._changes = changes
        self.snapshot = snapshot
        """The state of the whole database after this batch."""
        self.initialized = initialized
        """Whether all tables of the stream are initialized in that state."""

    def __getitem__(self, table: type[Table[K, R]]) -> tuple[Change[R], ...]:
        """The changes of one table, each row once, in revision order. Raises KeyError if it is not followed."""
        return self._changes[table]

    def __iter__(self) -> Iterator[Any]:
        """The tables."""
        return iter(self._changes)

    def __len__(self) -> int:
        """The number of tables."""
        return len(self._changes)

    def __repr__(self) -> str:
        """The number of changes of each table."""
        return f"<TablesBatch {', '.join([f'{table.name}: {len(each)}' for table, each in self._changes.items()])}>"
