"""Reads the body of an HTTP answer from the bytes of its connection, in whatever pieces they come. Pure.

RFC 9112, sections 6 and 7.1.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable

_LINE_BYTES = 1 << 16
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}[ \t]*")
_WHOLE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")


class Malformed(http.client.HTTPException):
    """The chunks of a body are not as HTTP defines them."""


class Body:
    r"""One body: chunks; or ``length`` bytes; or, without a length, whatever comes before the connection ends.

    >>> body = Body(chunked=True)
    >>> body.feed(b"5\r\nab"), body.feed(b"cde\r\n0\r\n\r\n"), body.is_complete
    ([b'ab'], [b'cde'], True)
    """

    def __init__(self, *, chunked: bool, length: int | None = None) -> None:
        """Nothing has come yet. ``length`` is ignored if the body has chunks."""
        self.is_complete = not chunked and length == 0
        self.has_surplus = False
        """Whether bytes came after the end, which belong to no answer."""
        self._chunked = chunked
        self._left = 0 if chunked else length
        """The bytes that the present chunk, or the body, still lacks; None if the length is unknown."""
        self._line = b""
        """The beginning of a line between two chunks."""
        self._is_before_size = chunked
        """Whether nothing of the next chunk's size has come."""
        self._take_line: Callable[[bytes], None] = self._take_size

    def feed(self, data: bytes) -> list[bytes]:
        """The next bytes of the connection. Returns the pieces of the body in them. Raises Malformed."""
        if self._left is None:
            return [data]
        pieces, at = list[bytes](), 0
        while at < len(data) and not self.is_complete:
            if self._is_before_size:
                at = self._whole_chunks(data, at, pieces)
                self._is_before_size = at == len(data)
            elif self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self.is_complete = not self._left and not self._chunked
            else:
                at = self._read_line(data, at)
        self.has_surplus = self.has_surplus or at < len(data)
        return pieces

    def end(self) -> None:
        """The connection has ended. Raises IncompleteRead if the body has not."""
        if self._left is not None:
            raise http.client.IncompleteRead(b"", self._left)
        self.is_complete = True

    def _whole_chunks(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Read chunks that are there from end to end. Returns where the next one starts.

        An API server sends each event as a chunk. This takes a third of the time of reading them part by part.
        """
        while found := _WHOLE.match(data, at):
            start = found.end()
            end = start + int(found[1], 16)
            if end == start or not data.startswith(b"\r\n", end):
                break  # the last chunk, or not all of it is there, or it is not as it should be
            pieces.append(data[start:end])
            at = end + 2
        return at

    def _read_line(self, data: bytes, start: int) -> int:
        """Read a line between two chunks, or the beginning of one. Returns where the next part starts."""
        end = data.find(b"\n", start)
        self._line += data[start:] if end < 0 else data[start:end]
        if len(self._line) > _LINE_BYTES:
            raise Malformed("a line between two chunks is too long")
        if end < 0:
            return len(data)
        line, self._line = self._line, b""
        self._take_line(line.removesuffix(b"\r"))
        return end + 1

    def _take_size(self, line: bytes) -> None:
        size = line.partition(b";")[0]
        if not _SIZE.fullmatch(size):
            raise Malformed("a chunk has no size")
        self._left = int(size, 16)
        self._take_line = self._take_end_of_chunk if self._left else self._take_trailer

    def _take_end_of_chunk(self, line: bytes) -> None:
        if line:
            raise Malformed("a chunk is longer than its size")
        self._take_line = self._take_size
        self._is_before_size = True

    def _take_trailer(self, line: bytes) -> None:
        """Headers may follow the last chunk; an empty line ends them."""
        self.is_complete = not line
