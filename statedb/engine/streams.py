"""Change streams: the changes of whole transactions, merged, at the reader's own pace. Knows commits, pins and watches.

A stream keeps the Pin that it has read up to. To read, it takes a snapshot, merges the commits from its own pin to
exactly the pin of that snapshot, and keeps the latter. Nothing is recorded for it: the chain of commits is its log.
Compaction bounds that log by the number of changed rows, however slow the reader is.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import get_ident
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from .changes import ChangeBatch, TablesBatch
from .concern import stream_concern
from .errors import StreamClosed
from .head import Head
from .history import Pin, fold
from .row_change import Change, changes_of, insertions_of
from .schema import K, R
from .snapshot import Snapshot
from .source import Source
from .store import TableStore
from .watch import Watch
from .watch_set import WatchSet

B = TypeVar("B")
_READER = "reader"


class _Stream(Generic[B]):
    """What streams of one table and of several share: reading at the reader's own pace, waiting, and closing.

    Iterate it in a thread (``for``), in a task (``async for``), or take batches with ``next``. Several changes of a row
    between two batches count once. A row that was inserted and deleted in between does not appear. One reader at a
    time: a second one gets RuntimeError. ``close`` may be called from any thread and ends the iteration. A closed
    stream keeps no history.
    """

    __slots__ = ("__weakref__", "_closed", "_head", "_pins", "_reading", "_stores", "_waiting")

    def __init__(self, head: Head, stores: tuple[TableStore, ...], since: Snapshot | None) -> None:
        """Made by ``Database.changes``."""
        self._head = head
        self._stores = stores
        self._pins: tuple[Pin, ...] | None = None if since is None else tuple(map(since._pin_of, stores))
        self._waiting: tuple[Watch, ...] = ()
        self._reading: dict[str, tuple[object, ...]] = {}
        """The thread of the reader; for a task also an object that tells it from others of that thread."""
        self._closed = False

    def __repr__(self) -> str:
        """Its tables, and whether it is open."""
        return f"<{type(self).__name__} of {self._names()}, {'closed' if self._closed else 'open'}>"

    def __enter__(self) -> Self:
        """The stream itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Self:
        """The stream itself, for ``async with``."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Close the stream. A reader that waits for the next batch stops waiting. Idempotent."""
        self._closed = True
        self._pins = None
        for watch in self._waiting:
            watch.trip()

    def next(self, timeout: float | None = None) -> B | None:
        """Wait for the next batch and return it. None if ``timeout`` (seconds) passes first.

        Raises StreamClosed if the stream is closed, or is closed meanwhile. Raises RuntimeError if another thread or
        task is reading it.
        """
        deadline = None if timeout is None else monotonic() + timeout
        reader = (get_ident(),)
        try:
            self._begin_reading(reader)
            while True:
                batch = self._take()
                if batch is not None:
                    return batch
                watches = self._watch()
                left = None if deadline is None else deadline - monotonic()
                try:
                    if not (watches[0].wait(left) if len(watches) == 1 else WatchSet(*watches).wait(left)):
                        return None
                finally:
                    self._waiting = ()
        finally:
            try:  # nothing is called, so no exception keeps the reader
                if self._reading[_READER] == reader:
                    del self._reading[_READER]
            except KeyError:
                pass

    def _begin_reading(self, reader: tuple[object, ...]) -> None:
        """Admit one reader: two would get the same batch, or wait on each other's watches.

        ``dict.setdefault`` is one atomic step that also records the reader, so an interrupt after it loses nothing. A
        thread that was interrupted before it could end its read finds itself recorded, and reads on.
        """
        if self._reading.setdefault(_READER, reader) != reader:
            raise RuntimeError(
                f"another thread or task is reading this change stream of {self._names()}; "
                "open a stream for each reader with db.changes(...)"
            )

    def _after_fork(self) -> None:
        """In a child process: the other threads of the parent, and all tasks, do not read any more."""
        reader = self._reading.get(_READER)
        if reader is not None and reader != (get_ident(),):
            self._reading.clear()
            self._waiting = ()

    def __iter__(self) -> Iterator[B]:
        """The batches, until the stream is closed."""
        while True:
            try:
                batch = self.next()
            except StreamClosed:
                return
            if batch is not None:
                yield batch
            del batch  # release its snapshot before waiting for the next batch

    def __aiter__(self) -> Self:
        """The batches, for ``async for``."""
        return self

    async def __anext__(self) -> B:
        """The next batch; the iteration ends when the stream is closed."""
        reader = (get_ident(), object())
        try:
            self._begin_reading(reader)
            while True:
                batch = self._take()
                if batch is not None:
                    return batch
                watches = self._watch()
                try:
                    if len(watches) == 1:
                        await watches[0]
                    else:
                        await WatchSet(*watches)
                finally:
                    self._waiting = ()
        except StreamClosed:
            raise StopAsyncIteration from None
        finally:
            try:  # nothing is called, so no exception keeps the reader
                if self._reading[_READER] == reader:
                    del self._reading[_READER]
            except KeyError:
                pass

    def _watch(self) -> tuple[Watch, ...]:
        """Watches, one of which trips when there may be a batch, or when the stream is closed."""
        pins = self._pins
        if pins is not None:
            sources = map(Source, self._stores, pins)
            self._waiting = tuple([source.watch(stream_concern()) for source in sources])
        if self._closed or not self._waiting:
            raise self._closed_error()
        return self._waiting

    def _names(self) -> str:
        return ", ".join([store.name for store in self._stores])

    def _closed_error(self) -> StreamClosed:
        tables = "table" if len(self._stores) == 1 else "tables"
        return StreamClosed(
            f"the change stream of {tables} {self._names()!r} is closed; open a new one with db.changes(...)"
        )

    def _take(self) -> B | None:
        """The batch up to now, or None if nothing has changed. Advances the stream to that state."""
        if self._closed:
            raise self._closed_error()
        snapshot = self._head.snapshot()
        pins = tuple(map(snapshot._pin_of, self._stores))
        before = self._pins
        if before == pins:
            return None
        batch = self._batch(before, pins, snapshot)
        self._pins = pins
        if self._closed:
            self._pins = None
            raise self._closed_error()
        return batch

    def _batch(self, before: tuple[Pin, ...] | None, pins: tuple[Pin, ...], snapshot: Snapshot) -> B | None:
        """The batch between two states, or None if it would be empty."""
        raise NotImplementedError


