"""Bytes made wrong in the ways that transports, proxies and writers make them wrong. Seeded: a run can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

PIECES = (
    b"",
    b"\xff",
    b"\xd0",
    b"\x00",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"null",
    b"-1",
    b"1e400",
    b"9" * 5000,
    b"NaN",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"\r\n",
    b"\n",
    b'"',
    b"{}",
    b"[]",
    b"<html>",
)


def _flip(rng: Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _drop(rng: Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randrange(1, 20)]


def _cut(rng: Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def _double(rng: Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    end = start + rng.randrange(1, 40)
    data[start:start] = data[start:end]


def _insert(rng: Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.choice(PIECES)


def _replace(rng: Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    data[start : start + rng.randrange(1, 12)] = rng.choice(PIECES)


def _number(rng: Random, data: bytearray) -> None:
    """Another number in the place of one, which is where lengths and versions stand."""
    digits = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
    if digits:
        place = rng.choice(digits)
        data[place : place + 1] = rng.choice((b"-1", b"0", b"9" * 20, b"9" * 5000, b"1e9", b"0x1"))


MUTATIONS: Sequence[Callable[[Random, bytearray], None]] = (_flip, _drop, _cut, _double, _insert, _replace, _number)


def mutated(rng: Random, original: bytes) -> bytes:
    """The bytes with one to three mistakes in them."""
    data = bytearray(original)
    for _ in range(rng.randrange(1, 4)):
        if data:
            rng.choice(MUTATIONS)(rng, data)
    return bytes(data)


def many(seed: int, originals: Sequence[bytes], count: int) -> Iterator[bytes]:
    """So many mutations of the originals, in turn."""
    rng = Random(seed)
    for number in range(count):
        yield mutated(rng, originals[number % len(originals)])
