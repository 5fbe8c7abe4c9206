"""A server with endpoints that change, as our source and a bare client follow it; another process writes."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, Self

import msgspec

from ingest import KubernetesOptions, KvstoreOptions, Source
from ingest.etcd.local import LocalEtcd
from ingest.kubernetes.session import KubernetesSource
from ingest.kvstore.session import KvstoreSource
from ingest.reflect import Timings
from statedb import Database
from statedb.catalog import TABLES, Endpoint, EndpointKey, Endpoints
from statedb.catalog.wire import ips

from . import kube
from .harness import require
from .kvstore import CLUSTER, PREFIX, endpoint_of, fill

WAIT_S = 120.0

_FIRSTS = itertools.count(1_000_000, 100_000)
"""The identity that the first write of each run gives; no endpoint has one as high before."""


class Measured(Source, Protocol):
    """A source that says where its time went."""

    @property
    def split(self) -> Timings:
        """So far."""
        ...


class Feed(msgspec.Struct, frozen=True):
    """One server. ``bare`` yields an empty list when it stands, then the identities of each batch, as structs."""

    name: str
    rows: int
    etcd: LocalEtcd
    open: Callable[[Database], Measured]
    list_bare: Callable[[], int]
    bare: Callable[[], Generator[list[int], None, None]]
    key_of: Callable[[int], EndpointKey]
    template: str = ""

    def started(self) -> tuple[Database, Measured]:
        """A database that has all endpoints, and the source that fills it."""
        db = Database(*TABLES)
        source = self.open(db)
        source.start()
        require(db.wait_initialized(Endpoints, timeout=WAIT_S), "the table came")
        return db, source

    def writer(self, count: int, rate: float) -> Writer:
        """A process that writes so many values, at so many a second (0: as fast as it can)."""
        numbers = [str(each) for each in (count, rate, self.rows)]
        return Writer([self.etcd.endpoint, *numbers], self.template)


class Writer:
    """The writing process, while the block runs; its end is waited for. ``accepted``: when its writes were accepted."""

    def __init__(self, arguments: list[str], template: str) -> None:
        """It begins at once."""
        self.first = next(_FIRSTS)
        command = [sys.executable, "-m", "benchmarks.etcd_writer", *arguments, str(self.first)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=Path(__file__).parents[1])
        assert self._process.stdin is not None
        self._process.stdin.write(template.encode())
        self._process.stdin.close()
        self._process.stdin = None
        self.accepted: list[float] = []

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until all is written."""
        told = self._process.communicate(timeout=WAIT_S)[0]
        require(self._process.returncode == 0, "the writer ended well")
        self.accepted = json.loads(told) if told else []


def ended(source: Source) -> None:
    """Stop it."""
    source.stop()
    require(source.join(10), "the source ended")


@contextmanager
def kvstore(rows: int) -> Iterator[Feed]:
    """An etcd in KVStore layout."""
    with LocalEtcd() as etcd:
        etcd.start()
        with etcd.client() as client:
            fill(client, rows)
        options = KvstoreOptions(endpoints=(etcd.endpoint,), tables=("endpoints",))
        yield Feed(
            "kvstore",
            rows,
            etcd,
            lambda db: KvstoreSource(db, CLUSTER, 1, options),
            lambda: _list_etcd(etcd),
            lambda: _watch_etcd(etcd),
            lambda number: endpoint_of(number).key,
        )


@contextmanager
def kubernetes(rows: int) -> Iterator[Feed | None]:
    """An API server; None where none can be had."""
    with kube.served() as server:
        if server is None:
            yield None
            return
        template = json.dumps(kube.fill(server, rows))
        options = KubernetesOptions(kubeconfig=str(server.kubeconfig()), tables=("endpoints",))
        yield Feed(
            "kubernetes",
            rows,
            server.etcd,
            lambda db: KubernetesSource(db, CLUSTER, 1, options),
            lambda: kube.list_bare(options)[0],
            lambda: kube.watch_bare(options),
            lambda number: EndpointKey(CLUSTER, kube.address(number)),
            template,
        )


def _list_etcd(etcd: LocalEtcd) -> int:
    with etcd.client() as client:
        return sum(len([_decoded(kv.key, kv.value) for kv in page.kvs]) for page in client.list(PREFIX.encode()))


def _watch_etcd(etcd: LocalEtcd) -> Generator[list[int], None, None]:
    with etcd.client() as client:
        revision = client.get(PREFIX.encode()).header.revision
        with client.watch({PREFIX.encode(): revision + 1}) as stream:
            yield []
            deadline = time.monotonic() + WAIT_S
            while time.monotonic() < deadline:
                batch = stream.next(1.0)
                if batch is not None:
                    yield [_decoded(event.kv.key, event.kv.value).identity for event in batch.events]
                    deadline = time.monotonic() + WAIT_S
    require(False, "the events came")


def _decoded(key: bytes, value: bytes) -> Endpoint:
    row = ips.decode(CLUSTER, key.decode()[len(PREFIX) :], value)
    assert row is not None
    return row
