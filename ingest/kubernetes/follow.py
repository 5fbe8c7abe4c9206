"""One resource on a thread of its own: list, watch from there, again and again. Tells what it sees, and writes nothing.

list ─▶ whose list is it? ─▶ Snapshot ─▶ watch from its version ─▶ still the same server? ─▶ Happened, Happened, ...
  ▲                                          ▲                            │ no            │
  │                                          ├──── at once ◀─── an end in good order ◀────┤
  │                                          └──── pause, longer each time ◀── an error ◀─┤
  └── pause ◀── unreadable, another server ◀──┼───── at once ◀── the first "too old" ◀────┘

Pauses grow only for failures. A server may end watches in good order as often as it likes: a busy one does so with
every watcher that it finds slow. A server that wishes to be left alone for a time is left alone for that time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..backoff import Backoff
from ..belief import History
from ..worker import Worker
from .client import Client
from .errors import REFUSALS, ApiError, Broken, Expired, Missing, Replaced, Silent
from .lineage import Lineage
from .lister import Lister
from .messages import Closed, Ended, Happened, InStep, Listing, Lost, Message, Snapshot
from .options import KubernetesOptions
from .reading import Reading
from .resource import Resource
from .stream import Item

log = logging.getLogger("ingest")

_LIST_ANEW = (Expired, Broken, Replaced, Missing)
_HEALTHY_S = 5.0
"""A watch that stood for so long has worked, even if nothing happened."""


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
        self._client = client
        self._say = say
        self._clock = clock
        self._retry_min_s = options.retry_min_s
        self._backoff = Backoff(options.retry_min_s, options.retry_max_s)
        self._reading = Reading(resource, feed)
        self._worker = Worker(name, self._run, self._ended)
        self._lister = Lister(
            resource,
            client,
            self._reading,
            streams=options.streaming_lists,
            begun=self._listing,
            stopping=lambda: self._worker.stopping,
        )
        self._lineage = Lineage()
        self._place = _Place()

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
        while not self._worker.stopping:
            pause_s = self._attempt()
            if pause_s > 0:
                self._worker.pause(pause_s)

    def _ended(self, failure: Exception | None) -> None:
        if failure is not None:
            self._say(Ended(self.resource, failure))

    # --- attempts and pauses ------------------------------------------------------------------------------------------

    def _attempt(self) -> float:
        """List where that is due, then watch until the watch ends; for how long to pause before the next attempt."""
        place = self._place
        place.connect()
        error: ApiError | None = None
        try:
            self._round()
        except ApiError as raised:
            error = raised
        if self._worker.stopping:
            return 0.0
        lived = place.stands_since is not None and self._clock() - place.stands_since >= _HEALTHY_S
        if place.has_advanced or lived:
            self._backoff.lasted(_HEALTHY_S)
        if place.has_advanced:
            place.has_expired = place.was_silent = False
        return self._after_end(lived) if error is None else self._after_error(error)

    def _after_end(self, lived: bool) -> float:
        """The server has ended the watch in good order."""
        if self._place.has_advanced or lived:
            self._say(Closed(self.resource))
            return 0.0
        pause_s = self._backoff.next()
        self._lost(f"watch {self.resource.name}: the server ended it at once, without a word", pause_s)
        return pause_s

    def _after_error(self, error: ApiError) -> float:
        place, said = self._place, str(error)
        if isinstance(error, _LIST_ANEW):
            place.version = ""
        if isinstance(error, Silent) and place.stands_since is not None:
            if place.was_silent:  # the second watch without a word: only a list can tell now
                place.version = ""
            place.was_silent = True
        if isinstance(error, Expired) and not place.has_expired:
            place.has_expired = True
            pause_s = 0.0
        elif error.retry_after_s is not None:
            pause_s = max(error.retry_after_s, self._retry_min_s)
            said = f"{said}; the server wishes to be left alone for {pause_s:.0f} s"
        else:
            pause_s = self._backoff.next()
        self._lost(said, pause_s, refused=isinstance(error, REFUSALS))
        return pause_s

    def _lost(self, error: str, pause_s: float, *, refused: bool = False) -> None:
        log.debug("%s; trying again in %.1f s", error, pause_s)
        self._place.is_in_step = False
        self._say(Lost(self.resource, error, refused))

    # --- one attempt --------------------------------------------------------------------------------------------------

    def _round(self) -> None:
        """List where that is due, then watch until the watch ends."""
        place = self._place
        if not place.version:
            self._list()
        with self._client.watch(self.resource, place.version) as pieces:
            newest = self._recognise()
            place.stands_since = self._clock()
            if place.is_in_step or newest == place.version:
                self._in_step()
            for items in pieces:
                if self._worker.stopping:
                    return
                self._take(items)

    def _recognise(self) -> str:
        """The newest version of the server. Raises Replaced if it is not the server that we know.

        It is asked after the watch stands, so that no change of servers comes in between.
        """
        uid, version = self._client.identity(), self._client.version(self.resource)
        difference = self._lineage.broken_by(uid, version)
        if difference:
            raise Replaced(f"watch {self.resource.name}: the server was replaced: {difference}")
        return version

    def _list(self) -> None:
        started = time.perf_counter()
        listed = self._lister.list()
        if self._worker.stopping:
            return
        uid = self._client.identity()  # asked after it came: so the list is not that of a later server
        difference = self._lineage.broken_by(uid, listed.version)
        history = History.OTHER if difference else History.SAME
        self._lineage.begin(uid, listed.version)
        self._place.version, self._place.is_in_step = listed.version, True
        client_s = time.perf_counter() - started - listed.decode_s
        self._say(
            Snapshot(self.resource, listed.objects, history, difference, listed.unnamed, client_s, listed.decode_s)
        )

    def _take(self, items: list[Item]) -> None:
        place = self._place
        started = time.perf_counter()
        told = [item for item in items if item.type != "BOOKMARK"]
        events = [self._reading.event(item) for item in told]
        if events:
            size = sum([len(item.value) for item in told])
            self._say(Happened(self.resource, events, time.perf_counter() - started, size))
        place.reach(items[-1].version)
        self._lineage.saw(place.version)
        if not place.has_said_so:
            self._in_step()

    def _listing(self) -> None:
        self._say(Listing(self.resource))

    def _in_step(self) -> None:
        self._place.is_in_step = self._place.has_said_so = True
        self._say(InStep(self.resource))


class _Place:
    """Where in the server's history we are, and what the current connection has brought."""

    def __init__(self) -> None:
        self.version = ""
        """The version up to which we know everything; empty: a list is due."""
        self.is_in_step = False
        """Whether the server has spoken since the last failure. An end in good order leaves this as it is."""
        self.has_expired = False
        """Whether a watch was too old, and none has advanced since."""
        self.was_silent = False
        """Whether a watch was silent for too long, and none has advanced since."""
        self.connect()

    def connect(self) -> None:
        """A new connection begins."""
        self.stands_since: float | None = None
        self.has_said_so = False
        self.has_advanced = False

    def reach(self, version: str) -> None:
        """The connection has brought us to this version. One that is empty, which no server sends, says nothing."""
        if version and version != self.version:
            self.version = version
            self.has_advanced = True
