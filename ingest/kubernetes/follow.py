"""One resource on a thread of its own: list, watch from there, again and again. Says what it sees, and writes nothing.

list ─▶ whose list is it? ─▶ Listed ─▶ watch from its version ─▶ still the same server? ─▶ Happened, Happened, ...
  ▲                                          ▲                            │ no            │ the end, or an error
  │                                          └──── wait, longer each time ┼───────────────┘
  └──────────────── wait ◀── too old, unreadable, another server ◀────────┘
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec

from statedb.catalog.wire import WireError

from ..backoff import Backoff
from ..events import Bad, Delete, Upsert, excerpt
from ..worker import Worker
from .client import Client, Item, Page
from .errors import REFUSALS, ApiError, Broken, Expired, Invalid, Missing, Replaced, Silent
from .lineage import Lineage
from .options import KubernetesOptions
from .resource import Resource

_EXCERPT = 1024
_LIST_ANEW = (Expired, Broken, Replaced, Missing)


class Listing(msgspec.Struct, frozen=True):
    """The first part of a list has come."""

    resource: Resource


class Snapshot(msgspec.Struct, frozen=True):
    """All objects of the resource. ``broken``: why the server cannot be the one that we knew; empty if it can.

    ``decode_s``: how long their decoding took; ``client_s``: everything before it.
    """

    resource: Resource
    objects: list[Upsert | Bad]
    broken: str
    client_s: float = 0.0
    decode_s: float = 0.0


class Following(msgspec.Struct, frozen=True):
    """The watch stands."""

    resource: Resource


class Happened(msgspec.Struct, frozen=True):
    """Events, in their order. ``decode_s``: how long their decoding took."""

    resource: Resource
    events: list[Upsert | Bad | Delete]
    decode_s: float = 0.0


class Lost(msgspec.Struct, frozen=True):
    """Neither list nor watch works now. ``refused``: waiting alone will not help."""

    resource: Resource
    error: str
    refused: bool


class Ended(msgspec.Struct, frozen=True):
    """The thread has ended against all expectation."""

    resource: Resource
    failure: Exception


Message: TypeAlias = Listing | Snapshot | Following | Happened | Lost | Ended
"""All that a follower can say; closed."""


class Follower:
    """Follows one resource until it is stopped. ``say`` takes its messages, in order; False: nobody listens."""

    def __init__(
        self,
        resource: Resource,
        feed: str,
        client: Client,
        options: KubernetesOptions,
        say: Callable[[Message], bool],
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Not yet started. ``feed`` is that of the events; ``name`` the thread's."""
        self.resource = resource
        self._feed = feed
        self._client = client
        self._options = options
        self._say = say
        self._clock = clock
        self._version = ""
        self._lineage = Lineage()
        self._live_since: float | None = None
        self._worker = Worker(name, self._run, self._ended)

    def start(self) -> None:
        """Begin."""
        self._worker.start()

    def stop(self) -> None:
        """Ask it to end between two requests; what it waits for is cut off by closing the `Api`."""
        self._worker.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended."""
        return self._worker.join(timeout)

    def _run(self) -> None:
        options = self._options
        backoff = Backoff(options.retry_min_s, options.retry_max_s)
        while not self._worker.stopping:
            self._live_since = None
            wait_s = 0.0
            try:
                self._round()
            except ApiError as error:
                if self._worker.stopping:
                    return
                if not self._is_routine(error):
                    self._say(Lost(self.resource, str(error), isinstance(error, REFUSALS)))
                if isinstance(error, _LIST_ANEW):
                    self._version = ""
                wait_s = min(error.retry_after_s or 0.0, options.retry_max_s)
            if self._live_since is not None:
                backoff.lasted(self._clock() - self._live_since)
            self._worker.pause(max(backoff.next(), wait_s))

    def _is_routine(self, error: ApiError) -> bool:
        """Whether this happens to watches in a healthy cluster: nothing to tell unless the next try fails as well."""
        if isinstance(error, Silent):
            return self._live_since is not None
        return isinstance(error, Expired) and self._version != ""

    def _ended(self, failure: Exception | None) -> None:
        if failure is not None:
            self._say(Ended(self.resource, failure))

    def _round(self) -> None:
        """List where that is due, then watch until the watch ends."""
        if not self._version:
            self._list()
        with self._client.watch(self.resource, self._version) as pieces:
            self._recognise()
            self._live_since = self._clock()
            self._say(Following(self.resource))
            for events in pieces:
                if self._worker.stopping:
                    return
                self._take(events)

    def _recognise(self) -> None:
        """Whether the watch is with the server that we know. Asked after it stands: so no change comes in between."""
        uid, version = self._client.identity(), self._client.version(self.resource)
        broken = self._lineage.broken_by(uid, version)
        if broken:
            raise Replaced(f"watch {self.resource.name}: the server was replaced: {broken}")

    def _list(self) -> None:
        started = time.perf_counter()
        objects, version, decode_s = self._listed()
        if self._worker.stopping:
            return
        uid = self._client.identity()  # asked after it came: so the list is not that of a later server
        broken = self._lineage.broken_by(uid, version)
        self._lineage.begin(uid, version)
        self._version = version
        client_s = time.perf_counter() - started - decode_s
        self._say(Snapshot(self.resource, objects, broken, client_s, decode_s))

    def _listed(self) -> tuple[list[Upsert | Bad], str, float]:
        """The whole list, its version and the seconds of decoding, by the cheapest way that works."""
        client, resource = self._client, self.resource
        if client.streams_lists:
            try:
                return self._gathered(client.streamed(resource))
            except (Broken, Invalid, Silent):
                client.streams_lists = False
        try:
            return self._gathered(client.pages(resource))
        except Expired:
            return self._gathered((client.whole(resource),))

    def _gathered(self, pages: Iterable[Page]) -> tuple[list[Upsert | Bad], str, float]:
        objects: dict[str, Upsert | Bad] = {}
        version, decode_s = "", 0.0
        for place, page in enumerate(pages):
            if not place:
                self._say(Listing(self.resource))
            started = time.perf_counter()
            version = page.version
            for item in page.items:
                said = self._said(item)
                objects.pop(said.object, None)  # the last word takes the last place
                if not isinstance(said, Delete):
                    objects[said.object] = said
            decode_s += time.perf_counter() - started
            if self._worker.stopping:
                break
        return list(objects.values()), version, decode_s

    def _take(self, items: list[Item]) -> None:
        started = time.perf_counter()
        events = [self._said(item) for item in items if item.type != "BOOKMARK"]
        if events:
            self._say(Happened(self.resource, events, time.perf_counter() - started))
        if items:
            self._version = items[-1].version
            self._lineage.saw(self._version)

    def _said(self, item: Item) -> Upsert | Bad | Delete:
        if item.type == "DELETED":
            return Delete(self._feed, self.resource.object_name(item.namespace, item.name))
        return self._read(item)

    def _read(self, item: Item) -> Upsert | Bad:
        name = self.resource.object_name(item.namespace, item.name)
        try:
            return Upsert(self._feed, name, self.resource.decode(item.value))
        except WireError as error:
            return Bad(
                self._feed, name, str(error), excerpt(bytes(item.value)[:_EXCERPT]), self.resource.tables[0].name
            )
