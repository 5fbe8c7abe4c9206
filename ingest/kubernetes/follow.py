"""Follows one resource: list it, watch from there, again and again. Has no thread; sends messages; writes no tables.

            a streamed list is the beginning of a watch, which goes on ───────────────────────┐
list ─▶ same server? ─▶ FullList ─▶ watch from its version ─▶ still the same server? ─▶ Changes, Changes, ...
  ▲                                        ▲                               │ no                │
  │                                        ├── at once ◀── the end of the watch ───────────────┤
  │                                        └── pause, longer each time ◀── an error ───────────┤
  ├── at once ◀── the first "too old" ◀────────────────────────────────────┼───────────────────┤
  └── pause ◀── unreadable, another server ◀───────────────────────────────┴───────────────────┘

Pauses grow only after failures. A server may end watches without an error at any time; a busy one ends those of
watchers that it considers slow. A ``Retry-After`` of the server replaces the pause.

The first watch after a failure is brief. An API server sends a bookmark about every minute, and one more two seconds
before a watch ends. So the source knows within seconds that it missed nothing, even if the resource is quiet. Bookmarks
are optional, and a server's cache that has seen no event since it started may send none; then a list decides.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from ..backoff import Backoff
from .client import BRIEF_S, Client
from .errors import REFUSALS, ApiError, Broken, Expired, Missing, Replaced, Silent, Unavailable
from .event_reader import EventReader
from .lineage import Lineage, Origin
from .lister import List, Lister
from .messages import Changes, FullList, Interrupted, ListStarted, Message, Synced, Unserved, WatchEnded
from .options import KubernetesOptions
from .resource_spec import Resource
from .stream import Item
from .watch import Watch

log = logging.getLogger("ingest")

_RELIST_ERRORS = (Expired, Broken, Replaced, Missing)
_HEALTHY_S = 5.0
"""A watch that was open for this long was healthy, even if no event came."""


class Follower:
    """Follows one resource: `connect`, `read` until the watch has ended, and, after a pause, `connect` again.

    Its messages go to ``send``, in order. For one thread at a time.
    """

    def __init__(
        self,
        resource: Resource,
        feed: str,
        client: Client,
        options: KubernetesOptions,
        send: Callable[[Message], object],
        *,
        stopping: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``feed`` is the feed of its events. When ``stopping`` returns true, it requests and reports nothing more."""
        self.resource = resource
        self._client = client
        self._send = send
        self._stopping = stopping
        self._clock = clock
        self._retry_min_s = options.retry_min_s
        self._backoff = Backoff(options.retry_min_s, options.retry_max_s)
        self._event_reader = EventReader(resource, feed)
        self._lister = Lister(
            resource,
            client,
            self._event_reader,
            streams=options.streaming_lists,
            on_first_page=self._report_list_started,
            stopping=stopping,
            clock=clock,
        )
        self._lineage = Lineage()
        self._position = _Position()

    @property
    def late(self) -> str:
        """The object with which the decode function has been busy for too long; empty if none. For any thread."""
        return self._event_reader.decoding.late()

    def inherit(self, origin: Origin) -> None:
        """There are earlier rows from this origin. Call it before the first `connect`."""
        self._lineage.inherit(origin.cluster_uid, origin.versions.get(self.resource.feed, ""))

    def connect(self) -> Watch | float:
        """List if that is due, then open a watch. Waits for the server. Closing the `Api` cancels it.

        Returns the open watch, to be closed by the caller, or the seconds until the next `connect`.
        """
        self._position.connect()
        try:
            watch = None if self._position.version else self._list()
            if watch is not None:
                return watch
            return 0.0 if self._stopping() else self._open()
        except ApiError as error:
            return self._after(error)

    def read(self, watch: Watch) -> float | None:
        """Take what has come. Never waits.

        Returns None while the watch goes on, and the seconds until the next `connect` when it has ended.
        """
        try:
            items = watch.read()
            if items:
                self._on_items(items)
        except ApiError as error:
            return self._after(error)
        return self._after(None) if watch.has_ended else None

    def give_up(self, watch: Watch) -> float:
        """The watch was silent for too long. Returns the seconds until the next `connect`."""
        return self._after(watch.silent())

    # --- pauses -------------------------------------------------------------------------------------------------------

    def _after(self, error: ApiError | None) -> float:
        """A watch has ended, without an error if it is None, or there is none. Returns the pause."""
        position = self._position
        if self._stopping():
            return 0.0
        was_healthy = self._watch_age_s() >= _HEALTHY_S
        if position.has_advanced or was_healthy:
            self._backoff.record_uptime(_HEALTHY_S)
        if position.has_advanced:
            position.has_expired = position.was_mute = False
        return self._after_end(was_healthy) if error is None else self._after_error(error)

    def _watch_age_s(self) -> float:
        """How long the watch was open."""
        connected_at = self._position.connected_at
        return 0.0 if connected_at is None else self._clock() - connected_at

    def _after_end(self, was_healthy: bool) -> float:
        """The server has ended the watch without an error. Returns the pause."""
        position = self._position
        if not position.is_synced:  # it was a brief one, and it ended without an event or a bookmark
            was_healthy = self._watch_age_s() >= BRIEF_S / 2
            self._list_if_mute(was_healthy)
        if position.has_advanced or was_healthy:
            self._send(WatchEnded(self.resource))
            return 0.0
        pause_s = self._backoff.next()
        self._report_interruption(f"watch {self.resource.name}: the server ended it at once, without an event", pause_s)
        return pause_s

    def _after_error(self, error: ApiError) -> float:
        position, text = self._position, str(error)
        if isinstance(error, _RELIST_ERRORS):
            position.version = ""
        if isinstance(error, Silent) and position.connected_at is not None:
            self._list_if_mute()
        if isinstance(error, Expired) and not position.has_expired:
            position.has_expired = True
            pause_s = 0.0
        elif error.retry_after_s is not None:
            pause_s = max(error.retry_after_s, self._retry_min_s)
            text = f"{text}; the server wishes to be left alone for {pause_s:.0f} s"
        else:
            pause_s = self._backoff.next()
        self._report_interruption(text, pause_s, refused=isinstance(error, REFUSALS))
        if isinstance(error, Missing) and self._lineage.is_known:
            self._send(Unserved(self.resource))
        return pause_s

    def _list_if_mute(self, is_sure: bool = False) -> None:
        """A watch was mute. After the second one in a row, or the first if ``is_sure``, the next attempt lists."""
        position = self._position
        if is_sure or position.was_mute:
            position.version = ""
        position.was_mute = True

    def _report_interruption(self, error: str, pause_s: float, *, refused: bool = False) -> None:
        log.debug("%s; trying again in %.1f s", error, pause_s)
        self._position.is_synced = False
        self._send(Interrupted(self.resource, error, refused))

    # --- lists and watches --------------------------------------------------------------------------------------------

    def _open(self) -> Watch:
        """Open a watch, and check the server behind it."""
        position = self._position
        watch = self._client.watch(self.resource, position.version, brief=not position.is_synced)
        try:
            newest = self._check_server(watch.server)
        except BaseException:
            watch.close()
            raise
        position.connected_at = self._clock()
        if position.is_synced or newest == position.version:
            self._report_synced()
        return watch

    def _check_server(self, watched: str | None) -> str:
        """The newest version of the server. Raises Replaced if it is not the server that we know.

        It is requested after the watch is open, so that no other server can take its place in between. ``watched`` is
        the identity of the server at the other end of the watch.
        """
        version, versioned = self._client.version(self.resource)
        uid = self._identity({watched, versioned})
        difference = self._lineage.difference(uid, version)
        if difference:
            raise Replaced(f"watch {self.resource.name}: the server was replaced: {difference}")
        return version

    def _identity(self, answered: Iterable[str | None]) -> str:
        """The identity of the server, requested after the answers came, since its store may have been replaced.

        ``answered`` are the identities on the connections of the answers, as far as they are known. Raises Unavailable
        if they differ, because the address leads to several clusters then.
        """
        uid = self._client.identity()
        seen = {server for server in (*answered, uid) if server}
        if len(seen) > 1:
            raise Unavailable(
                f"{self.resource.name}: servers of different clusters answer at one address; the UIDs of their "
                f"namespaces kube-system are {', '.join(sorted(seen))}"
            )
        return uid

    def _list(self) -> Watch | None:
        """List, and check the server behind the list. Returns the watch that goes on from the list, if there is one.

        That watch needs no check of its own: it is the same answer of the same server.
        """
        started = time.perf_counter()
        listed = self._lister.list()
        with ExitStack() as closing:
            if listed.watch is not None:
                closing.callback(listed.watch.close)
            if self._stopping():
                return None
            self._accept(listed, self._identity(listed.servers), started)
            if listed.watch is not None:
                self._position.connected_at = self._clock()
                self._report_synced()
            closing.pop_all()
        return listed.watch

    def _accept(self, listed: List, uid: str, started: float) -> None:
        history, difference = self._lineage.history(uid, listed.version)
        self._lineage.begin(uid, listed.version)
        self._position.version, self._position.is_synced = listed.version, True
        client_s = time.perf_counter() - started - listed.decode_s
        self._send(
            FullList(
                self.resource,
                listed.objects,
                history,
                difference,
                uid,
                listed.version,
                listed.unnamed,
                client_s,
                listed.decode_s,
            )
        )

    def _on_items(self, items: list[Item]) -> None:
        """Take items. Raises Replaced at a bookmark that goes back: the server's store was restored from a backup."""
        position = self._position
        started = time.perf_counter()
        events, newest, difference = [], position.version, ""
        for item in items:
            if item.type != "BOOKMARK":
                events.append(self._event_reader.event(item))
            if self._lineage.observe(item.version):
                newest = item.version or newest
            elif item.type == "BOOKMARK":  # only it says where the server is; an event may have an older version
                difference = self._lineage.difference("", item.version)
                break
        if events:
            self._send(Changes(self.resource, events, newest, time.perf_counter() - started))
        if difference:
            raise Replaced(f"watch {self.resource.name}: the server was replaced: {difference}")
        position.reach(newest)
        if not position.is_reported:
            self._report_synced()

    def _report_list_started(self) -> None:
        self._send(ListStarted(self.resource))

    def _report_synced(self) -> None:
        self._position.is_synced = self._position.is_reported = True
        self._send(Synced(self.resource))


class _Position:
    """The position in the server's history, and what came on the current connection."""

    def __init__(self) -> None:
        self.version = ""
        """The version up to which everything is known; empty: a list is due."""
        self.is_synced = False
        """Whether the server has answered since the last failure. The end of a watch is no failure."""
        self.has_expired = False
        """Whether a version was too old for a watch, and no watch has advanced since."""
        self.was_mute = False
        """Whether a watch was silent for too long, or ended without a word after a failure; none has advanced since."""
        self.connect()

    def connect(self) -> None:
        """A new connection begins."""
        self.connected_at: float | None = None
        self.is_reported = False
        self.has_advanced = False

    def reach(self, version: str) -> None:
        """Everything up to this version has come. An empty version, which no server sends, is ignored."""
        if version and version != self.version:
            self.version = version
            self.has_advanced = True
