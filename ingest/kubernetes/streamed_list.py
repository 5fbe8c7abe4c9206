"""A watch that begins with all objects: a list and the watch after it, in one request.

The API server sends each object as ADDED, then a bookmark that is annotated `k8s.io/initial-events-end`, then changes
(KEP-3157).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from .errors import Broken, Endless
from .stream import Item, ends_list
from .watch import Watch


class Page(msgspec.Struct, frozen=True):
    """A part of a list. ``version`` is that of the whole list; in a streamed list only the last part has it.

    ``unnamed``: how many of its objects have metadata that cannot be decoded, and so no name.
    """

    items: list[Item]
    version: str
    unnamed: int = 0
    server: str | None = None
    """The identity of the server at the other end of the connection; None if it is unknown."""


class StreamedList:
    """The beginning of such a watch. For one thread at a time."""

    def __init__(
        self,
        watch: Watch,
        name: str,
        *,
        silence_s: float,
        limit_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``name``, a request, is used in messages. The list may be silent for ``silence_s``, and take ``limit_s``."""
        self.watch = watch
        """After the last page it goes on with the changes since the list. The caller closes it."""
        self._name = name
        self._silence_s = silence_s
        self._limit_s = limit_s
        self._clock = clock

    def pages(self) -> Iterator[Page]:
        """All objects at one version. A later event of an object, or its deletion, replaces an earlier one.

        Waits for the server. Raises Broken if it does not offer streamed lists, Silent, Endless, and the errors of the
        watch.
        """
        until = self._clock() + self._limit_s
        while not self.watch.has_ended:
            if not self.watch.is_ready and not self.watch.wait(self._silence_s):
                raise self.watch.silent()
            items = self.watch.read()
            for place, item in enumerate(items):
                if item.type == "BOOKMARK":
                    if not ends_list(item):
                        raise Broken(f"{self._name}: the stream has no end of the list")
                    self.watch.unread(items[place + 1 :])
                    yield Page(items[:place], item.version, server=self.watch.server)
                    return
            if items:
                yield Page(items, "", server=self.watch.server)
            if self._clock() > until:
                raise Endless(f"{self._name}: the streamed list has no end after {self._limit_s:g} s")
        raise Broken(f"{self._name}: the stream ended before the list did")
