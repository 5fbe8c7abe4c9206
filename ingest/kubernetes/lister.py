"""Lists one resource in the cheapest way that works: as a stream, in pages, or in one answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

import msgspec

from ..events import Bad, Delete, Upsert
from .client import Client
from .errors import Broken, Endless, Expired, Invalid, Silent
from .event_reader import EventReader
from .resource_spec import Resource
from .streamed_list import Page
from .watch import Watch

log = logging.getLogger("ingest")

AGAIN_S = 300.0
"""After a server has refused a stream, or has ended one before the list did, lists are in pages for this long."""


class List(msgspec.Struct, frozen=True):
    """All objects, the version of the list, the number of objects without a name, and the seconds of decoding.

    ``servers``: the identities of the servers that it came from; None stands for an unknown one. ``watch``: the watch
    that goes on from the list, which the caller closes; None if another request must open one.
    """

    objects: list[Upsert | Bad]
    version: str
    unnamed: int
    decode_s: float
    servers: frozenset[str | None]
    watch: Watch | None = None


class Lister:
    """Lists one resource. For one thread at a time."""

    def __init__(
        self,
        resource: Resource,
        client: Client,
        event_reader: EventReader,
        *,
        streams: bool,
        on_first_page: Callable[[], None],
        stopping: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``streams``: whether to request streams. ``on_first_page`` is called when the first part of a list has come.

        ``stopping`` is called between parts. When it returns true, the list is incomplete and must be discarded.
        """
        self._resource = resource
        self._client = client
        self._event_reader = event_reader
        self._streams = streams
        self._on_first_page = on_first_page
        self._stopping = stopping
        self._clock = clock
        self._streams_at = float("-inf")
        """When a stream is requested again."""

    def list(self) -> List:
        """All objects at one version. Raises ApiError.

        If the server refuses streams, or ends one before the list does, lists are in pages for `AGAIN_S`: it may have
        been about to stop, or may be upgraded. If a stream falls silent or does not end, only this list is in pages.
        """
        if self._streams and self._clock() >= self._streams_at:
            try:
                return self._streamed()
            except (Broken, Invalid) as error:
                self._streams_at = self._clock() + AGAIN_S
                log.debug("%s; asking for pages for %.0f s", error, AGAIN_S)
            except (Endless, Silent) as error:
                log.warning("%s; asking for pages", error)
        try:
            return self._collect(self._client.pages(self._resource))
        except Expired as error:
            log.debug("%s; asking for the whole list", error)
            return self._collect((self._client.whole(self._resource),))

    def _streamed(self) -> List:
        streamed = self._client.streamed(self._resource)
        try:
            return msgspec.structs.replace(self._collect(streamed.pages()), watch=streamed.watch)
        except BaseException:
            streamed.watch.close()
            raise

    def _collect(self, pages: Iterable[Page]) -> List:
        objects: dict[str, Upsert | Bad] = {}
        version, unnamed, decode_s = "", 0, 0.0
        servers: set[str | None] = set()
        for place, page in enumerate(pages):
            if not place:
                self._on_first_page()
            started = time.perf_counter()
            version = page.version
            servers.add(page.server)
            unnamed += page.unnamed
            for item in page.items:
                event = self._event_reader.event(item)
                objects.pop(event.object, None)  # the latest event takes the last place
                if not isinstance(event, Delete):
                    objects[event.object] = event
            decode_s += time.perf_counter() - started
            if self._stopping():
                break
        listed = list(objects.values())
        if unnamed:
            listed.append(self._event_reader.unnamed(unnamed))
        return List(listed, version, unnamed, decode_s, frozenset(servers))
