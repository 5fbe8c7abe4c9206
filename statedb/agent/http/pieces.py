"""Large answers in pieces. The size of a piece bounds the work per step and the memory per slow reader."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ingest.source import AnyTable

PIECE_BYTES = 32 * 1024
PIECE_S = 0.002
"""How long a piece takes: meanwhile the event loop may wait for the interpreter lock after each system call. 32 KiB of
a dump take 5 to 10 ms.
"""
_PAGE_ROWS = 500


def joined(parts: Iterable[bytes], clock: Callable[[], float] = time.perf_counter) -> Iterator[bytes]:
    """The same bytes in pieces, none empty, made on demand: each of about 32 KiB, or what parts came in 2 ms.

    A larger part is not split.
    """
    piece = bytearray()
    end = clock() + PIECE_S
    for part in parts:
        piece += part
        if piece and (len(piece) >= PIECE_BYTES or clock() >= end):
            yield bytes(piece)
            piece.clear()
            end = clock() + PIECE_S
    if piece:
        yield bytes(piece)


def rows_of(view: Any, table: AnyTable) -> Iterator[Any]:
    """All rows of a view of the table, in key order. They are read in pages of a few hundred rows."""
    page = view.range(limit=_PAGE_ROWS)
    while page:
        yield from page
        page = view.range(table.key_of(page[-1]), limit=_PAGE_ROWS, bounds="()")
