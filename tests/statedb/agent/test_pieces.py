"""Large answers in pieces: nothing is lost between them, and a reader that stops holds one of them."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given, strategies as st

from statedb import Database
from statedb.agent.http.pieces import PIECE_BYTES, PIECE_S, joined, rows_of
from statedb.agent.http.streams import Streams
from statedb.catalog import TABLES, Identities, Identity, IdentityKey


def filled(rows: int) -> Database:
    db = Database(*TABLES)
    with db.write(Identities) as txn:
        txn[Identities].insert_all([Identity(key=IdentityKey("c1", number), labels=()) for number in range(rows)])
    return db


@given(st.lists(st.integers(0, PIECE_BYTES * 2).map(bytes), max_size=8))
def test_pieces_are_the_parts_and_none_is_much_larger_than_it_should(parts: list[bytes]):
    pieces = list(joined(parts, clock=lambda: 0.0))
    assert b"".join(pieces) == b"".join(parts)
    assert all(0 < len(piece) < PIECE_BYTES + max(map(len, parts)) for piece in pieces)
    assert all(len(piece) >= PIECE_BYTES for piece in pieces[:-1])


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0.0, PIECE_S / 3, PIECE_S])), max_size=8))
def test_a_piece_ends_when_its_time_is_over(parts: list[tuple[int, float]]):
    """``parts`` are lengths, and how long each takes."""
    now = 0.0

    def slowly() -> Iterator[bytes]:
        nonlocal now
        for length, seconds in parts:
            now += seconds
            yield bytes(length)

    began, taken = 0.0, b""
    for piece in joined(slowly(), clock=lambda: now):
        assert piece
        taken += piece
        assert now - began < 2 * PIECE_S or len(piece) <= 9  # nothing is added after its end; empty parts do not count
        began = now
    assert len(taken) == sum(length for length, _ in parts)


@pytest.mark.parametrize("rows", [0, 1, 499, 500, 501, 1000, 1201])
def test_rows_that_are_looked_up_by_pages_are_all_rows(rows: int):
    view = filled(rows).snapshot()[Identities]
    assert list(rows_of(view, Identities)) == list(view.values())


def test_streams_whose_readers_stop_in_the_first_rows_hold_no_list_of_them():
    db = filled(20_000)
    streams = Streams(db)

    async def held_by(count: int) -> int:
        opened: list[AsyncIterator[bytes]] = [streams.lines(Identities, None) for _ in range(count)]
        tracemalloc.start()
        try:
            for each in opened:
                assert (await anext(each)).startswith(b'{"event":"put"')
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
            for each in opened:
                await each.aclose()  # type: ignore[attr-defined]

    async def measured() -> tuple[int, int]:
        await held_by(1)  # what the table keeps in order for all readers
        return await held_by(1), await held_by(6)

    one, six = asyncio.run(measured())
    assert (six - one) / 5 < 5 * PIECE_BYTES
