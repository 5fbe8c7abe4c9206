"""An open watch, which is read as its events come. Reading never waits."""

from __future__ import annotations

from .api import Stream
from .errors import ApiError, Silent
from .stream import Item, Lines, event

_ITEMS_MAX = 500
_BYTES_MAX = 1 << 20
_READS_MAX = 2 * _ITEMS_MAX
"""A server may send an endless text between two chunks, which contains nothing."""


class Watch:
    """The changes of one resource, from an open connection. For one thread at a time."""

    def __init__(self, stream: Stream, silence_s: float) -> None:
        """A connection without an event for ``silence_s`` is taken for dead, even if parts of one come."""
        self.silence_s = silence_s
        self.server = stream.server
        """The identity of the server at the other end; None if it is unknown."""
        self.is_ready = True
        """Whether `read` has something more to return or to raise. Otherwise wait for the descriptor."""
        self.was_heard = False
        """Whether the last `read` returned items."""
        self._stream = stream
        self._lines = Lines(stream.request)
        self._unread: list[Item] = []
        self._failure: ApiError | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the server has ended it in good order, and all of it has been returned."""
        return self._stream.is_complete and not self.is_ready

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._stream.fileno()

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to read, when not `is_ready`. False if nothing comes in time."""
        return self._stream.wait(timeout_s)

    def unread(self, items: list[Item]) -> None:
        """Let the next `read` return these items, which it has returned already."""
        if items:
            self._unread, self.is_ready = items, True

    def read(self) -> list[Item]:
        """The items that have come, at most about 500. An incomplete line waits for its rest.

        Raises Unavailable if the connection is cut, Broken for a line that is not an event, and the corresponding error
        for an ERROR event; all of them after the items before.
        """
        self.was_heard = False
        items = self._next()
        self.was_heard = bool(items)
        return items

    def _next(self) -> list[Item]:
        if self._unread:
            unread, self._unread = self._unread, []
            return unread
        if self._failure is not None:
            raise self._failure
        items: list[Item] = []
        try:
            self.is_ready = self._read_into(items)
        except ApiError as error:
            if not items:
                raise
            self._failure, self.is_ready = error, True
        return items

    def silent(self) -> Silent:
        """The error of a watch that was silent for too long."""
        return Silent(f"{self._stream.request}: silent for too long")

    def close(self) -> None:
        """Close it. May be called repeatedly."""
        self._stream.close()

    def _read_into(self, items: list[Item]) -> bool:
        """Returns whether it stopped because these are enough for once."""
        size = 0
        for reads, pieces in enumerate(self._stream.pieces(), 1):
            for piece in pieces:
                size += len(piece)
                for line in self._lines.feed(piece):
                    items.append(event(self._stream.request, line))  # noqa: PERF401 (those before an error are kept)
            if len(items) >= _ITEMS_MAX or size >= _BYTES_MAX or reads >= _READS_MAX:
                return True
        return False
