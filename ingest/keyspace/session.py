"""One connection to an etcd, from its first answer to its end: the loop that all sources on etcd share.

    open the watch stream ─▶ identify ─▶ list what is due ─▶ watch from the next revision ─▶ batches
        ▲                                       ▲                       │ compacted        │
        │                                       └───────────────────────┘                  │
        └── the next server, or a wait, longer each time ◀── any error; rows are kept ─────┘

The watch stream is opened before the server is identified. gRPC reconnects by itself, but the stream breaks with its
connection, so that all events come from the server that was identified.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from ..etcd import Client, Compacted, Unavailable, WatchBatch, WatchStream
from ..reflect import Reflector
from ..status import Status
from .connection import ConnectionLoop
from .keyspace import Keyspace
from .prefix import Prefix

_PROBE_S = 30.0
_LONGEST_WAIT_S = 1.0
_COMPACTIONS_MAX = 5


class SessionHandler(Protocol):
    """The part of the loop that differs between sources."""

    def identify(self, client: Client) -> Mapping[bytes, int]:
        """Identify the server. Returns the single keys to watch, each with the revision to watch from."""
        ...

    def admit(self, client: Client, stream: WatchStream) -> bool:
        """Called before the first list: whether there is something to list. False ends the connection without error."""
        ...

    def may_list(self, prefix: Prefix) -> bool:
        """Whether a prefix that is due can be listed now."""
        ...

    def listed(self, prefixes: Iterable[Prefix]) -> None:
        """Called when these prefixes have been listed."""
        ...

    def on_other(self, batch: WatchBatch) -> None:
        """Called with events of a single key, which has no rows."""
        ...

    def settle(self) -> None:
        """Called when all watches are established: judge withheld deletes again, and report."""
        ...

    def check(self) -> bool:
        """Called once in each round. False ends the connection without error, to make a new one."""
        ...

    def waits(self) -> Iterable[float | None]:
        """The seconds after which something is due even if no event comes."""
        ...


class Session:
    """Runs one connection. For the thread of the `ConnectionLoop`."""

    def __init__(
        self,
        handler: SessionHandler,
        loop: ConnectionLoop,
        keyspace: Keyspace,
        reflector: Reflector,
        status: Status,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``loop`` tells when to stop."""
        self._handler = handler
        self._loop = loop
        self._keyspace = keyspace
        self._reflector = reflector
        self._status = status
        self._clock = clock
        self._compactions = 0
        self._watched: set[bytes] = set()

    def run(self, client: Client) -> None:
        """Run until the connection breaks (EtcdError), a new one should be made, or the source is asked to stop."""
        self._compactions = 0
        try:
            while not self._loop.stopping:
                try:
                    self._follow(client)
                    return
                except Compacted as error:
                    self._compactions += 1
                    if self._compactions > _COMPACTIONS_MAX:
                        raise Unavailable(f"{client.endpoint}: compacts faster than its keys can be listed") from None
                    self._keyspace.require_relist(error.revision)
        finally:
            self._reflector.flush()

    def _follow(self, client: Client) -> None:
        """List and watch all prefixes. Raises EtcdError; Compacted means to begin again on this connection."""
        handler = self._handler
        self._watched.clear()
        with client.watch({}) as stream:
            for key, start in handler.identify(client).items():
                stream.add(key, start, is_key=True)
            if not handler.admit(client, stream):
                return
            probe_at = self._clock() + _PROBE_S
            while not self._loop.stopping and handler.check():
                self._list_due(client, stream)
                if stream.ready and not self._loop.stopping:
                    self._compactions = 0
                    handler.settle()
                self._status.write_if_due()
                self._keyspace.gather(client, stream, self._longest_wait(probe_at), handler.on_other)
                if self._clock() >= probe_at:  # when a watch is silent, the server may be dead or replaced
                    self._keyspace.probe(client)
                    probe_at = self._clock() + _PROBE_S

    def _list_due(self, client: Client, stream: WatchStream) -> None:
        """List the prefixes that are due, and watch all prefixes from the revision up to which each was read."""
        listed = []
        for prefix in tuple(self._keyspace.prefixes.values()):
            if self._loop.stopping:
                return
            if prefix.due and self._handler.may_list(prefix):
                if not prefix.listed:
                    self._status.report("syncing", "", prefix.kind.fills)
                self._keyspace.list(client, prefix)
                listed.append(prefix)
            if not prefix.due and prefix.key not in self._watched and not self._loop.stopping:
                self._watched.add(prefix.key)
                stream.add(prefix.key, prefix.known + 1)
        if listed:
            self._handler.listed(listed)

    def _longest_wait(self, probe_at: float) -> float:
        """The seconds until something is due if no event comes."""
        waits = [_LONGEST_WAIT_S, probe_at - self._clock(), self._status.due_in(), *self._handler.waits()]
        return max(0.001, min(wait for wait in waits if wait is not None))
