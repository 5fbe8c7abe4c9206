"""Large answers are made and sent in pieces: what a thread computes at once, and what a slow reader costs at most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ingest.source import AnyTable

PIECE_BYTES = 32 * 1024
_PAGE_ROWS = 500


def joined(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of about 32 KiB; a part that is larger stays whole. Made as they are asked for."""
    piece = bytearray()
    for part in parts:
        piece += part
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def rows_of(view: Any, table: AnyTable) -> Iterator[Any]:
    """All rows of a view of the table, in key order. A few hundred are looked up at once: none holds a list of all."""
    page = view.range(limit=_PAGE_ROWS)
    while page:
        yield from page
        page = view.range(table.key_of(page[-1]), limit=_PAGE_ROWS, bounds="()")
