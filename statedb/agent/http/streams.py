"""Change streams as lines of JSON, and the streams that are open.

Each line is one object with an ``event``: ``put`` and ``delete`` carry ``revision`` and ``row``; ``commit`` ends a
batch and carries the revision that the batch leads to; ``keepalive`` carries nothing. The first batch is the rows as
they were when the stream was opened.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from ingest.source import AnyTable
from statedb import Change, ChangeBatch, ChangeStream, Database, StreamClosed

from ..errors import Overloaded
from ..keys import key_form

KEEPALIVE_S = 30.0
THREADS = 2
"""Threads that encode large answers. More would only take the interpreter away from the event loop."""
_STREAMS_MAX = 5000
_PIECE_BYTES = 32 * 1024
_SMALL_ROWS = 100
"""A batch of up to so many rows is encoded at once, on the event loop, and shared by the streams that wait for it."""

_encode = msgspec.json.Encoder().encode


class Streams:
    """All change streams that are open, so that they can be ended together. For any thread."""

    def __init__(self, db: Database, keepalive_s: float = KEEPALIVE_S, streams_max: int = _STREAMS_MAX) -> None:
        """``keepalive_s``: after so long without a change a stream sends a keepalive line."""
        self._db = db
        self._keepalive_s = keepalive_s
        self._streams_max = streams_max
        self._lock = threading.Lock()
        self._open: set[ChangeStream[Any, Any]] = set()
        self._closed = False
        self._shared: dict[AnyTable, tuple[tuple[int, int, bool], bytes]] = {}
        self._threads = anyio.CapacityLimiter(THREADS)

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def lines(self, table: AnyTable, key: tuple[str, ...] | None) -> AsyncIterator[bytes]:
        """The lines, in pieces, of the table or of one row, until `close`. Raises BadRequest, Overloaded at once."""
        wanted = None if key is None else key_form(table.indexes["primary"]).parse(key)
        if len(self._open) >= self._streams_max:
            raise Overloaded(f"{self._streams_max} change streams are open already; close one")
        return self._lines(table, wanted)

    def close(self) -> None:
        """End all streams, and those that are opened later."""
        with self._lock:
            self._closed = True
            streams = tuple(self._open)
        for stream in streams:
            stream.close()

    async def _lines(self, table: AnyTable, wanted: Any) -> AsyncIterator[bytes]:
        with self._db.changes(table) as stream:
            with self._lock:
                if self._closed:
                    return
                self._open.add(stream)
            try:
                async for piece in self._follow(stream, table, wanted):
                    yield piece
            except StreamClosed:
                return
            finally:
                with self._lock:
                    self._open.discard(stream)

    async def _follow(self, stream: ChangeStream[Any, Any], table: AnyTable, wanted: Any) -> AsyncIterator[bytes]:
        batch = await anyio.to_thread.run_sync(stream.next, 0, limiter=self._threads)  # all rows: not on the event loop
        before = 0
        while True:
            if batch is None:
                yield b'{"event":"keepalive"}\n'
            elif len(batch) <= _SMALL_ROWS:
                yield self._small(batch, table, wanted, before)
            else:
                pieces = _pieces(batch, table, wanted)
                while piece := await anyio.to_thread.run_sync(next, pieces, b"", limiter=self._threads):
                    yield piece
                del pieces
            before = before if batch is None else batch.snapshot[table].revision
            del batch  # and its snapshot, before waiting for the next one
            batch = await self._next(stream)

    async def _next(self, stream: ChangeStream[Any, Any]) -> ChangeBatch[Any] | None:
        """The next batch; None when there is nothing to send but a keepalive. Raises StreamClosed."""
        try:
            async with asyncio.timeout(self._keepalive_s):
                return await anext(stream)
        except TimeoutError:
            return None
        except StopAsyncIteration:
            raise StreamClosed("the stream was closed") from None

    def _small(self, batch: ChangeBatch[Any], table: AnyTable, wanted: Any, before: int) -> bytes:
        """One batch in one piece. Streams of a whole table mostly wait for the same one: it is encoded once."""
        span = (before, batch.snapshot[table].revision, batch.initialized)
        if wanted is None and before:
            shared = self._shared.get(table)
            if shared is None or shared[0] != span:
                shared = self._shared[table] = (span, b"".join(_pieces(batch, table, wanted)))
            return shared[1]
        return b"".join(_pieces(batch, table, wanted))


def _pieces(batch: ChangeBatch[Any], table: AnyTable, wanted: Any) -> Iterator[bytes]:
    piece = bytearray()
    for change in batch:
        if wanted is None or table.key_of(change.row) == wanted:
            piece += _line(change)
            if len(piece) >= _PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
    piece += _encode(
        {
            "event": "commit",
            "revision": batch.snapshot[table].revision,
            "initialized": batch.initialized,
        }
    )
    yield bytes(piece + b"\n")


def _line(change: Change[Any]) -> bytes:
    event = b"delete" if change.deleted else b"put"
    return b'{"event":"%s","revision":%d,"row":%s}\n' % (event, change.revision, _encode(change.row))
