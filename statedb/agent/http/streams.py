"""Change streams as lines of JSON, and who has one open.

Each line is one object with an ``event``: ``put`` and ``delete`` carry ``revision`` and ``row``; ``commit`` ends what
belongs together and says up to which revision; ``keepalive`` says nothing. The first commit ends the rows as they were
when the stream began.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from statedb import Change, ChangeBatch, ChangeStream, Database, StreamClosed

from ..keys import key_form
from .query import AnyTable

KEEPALIVE_S = 30.0
_LOOK_S = 0.5
_PIECE_BYTES = 32 * 1024

_encode = msgspec.json.Encoder().encode


class Streams:
    """All change streams that are open, so that they can be ended together. For any thread."""

    def __init__(self, db: Database, keepalive_s: float = KEEPALIVE_S) -> None:
        """``keepalive_s``: after so much silence a line says that all is well."""
        self._db = db
        self._keepalive_s = keepalive_s
        self._lock = threading.Lock()
        self._open: set[ChangeStream[Any, Any]] = set()
        self._closed = False

    def lines(self, table: AnyTable, key: tuple[str, ...] | None) -> Iterator[bytes]:
        """The lines in pieces, until `close`, of the whole table or one row. Raises BadRequest, before anything else.

        An empty piece comes at least twice a second, so that the caller can see whether its reader is still there.
        """
        wanted = None if key is None else key_form(table.indexes["primary"]).parse(key)
        return self._lines(table, wanted)

    def close(self) -> None:
        """End all, and those that begin later."""
        with self._lock:
            self._closed = True
            streams = tuple(self._open)
        for stream in streams:
            stream.close()

    def _lines(self, table: AnyTable, wanted: Any) -> Iterator[bytes]:
        stream = self._db.changes(table)
        with stream:
            with self._lock:
                if self._closed:
                    return
                self._open.add(stream)
            try:
                yield from self._follow(stream, table, wanted)
            except StreamClosed:
                return
            finally:
                with self._lock:
                    self._open.discard(stream)

    def _follow(self, stream: ChangeStream[Any, Any], table: AnyTable, wanted: Any) -> Iterator[bytes]:
        said = time.monotonic()
        while True:
            batch = stream.next(timeout=_LOOK_S)
            if batch is not None:
                yield from _pieces(batch, table, wanted)
                said = time.monotonic()
            elif time.monotonic() - said >= self._keepalive_s:
                yield b'{"event":"keepalive"}\n'
                said = time.monotonic()
            else:
                yield b""
            del batch  # and its snapshot, before waiting for the next one


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
