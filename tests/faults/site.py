"""A source of truth on servers of its own, a reader of it, and what can be done to both."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Self

from ingest import Source
from statedb import Database, Snapshot, WatchSet
from statedb.catalog import TABLES, Endpoints, SourceKey, SourceRow, Sources

from ..ingest.kvstore_rig import CLUSTER, Deletions, ip_of
from ..tcp_proxy import TcpProxy
from .clock import true_monotonic as monotonic

_BEAT_S = 0.1
WAIT_S = 60.0
FIRST = 50
"""How many endpoints there are when a site begins."""
IDENTITY = 70_000


class Site:
    """A context manager. What is written goes into ``truth`` and to the servers, which may be away just then.

    A backend overrides what it can do; what it leaves raises NotImplementedError.
    """

    backend: ClassVar[str]
    doubt: ClassVar[str] = ""
    """What ``sources`` says of a server that was emptied."""
    refusal: ClassVar[str] = ""
    """What it says of credentials that are none."""

    def __init__(self, directory: Path, *, replicas: int = 1, by_name: bool = False, **options: Any) -> None:
        """``directory`` is for files. ``by_name``: the reader knows its server by name. ``options``: the reader's."""
        self.directory = directory
        self.truth: dict[str, int] = {}
        self.proxies: list[TcpProxy] = []
        self.resources = ExitStack()
        self.options: dict[str, Any] = {**self.quick(), **options}
        self.db = Database(*TABLES)
        self.removed: set[str] = set()
        """Addresses that were ever taken out of the truth."""
        self._numbers = itertools.count()
        self._source: Source | None = None
        try:
            self.build(replicas, by_name)
            self.write(dict.fromkeys(self.new_addresses(FIRST), IDENTITY))
        except BaseException:
            self.resources.close()
            raise
        self.deletions = Deletions(self.db)

    def __enter__(self) -> Self:
        self.resources.enter_context(self.deletions)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._source is not None:
                self.stop_reader()
        finally:
            self.resources.close()

    # -- what a backend says ------------------------------------------------------------------------------------------

    def quick(self) -> dict[str, Any]:
        """Options of the reader that make it hurry."""
        raise NotImplementedError

    def build(self, replicas: int, by_name: bool) -> None:
        """Start the servers, into ``resources``, and the proxies before them."""
        raise NotImplementedError

    def open(self) -> Source:
        """A reader, not yet started, that fills ``db``."""
        raise NotImplementedError

    def store(self, changes: dict[str, int | None]) -> None:
        """Bring these endpoints to the servers; None: gone."""
        raise NotImplementedError

    def kill(self) -> None:
        """End the server, as a power failure would."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it again with what it has."""
        raise NotImplementedError

    def empty(self, *, other: bool = False) -> None:
        """Killed, and started with nothing in it; ``other``: as another server at the same place."""
        raise NotImplementedError

    def refill(self) -> None:
        """Who writes into the server comes back and writes all of the truth again."""
        raise NotImplementedError

    def vouch(self) -> str:
        """End the doubt about a server that was emptied, and say how."""
        return "nobody has to"

    def compact(self) -> None:
        """The server forgets its history."""
        raise NotImplementedError

    def beat(self) -> None:
        """A sign of life of who writes."""

    def expire(self) -> None:
        """The reader's credentials are no longer any."""
        raise NotImplementedError

    def renew(self) -> None:
        """It is given others."""
        raise NotImplementedError

    def move(self) -> None:
        """The name by which the reader knows its server leads to another address, and nobody is at the old one."""
        raise NotImplementedError

    def guard(self) -> None:
        """From now on the reader needs credentials, and has them in a file. Before it starts."""
        raise NotImplementedError

    def half_write(self) -> bool:
        """What the reader reads next breaks off in the middle, in a way of the backend's own; False: it has none."""
        return False

    # -- the network --------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """No connection any more."""
        for proxy in self.proxies:
            proxy.cut()

    def mend(self) -> None:
        """All is well with the network."""
        for proxy in self.proxies:
            proxy.mend()

    # -- truth --------------------------------------------------------------------------------------------------------

    def new_addresses(self, count: int) -> list[str]:
        """Addresses that were never used."""
        return [ip_of(number) for number in itertools.islice(self._numbers, count)]

    def write(self, changes: dict[str, int | None]) -> None:
        """Change the truth, and tell the servers."""
        self.believe(changes)
        self.store(changes)

    def believe(self, changes: dict[str, int | None]) -> None:
        """Change the truth only: the servers are told later."""
        for ip, identity in changes.items():
            if identity is None:
                self.truth.pop(ip, None)
                self.removed.add(ip)
            else:
                self.truth[ip] = identity

    def some_change(self) -> dict[str, int | None]:
        """One endpoint goes, one comes, one becomes another."""
        first, second, *_ = sorted(self.truth)
        (new,) = self.new_addresses(1)
        return {first: None, second: self.truth[second] + 1, new: IDENTITY}

    # -- the reader ---------------------------------------------------------------------------------------------------

    @property
    def source(self) -> Source:
        """The reader. One that was stopped is none."""
        assert self._source is not None
        return self._source

    def start_reader(self) -> None:
        """A new reader of the same tables."""
        self._source = self.open()
        self._source.start()

    def stop_reader(self) -> None:
        """It ends, whatever it waits for."""
        source, self._source = self.source, None
        source.stop()
        assert source.join(10), f"{self.backend}: the reader did not end"
        if source.failure is not None:
            raise AssertionError(f"{self.backend}: the reader has failed") from source.failure

    def row(self, snapshot: Snapshot | None = None) -> SourceRow:
        """What ``sources`` says of the endpoints."""
        key = SourceKey(CLUSTER, Endpoints.name)
        return (snapshot or self.db.snapshot())[Sources].get(key) or SourceRow(key)

    def rows(self, snapshot: Snapshot) -> dict[str, int]:
        """The endpoints that a snapshot has."""
        return {row.key.ip: row.identity for row in snapshot[Endpoints].values()}

    def until(self, holds: Callable[[Snapshot], bool], what: str, *, beat_s: float = WAIT_S) -> Snapshot:
        """The first snapshot that fulfils a condition. Who writes gives a sign of life every ``beat_s`` seconds."""
        end = monotonic() + WAIT_S
        while True:
            snapshot = self.db.snapshot()
            if holds(snapshot):
                return snapshot
            if self._source is not None and self._source.failure is not None:
                raise AssertionError(f"{self.backend}: the reader has failed") from self._source.failure
            watches = [snapshot[table].watch() for table in (Endpoints, Sources)]
            if WatchSet(*watches).wait(timeout=max(0.0, min(beat_s, end - monotonic()))):
                continue
            if monotonic() < end:
                self.beat()
            else:
                told = self.row(snapshot)
                rows, truth = self.rows(snapshot).items(), self.truth.items()
                raise AssertionError(
                    f"{self.backend}: {what} did not come; sources: {told}; "
                    f"missing {sorted(truth - rows)[:5]}, too much {sorted(rows - truth)[:5]}"
                )

    def is_right(self, snapshot: Snapshot) -> bool:
        """Whether the tables equal the truth, and ``sources`` says so."""
        return self.row(snapshot).state == "synced" and self.rows(snapshot) == self.truth

    def converge(self, what: str = "the truth") -> None:
        """Wait until it is right, and require that nothing was ever deleted that was not taken out of the truth."""
        self.until(self.is_right, what, beat_s=_BEAT_S)
        false = self.deletions.now() - self.removed
        assert not false, f"{self.backend}: deleted and never removed: {sorted(false)}"
        self.db.check()