class ChangeStream(_Stream[ChangeBatch[R]], Generic[K, R]):
    """Follows one table: first its current rows, then its changes, batch by batch.

    With ``since`` a snapshot, it begins with what changed after that, deletions included. Iterate it in a thread
    (``for``), in a task (``async for``), or take batches with ``next``. Several changes of a row between two batches
    count once. A row that was inserted and deleted in between does not appear. One reader at a time. ``close`` may be
    called from any thread and ends the iteration. A closed stream keeps no history.
    """

    __slots__ = ()

    def _batch(
        self, before: tuple[Pin, ...] | None, pins: tuple[Pin, ...], snapshot: Snapshot
    ) -> ChangeBatch[R] | None:
        (pin,) = pins
        initialized = not pin.commit.pending
        if before is None:
            return ChangeBatch(_all_rows(self._stores[0], pin), snapshot, initialized=initialized)
        changes = changes_of(*fold(before[0].commit, pin.commit))
        if not changes and not (initialized and before[0].commit.pending):
            return None
        return ChangeBatch(changes, snapshot, initialized=initialized)


class TablesStream(_Stream[TablesBatch]):
    """Follows several tables as one: every batch has the changes of each table, up to one common instant.

    First come the current rows, or what changed ``since`` a snapshot, and then the changes. Otherwise as
    `ChangeStream`.
    """

    __slots__ = ()

    def _batch(self, before: tuple[Pin, ...] | None, pins: tuple[Pin, ...], snapshot: Snapshot) -> TablesBatch | None:
        stores = self._stores
        initialized = not any(pin.commit.pending for pin in pins)
        if before is None:
            changes = {store.table: _all_rows(store, pin) for store, pin in zip(stores, pins)}
            return TablesBatch(changes, snapshot, initialized=initialized)
        changes = {
            store.table: () if old is new else changes_of(*fold(old.commit, new.commit))
            for store, old, new in zip(stores, before, pins)
        }
        pending_before = any(pin.commit.pending for pin in before)
        if not any(changes.values()) and not (initialized and pending_before):
            return None
        return TablesBatch(changes, snapshot, initialized=initialized)


def _all_rows(store: TableStore, pin: Pin) -> tuple[Change[Any], ...]:
    return insertions_of(*Source(store, pin).with_revisions())
