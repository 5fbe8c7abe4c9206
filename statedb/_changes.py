"""Change streams: whole transactions, folded, at the reader's own pace. Know commits, pins and watches.

A stream keeps the Pin it has consumed up to. It first takes a snapshot, then folds the table from its own pin to
exactly that snapshot's, and stays there. Nothing is recorded for it meanwhile: the commit chain is its log, and
compaction bounds that by the rows changed, however slow the reader is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, overload

from ._errors import StreamClosed
from ._history import Pin, State, fold
from ._read import Source
from ._schema import K, R
from ._store import TableStore
from ._watch import Watch, table_concern

if TYPE_CHECKING:
    from ._database import Database, Snapshot


class Change(NamedTuple, Generic[R]):
    """One row at its newest state: inserted or replaced, or deleted; then it is the row that was deleted."""

    row: R
    revision: int
    deleted: bool


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


class ChangeStream(Generic[K, R]):
    """Follows one table: first its rows as they are, then what changes, one batch after another.

    Iterate it in a thread (``for``), in a task (``async for``), or take batches with ``next``. Changes of a row
    between two batches count once; a row that came and went in between does not appear. One reader at a time.
    ``close`` may be called from any thread and ends the iteration; a closed stream holds nothing back.
    """

    __slots__ = ("__weakref__", "_closed", "_database", "_pin", "_store", "_waiting")

    def __init__(self, database: Database, store: TableStore) -> None:
        """``Database.changes`` makes these."""
        self._database = database
        self._store = store
        self._pin: Pin | None = None
        self._waiting: Watch | None = None
        self._closed = False

    def __repr__(self) -> str:
        """Which table, and whether it is open."""
        return f"<ChangeStream of {self._store.name}, {'closed' if self._closed else 'open'}>"

    def __enter__(self) -> Self:
        """The stream itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End the stream; whoever waits for its next batch goes on. Idempotent."""
        self._closed = True
        self._pin = None
        waiting = self._waiting
        if waiting is not None:
            waiting.trip()

    def next(self, timeout: float | None = None) -> ChangeBatch[R] | None:
        """The next batch, waiting for it; None when ``timeout`` (seconds) is over first.

        Raises StreamClosed where the stream is closed, or is closed meanwhile.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            batch = self._take()
            if batch is not None:
                return batch
            watch = self._watch()
            try:
                if not watch.wait(None if deadline is None else deadline - monotonic()):
                    return None
            finally:
                self._waiting = None

    def __iter__(self) -> Iterator[ChangeBatch[R]]:
        """The batches, for ever, until the stream is closed."""
        while True:
            try:
                batch = self.next()
            except StreamClosed:
                return
            if batch is not None:
                yield batch
            del batch  # and its snapshot, before waiting for the next one

    def __aiter__(self) -> Self:
        """The batches, for ``async for``."""
        return self

    async def __anext__(self) -> ChangeBatch[R]:
        """The next batch; the iteration ends when the stream is closed."""
        try:
            while True:
                batch = self._take()
                if batch is not None:
                    return batch
                try:
                    await self._watch()
                finally:
                    self._waiting = None
        except StreamClosed:
            raise StopAsyncIteration from None

    def _watch(self) -> Watch:
        """A watch that trips when there may be a batch, or when the stream is closed."""
        pin = self._pin
        if pin is not None:
            self._waiting = Source(self._store, pin).watch(table_concern())
        if self._closed or self._waiting is None:
            raise self._closed_error()
        return self._waiting

    def _closed_error(self) -> StreamClosed:
        return StreamClosed(
            f"the change stream of table {self._store.name!r} is closed; open a new one with db.changes(...)"
        )

    def _take(self) -> ChangeBatch[R] | None:
        """The batch up to this moment; None where there is nothing to tell. Moves on to that state."""
        if self._closed:
            raise self._closed_error()
        snapshot = self._database.snapshot()
        pin = snapshot._pin_of(self._store)
        before = self._pin
        if before is pin:
            return None
        batch = self._batch(before, pin, snapshot)
        self._pin = pin
        if self._closed:
            self._pin = None
            raise self._closed_error()
        return batch

    def _batch(self, before: Pin | None, pin: Pin, snapshot: Snapshot) -> ChangeBatch[R] | None:
        initialized = not pin.commit.pending
        if before is None:
            entries = Source(self._store, pin).since(0)
            first = tuple([Change(entry.row, entry.revision, False) for entry in entries])
            return ChangeBatch(first, snapshot, initialized=initialized)
        states = fold(before.commit, pin.commit)
        if not states and not (initialized and before.commit.pending):
            return None
        return ChangeBatch(tuple(map(_change, states)), snapshot, initialized=initialized)


def _change(state: State) -> Change[Any]:
    return Change(state[0], state[1], state[2])
