"""Bodies of HTTP answers are read alike in whatever pieces they come, and as Python's own client reads them."""

from __future__ import annotations

import http.client
import io
import itertools
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ingest.kubernetes.body import Body, Malformed

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
contents = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


class OfBytes(io.BytesIO):
    def makefile(self, *_: Any, **__: Any) -> OfBytes:
        return self


def chunks(pieces: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    return (
        b"".join(b"%X%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"
    )


def read(body: Body, data: bytes, cuts: list[int]) -> bytes:
    places = sorted({0, len(data), *[cut % (len(data) + 1) for cut in cuts]})
    return b"".join(piece for start, end in itertools.pairwise(places) for piece in body.feed(data[start:end]))


@given(
    contents,
    st.lists(st.integers(0, 500), max_size=30),
    st.sampled_from([b"", b";a=b", b" ;a"]),
    st.sampled_from([b"", b"X: y\r\n"]),
)
def test_chunks_are_read_as_by_pythons_client(pieces: list[bytes], cuts: list[int], extension: bytes, trailer: bytes):
    data = chunks(pieces, extension, trailer)
    answer = http.client.HTTPResponse(OfBytes(HEAD + data))  # type: ignore[arg-type]
    answer.begin()
    body = Body(chunked=True)
    assert read(body, data, cuts) == answer.read() == b"".join(pieces)
    assert body.is_complete
    assert not body.has_surplus


@given(contents, st.integers(0, 400), st.lists(st.integers(0, 500), max_size=10))
def test_a_body_that_breaks_off_is_not_complete(pieces: list[bytes], length: int, cuts: list[int]):
    data = chunks(pieces)
    body = Body(chunked=True)
    assert b"".join(pieces).startswith(read(body, data[: min(length, len(data) - 1)], cuts))
    assert not body.is_complete
    with pytest.raises(http.client.IncompleteRead):
        body.end()


@given(st.binary(min_size=1, max_size=50), st.lists(st.integers(0, 60), max_size=5))
def test_a_length_and_the_end_of_the_connection_end_a_body_too(data: bytes, cuts: list[int]):
    body = Body(chunked=False, length=len(data))
    assert read(body, data, cuts) == data
    assert body.is_complete
    endless = Body(chunked=False)
    assert read(endless, data, cuts) == data
    assert not endless.is_complete
    endless.end()
    assert endless.is_complete


def test_bytes_after_the_end_belong_to_no_answer():
    for body, data in ((Body(chunked=True), chunks([b"ab"])), (Body(chunked=False, length=2), b"ab")):
        assert body.feed(data + b"x") == [b"ab"]
        assert body.has_surplus
        assert body.feed(b"y") == []


def test_an_empty_body_is_complete_before_anything_comes():
    assert Body(chunked=False, length=0).is_complete


@pytest.mark.parametrize(
    "data",
    [b"x\r\n", b"\r\n", b"-5\r\n", b"1_0\r\n", b" 5\r\n", b"1\r\nab\r\n", b"f" * 17 + b"\r\n", b"1;" + b"x" * 70_000],
)
def test_chunks_that_http_does_not_define_are_malformed(data: bytes):
    with pytest.raises(Malformed):
        Body(chunked=True).feed(data)
