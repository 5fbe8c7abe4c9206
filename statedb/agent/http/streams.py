"""Change streams as JSON lines, and the set of open streams.

Each line is an object with an ``event``. ``put`` and ``delete`` have ``revision`` and ``row``. ``commit`` ends a batch
and has the revision of the table after the batch. ``keepalive`` has no other field. The first batch has the rows at the
time the stream was opened.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import msgspec
from anyio import to_thread

from ingest.source import AnyTable
from statedb import ChangeBatch, ChangeStream, Database, StreamClosed

from ..errors import Overloaded
from ..keys import key_form
from .pieces import joined, rows_of

KEEPALIVE_S = 30.0
ENCODING_THREADS = 1
"""The number of threads that encode large answers. More encode no faster, but take the interpreter from the event loop:
with 1 000 slow clients a scrape took up to 101 ms with two threads, and takes up to 50 ms with one.
"""
_STREAMS_MAX = 5000
_SMALL_ROWS = 100
"""A batch of up to this many rows is encoded on the event loop, once for all streams that wait for it."""

_encode = msgspec.json.Encoder().encode


class Streams:
    """All open change streams, so that they can be closed together. May be used from any thread."""

    def __init__(self, db: Database, keepalive_s: float = KEEPALIVE_S, streams_max: int = _STREAMS_MAX) -> None:
        """``keepalive_s``: the time without a change after which a stream sends a keepalive line."""
        self._db = db
        self._keepalive_s = keepalive_s
        self._streams_max = streams_max
        self._lock = threading.Lock()
        self._open: set[ChangeStream[Any, Any]] = set()
        self._closed = False
        self._shared: dict[AnyTable, tuple[tuple[int, int, bool], bytes]] = {}
        self._threads = anyio.CapacityLimiter(ENCODING_THREADS)

    def __len__(self) -> int:
        """The number of open streams."""
        return len(self._open)

    def lines(self, table: AnyTable, key: tuple[str, ...] | None) -> AsyncIterator[bytes]:
        """The lines of a table or of one row, in pieces, until `close`. Raises BadRequest or Overloaded at once."""
        wanted = None if key is None else key_form(table.indexes["primary"]).parse(key)
        if len(self._open) >= self._streams_max:
            raise Overloaded(f"{self._streams_max} change streams are open already; close one")
        return self._lines(table, wanted)

    def close(self) -> None:
        """Close all streams, also those that are opened later."""
        with self._lock:
            self._closed = True
            streams = tuple(self._open)
        for stream in streams:
            stream.close()

    async def _lines(self, table: AnyTable, wanted: Any) -> AsyncIterator[bytes]:
        snapshot = self._db.snapshot()
        with self._db.changes(table, since=snapshot) as stream:
            with self._lock:
                if self._closed:
                    return
                self._open.add(stream)
            try:
                pieces = joined(_first_lines(snapshot[table], table, wanted))
                revision = snapshot[table].revision
                del snapshot  # the pieces refer to it until the last one
                async for piece in self._on_thread(pieces):
                    yield piece
                del pieces
                async for piece in self._follow(stream, table, wanted, revision):
                    yield piece
            except StreamClosed:
                return
            finally:
                with self._lock:
                    self._open.discard(stream)

    async def _follow(
        self, stream: ChangeStream[Any, Any], table: AnyTable, wanted: Any, before: int
    ) -> AsyncIterator[bytes]:
        """The changes after revision ``before``."""
        while True:
            batch = await self._next(stream)
            if batch is None:
                yield b'{"event":"keepalive"}\n'
                continue
            if len(batch) <= _SMALL_ROWS:
                yield self._encode_small(batch, table, wanted, before)
            else:
                async for piece in self._on_thread(joined(_lines_of(batch, table, wanted))):
                    yield piece
            before = batch.snapshot[table].revision
            del batch  # and its snapshot, before waiting for the next one

    async def _on_thread(self, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces, each made on another thread. Ends when the streams are closed."""
        while not self._closed and (piece := await to_thread.run_sync(next, pieces, b"", limiter=self._threads)):
            yield piece

    async def _next(self, stream: ChangeStream[Any, Any]) -> ChangeBatch[Any] | None:
        """The next batch. None if it is time for a keepalive. Raises StreamClosed."""
        try:
            async with asyncio.timeout(self._keepalive_s):
                return await anext(stream)
        except TimeoutError:
            return None
        except StopAsyncIteration:
            raise StreamClosed("the stream was closed") from None

    def _encode_small(self, batch: ChangeBatch[Any], table: AnyTable, wanted: Any, before: int) -> bytes:
        """A small batch in one piece. Most streams of a whole table wait for the same batch, so it is encoded once."""
        if wanted is not None:
            return b"".join(_lines_of(batch, table, wanted))
        span = (before, batch.snapshot[table].revision, batch.initialized)
        shared = self._shared.get(table)
        if shared is None or shared[0] != span:
            shared = self._shared[table] = (span, b"".join(_lines_of(batch, table, None)))
        return shared[1]


def _first_lines(view: Any, table: AnyTable, wanted: Any) -> Iterator[bytes]:
    """The current rows of a view of the table, and the end of this first batch."""
    found = None if wanted is None else view.entry(wanted)
    if found is not None:
        yield _line(b"put", found.revision, found.row)
    elif wanted is None:
        for row in rows_of(view, table):
            yield _line(b"put", view.entry(table.key_of(row)).revision, row)
    yield _commit_line(view.revision, initialized=view.initialized)


def _lines_of(batch: ChangeBatch[Any], table: AnyTable, wanted: Any) -> Iterator[bytes]:
    for change in batch:
        if wanted is None or table.key_of(change.row) == wanted:
            yield _line(b"delete" if change.deleted else b"put", change.revision, change.row)
    yield _commit_line(batch.snapshot[table].revision, initialized=batch.initialized)


def _line(event: bytes, revision: int, row: Any) -> bytes:
    return b'{"event":"%s","revision":%d,"row":%s}\n' % (event, revision, _encode(row))


def _commit_line(revision: int, *, initialized: bool) -> bytes:
    return _encode({"event": "commit", "revision": revision, "initialized": initialized}) + b"\n"
