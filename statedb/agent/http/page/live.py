"""The stream that an open page follows: samples, the state of the consumers, and every change of every table.

A browser opens at most six connections to a server, over all its windows, so a page must use only one stream. Each line
is a JSON object with an ``event``. ``hello`` is the first. ``sample`` comes once a second. ``put`` and ``delete`` have
the table and the key, as texts. ``many`` replaces the changes of a table if there are too many to read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio.to_thread
import msgspec

from ingest.source import AnyTable
from statedb import Change, Database, TablesBatch, TablesStream, __version__

from ...errors import Overloaded
from ...keys import to_texts
from .history import History

PAGES_MAX = 64
_PACE_S = 0.25
"""How long changes are collected. A person cannot see more, and it saves work in the agent and the browser."""
_CHANGES_MAX = 1000

_encode = msgspec.json.Encoder().encode


class Live:
    """The streams of all open pages. Used on one event loop; `close` may be called from any thread."""

    def __init__(self, db: Database, history: History, status: Callable[[], dict[str, Any]], cluster: str = "") -> None:
        """``status`` returns what a sample has besides the figures. It is called once a second while a page is open."""
        self._db = db
        self._history = history
        self._status = status
        self._cluster = cluster
        self._started = time.time()
        self._open = 0
        self._closed = False
        self._line: tuple[int, bytes] = (0, b"")

    def __len__(self) -> int:
        """The number of open pages."""
        return self._open

    def close(self) -> None:
        """End all streams within a quarter of a second."""
        self._closed = True

    def lines(self) -> AsyncIterator[bytes]:
        """The lines of one page, in pieces. They end when tables are added: the page then requests them again.

        Raises Overloaded at once if too many pages are open.
        """
        if self._open >= PAGES_MAX:
            raise Overloaded(f"{PAGES_MAX} pages are open already; close one")
        return self._lines()

    async def _lines(self) -> AsyncIterator[bytes]:
        tables = self._db.tables
        self._open += 1
        try:
            with self._db.changes(*tables, since=self._db.snapshot()) as stream:
                yield self._first_message()
                async for piece in self._follow(stream, tables):
                    yield piece
        finally:
            self._open -= 1

    async def _follow(self, stream: TablesStream, tables: tuple[AnyTable, ...]) -> AsyncIterator[bytes]:
        seen = 0
        states: tuple[object, ...] = ()
        while not self._closed and self._db.tables == tables:
            if self._history.latest[0] != seen:
                seen, line = self._sample()
                yield line
            snapshot = self._db.snapshot()
            newest = tuple([(view.revision, view.initialized) for view in map(snapshot.__getitem__, tables)])
            del snapshot
            if newest != states:  # checking revisions is cheaper than a thread
                states = newest
                pieces = await anyio.to_thread.run_sync(_changes, stream)
                if pieces:
                    yield pieces
            await asyncio.sleep(_PACE_S)

    def _first_message(self) -> bytes:
        hello = {"event": "hello", "version": __version__, "cluster": self._cluster, "started": self._started}
        return _encode({**hello, "history": self._history.kept()}) + b"\n"

    def _sample(self) -> tuple[int, bytes]:
        """The newest sample as a line, encoded once for all pages."""
        number, sample = self._history.latest
        if self._line[0] != number:
            line = b'{"event":"sample","status":%s,%s\n' % (_encode(self._status()), sample[1:])
            self._line = (number, line)
        return self._line


def _changes(stream: TablesStream) -> bytes:
    batch = stream.next(0)
    return b"" if batch is None else b"".join(_batch_lines(batch))


def _batch_lines(batch: TablesBatch) -> Iterator[bytes]:
    for table, changes in batch.items():
        name = _encode(table.name)
        if len(changes) > _CHANGES_MAX:
            yield b'{"event":"many","table":%s,"count":%d}\n' % (name, len(changes))
        else:
            yield from [_change_line(table, name, change) for change in changes]


def _change_line(table: AnyTable, name: bytes, change: Change[Any]) -> bytes:
    event = b"delete" if change.deleted else b"put"
    key = _encode(to_texts(table.key_of(change.row)))
    row = _encode(change.row)
    return b'{"event":"%s","table":%s,"revision":%d,"key":%s,"row":%s}\n' % (event, name, change.revision, key, row)
