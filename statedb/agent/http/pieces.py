"""Large answers in pieces. The size of a piece bounds the work per step and the memory per slow reader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ingest.source import AnyTable

PIECE_BYTES = 32 * 1024
_PAGE_ROWS = 500


def joined(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of about 32 KiB, made on demand. A larger part is not split."""
    piece = bytearray()
    for part in parts:
        piece += part
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def rows_of(view: Any, table: AnyTable) -> Iterator[Any]:
    """All rows of a view of the table, in key order. They are read in pages of a few hundred rows."""
    page = view.range(limit=_PAGE_ROWS)
    while page:
        yield from page
        page = view.range(table.key_of(page[-1]), limit=_PAGE_ROWS, bounds="()")
