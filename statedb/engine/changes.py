"""What change streams give: batches of changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from .row_change import Change
from .schema import K, R, Table
from .snapshot import Snapshot


class ChangeBatch(Sequence[Change[R]]):
    """The changes from one state of a table to a later one: each row once, in revision order.

    An empty batch comes first where the table is empty, and later where the table became initialized.
    """

    __slots__ = ("_changes", "initialized", "snapshot")

    def __init__(self, changes: tuple[Change[R], ...], snapshot: Snapshot, *, initialized: bool) -> None:
        """Streams make these."""
        self._changes = changes
        self.snapshot = snapshot
        """The state of the whole database that this batch leads to."""
        self.initialized = initialized
        """Whether the table is initialized in that state."""

    def __repr__(self) -> str:
        """How many changes."""
        return f"<ChangeBatch of {len(self._changes)}>"

    def __len__(self) -> int:
        """How many rows changed."""
        return len(self._changes)

    @overload
    def __getitem__(self, index: int) -> Change[R]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Change[R], ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """One change, or several as a tuple."""
        return self._changes[index]

    def __iter__(self) -> Iterator[Change[R]]:
        """The changes in revision order."""
        return iter(self._changes)


class TablesBatch(Mapping[Any, tuple[Change[Any], ...]]):
    """The changes of several tables from one state of the database to a later one: a consistent cut.

    A mapping from every table of the stream, in its order, to the changes there, of which there may be none.
    """

    __slots__ = ("_changes", "initialized", "snapshot")

    def __init__(self, changes: dict[Any, tuple[Change[Any], ...]], snapshot: Snapshot, *, initialized: bool) -> None:
        """Streams make these."""
        self._changes = changes
        self.snapshot = snapshot
        """The state of the whole database that this batch leads to."""
        self.initialized = initialized
        """Whether all tables of the stream are initialized in that state."""

    def __getitem__(self, table: type[Table[K, R]]) -> tuple[Change[R], ...]:
        """The changes of one table, each row once, in revision order. Raises KeyError for one not followed."""
        return self._changes[table]

    def __iter__(self) -> Iterator[Any]:
        """The tables."""
        return iter(self._changes)

    def __len__(self) -> int:
        """How many tables."""
        return len(self._changes)

    def __repr__(self) -> str:
        """How many changes of which table."""
        return f"<TablesBatch {', '.join([f'{table.name}: {len(each)}' for table, each in self._changes.items()])}>"
