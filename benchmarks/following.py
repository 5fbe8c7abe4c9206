"""An etcd that changes, followed into a table: what an event costs, how soon a consumer wakes, what an agent weighs."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from agent.remote import Remote
from catalog import (
    TABLES,
    Backend,
    BackendKey,
    Endpoints,
    Frontend,
    Identity,
    IdentityKey,
    Node,
    NodeAddress,
    NodeKey,
    Service,
    ServiceKey,
)
from catalog.wire import identities, ips, keys, nodes, services
from ingest import KvstoreOptions, Source
from ingest.etcd import WatchEvent, WatchStream
from ingest.etcd.local import LocalEtcd
from ingest.kvstore import open as open_kvstore
from statedb import Database

from .harness import FULL, Figure, Outcome, Size, digest, median, require, rounds, workload
from .kvstore import CLUSTER, PREFIX, endpoint_of, fill

_RATE = 500.0
_WAIT_S = 120.0
_FIRSTS = itertools.count(1_000_000, 100_000)
"""The identity that the first write of each run gives; no endpoint has one as high before."""

Seen = Callable[[int], None]
"""Called with the number of a write as soon as it is seen."""


@workload("kvstore-watch")
def follow(size: Size) -> Iterator[Outcome]:
    """CPU time of our process for each event of a watch, beside the bare client that decodes them."""
    events = size.rows // 2
    ours, bare = [], []
    with LocalEtcd() as etcd:
        etcd.start()
        with etcd.client() as client:
            fill(client, size.rows)
        for _ in rounds(min(size.repeats, 5), "kvstore-watch"):
            bare.append(_bare_cpu(etcd, events, size.rows))
            ours.append(_our_cpu(etcd, events, size.rows))
    yield Figure("bare client, watch and decode, CPU", median(bare) / events * 1e6, "us/event")
    yield Figure("into the table, CPU", median(ours) / events * 1e6, "us/event")
    yield Figure("ratio", median([one / other for one, other in zip(ours, bare)]), "x", 3.0)
    yield digest([events])


@workload("kvstore-propagation")
def propagate(size: Size) -> Iterator[Outcome]:
    """From an etcd's yes to a write until a consumer has it, at 500 writes a second, beside the bare client."""
    count = 2000 if size.repeats > 1 else 50
    ours, bare = list[float](), list[float]()
    with LocalEtcd() as etcd:
        etcd.start()
        with etcd.client() as client:
            fill(client, size.rows)
        for _ in rounds(min(size.repeats, 3), "kvstore-propagation"):
            bare += _delays(etcd, count, size.rows, _follow_bare)
            ours += _delays(etcd, count, size.rows, _follow_table)
    beyond = (median(ours) - median(bare)) * 1e3
    yield Figure("bare client, p50", median(bare) * 1e3, "ms")
    yield Figure("a consumer of the table, p50", median(ours) * 1e3, "ms")
    yield Figure("a consumer of the table, p99", sorted(ours)[len(ours) * 99 // 100] * 1e3, "ms")
    yield Figure("beyond the bare client, p50", beyond, "ms", 3.0)
    yield digest([count])


@workload("agent-memory", FULL)
def weigh(size: Size) -> Iterator[Outcome]:
    """Resident memory of a whole agent: 40 000 endpoints, 5 000 identities, 1 000 nodes, 1 000 services."""
    status = Path("/proc/self/status")
    if not status.exists():
        print("  no figure: the resident memory of a process is only known on Linux", file=sys.stderr)
        yield digest([])
        return
    with LocalEtcd() as etcd, tempfile.TemporaryDirectory() as directory:
        etcd.start()
        with etcd.client() as client:
            fill(client, size.rows)
            client_put = _rest_of_cluster(size.rows)
            for start in range(0, len(client_put), 100):
                client.put_many(client_put[start : start + 100])
        config = Path(directory) / "agent.yaml"
        config.write_text(
            f"cluster: {{name: {CLUSTER}, id: 1}}\ningest: {{kvstore: {{endpoints: ['{etcd.endpoint}']}}}}\n"
            f"http: {{listen: 'unix:{directory}/s.sock'}}\n"
        )
        bytes_after = _resident(config, f"unix:{directory}/s.sock", size.rows)
    yield Figure("kvstore, resident memory of the agent", bytes_after / 1e6, "MB", 250.0)
    yield digest([size.rows])


# -- the cost of an event ---------------------------------------------------------------------------------------------


def _bare_cpu(etcd: LocalEtcd, events: int, rows: int) -> float:
    """Seconds of CPU for taking so many events and making a struct of each."""
    with etcd.client() as client:
        revision = client.get(PREFIX.encode()).header.revision
        with client.watch({PREFIX.encode(): revision + 1}) as stream, _writer(etcd, events, 0, rows):
            begun, seen = time.process_time(), 0
            for events_seen in _batches(stream):
                for event in events_seen:
                    ips.decode(CLUSTER, event.kv.key.decode()[len(PREFIX) :], event.kv.value)
                seen += len(events_seen)
                if seen >= events:
                    break
            return time.process_time() - begun


def _batches(stream: WatchStream) -> Iterator[Sequence[WatchEvent]]:
    """What comes on a watch; raises AssertionError after a long silence."""
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        batch = stream.next(1.0)
        if batch is not None:
            yield batch.events
            deadline = time.monotonic() + _WAIT_S
    require(False, "the events came")


def _our_cpu(etcd: LocalEtcd, events: int, rows: int) -> float:
    """Seconds of CPU until the table has the last of so many writes."""
    db, source = _started(etcd)
    last = endpoint_of((events - 1) % rows).key
    with _writer(etcd, events, 0, rows) as writer:
        begun = time.process_time()
        deadline = time.monotonic() + _WAIT_S
        while db.snapshot()[Endpoints][last].identity != writer.first + events - 1:  # nobody holds history
            require(time.monotonic() < deadline, "the last write came")
            db.snapshot()[Endpoints].watch(last).wait(0.2)
        took = time.process_time() - begun
    _end(source)
    return took


def _started(etcd: LocalEtcd) -> tuple[Database, Source]:
    db = Database(*TABLES)
    source = open_kvstore(db, CLUSTER, 1, KvstoreOptions(endpoints=(etcd.endpoint,), tables=("endpoints",)))
    source.start()
    require(db.wait_initialized(Endpoints, timeout=_WAIT_S), "the table came")
    return db, source


def _end(source: Source) -> None:
    source.stop()
    require(source.join(10), "the source ended")


class _writer:  # noqa: N801  # used as a function
    """The writing process, while the block runs; its end is waited for. ``accepted``: when its writes were accepted."""

    def __init__(self, etcd: LocalEtcd, count: int, rate: float, rows: int) -> None:
        self.first = next(_FIRSTS)
        numbers = map(str, (count, rate, rows, self.first))
        command = [sys.executable, "-m", "benchmarks.etcd_writer", etcd.endpoint, *numbers]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
        self.accepted: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        told = self._process.communicate(timeout=_WAIT_S)[0]
        require(self._process.returncode == 0, "the writer ended well")
        self.accepted = json.loads(told) if told else []


# -- how soon ---------------------------------------------------------------------------------------------------------


def _delays(etcd: LocalEtcd, count: int, rows: int, watching: Callable[..., Iterator[int]]) -> list[float]:
    """Seconds from each write's acceptance until it was seen; not below zero: news may overtake the yes."""
    seen: dict[int, float] = {}
    watched = watching(etcd)
    next(watched)  # it stands
    with _writer(etcd, count, _RATE, rows) as writer:
        for identity in watched:
            number = identity - writer.first
            seen.setdefault(number, time.monotonic())
            if number == count - 1:
                break
    watched.close()  # type: ignore[attr-defined]  # a generator
    require(len(seen) > count * 0.9, "nearly every write was seen for itself")
    return [max(0.0, at - writer.accepted[number]) for number, at in seen.items()]


def _follow_bare(etcd: LocalEtcd) -> Iterator[int]:
    with etcd.client() as client:
        revision = client.get(PREFIX.encode()).header.revision
        with client.watch({PREFIX.encode(): revision + 1}) as stream:
            yield -1
            for events in _batches(stream):
                for event in events:
                    row = ips.decode(CLUSTER, event.kv.key.decode()[len(PREFIX) :], event.kv.value)
                    assert row is not None
                    yield row.identity


def _follow_table(etcd: LocalEtcd) -> Iterator[int]:
    db, source = _started(etcd)
    with db.changes(Endpoints) as stream:
        stream.next(0)
        yield -1
        try:
            while (batch := stream.next(_WAIT_S)) is not None:
                for change in batch:
                    yield change.row.identity
                del batch
        finally:
            _end(source)


# -- how much ---------------------------------------------------------------------------------------------------------


def _rest_of_cluster(rows: int) -> list[tuple[bytes, bytes]]:
    """Keys and values of the identities, nodes and services that go with so many endpoints."""
    items = []
    for number in range(rows // 8):
        labels = tuple(sorted((f"k8s:app=app-{number}", f"k8s:io.kubernetes.pod.namespace=namespace-{number % 50}")))
        identity = Identity(IdentityKey(CLUSTER, 65_536 + number), labels, f"namespace-{number % 50}")
        items.append((f"{keys.IDENTITIES}/{identities.name(identity)}", identities.encode(identity)))
    for number in range(rows // 40):
        node = Node(
            NodeKey(CLUSTER, f"node-{number}"),
            (NodeAddress("InternalIP", f"172.18.{number >> 8}.{number & 255}"),),
            (f"10.{number >> 8}.{number & 255}.0/24",),
            labels=(("kubernetes.io/hostname", f"node-{number}"), ("topology.kubernetes.io/zone", f"z{number % 3}")),
            cluster_id=1,
        )
        items.append((f"{keys.NODES}/{nodes.name(node)}", nodes.encode(node)))
        service = Service(
            ServiceKey(CLUSTER, f"namespace-{number % 50}", f"service-{number}"),
            (Frontend(f"10.96.{number >> 8}.{number & 255}", "http", "TCP", 80),),
            cluster_id=1,
        )
        backends = [
            Backend(BackendKey(*_words(service.key), f"10.{n >> 8}.{n & 255}.7", 8080, "TCP"), ("http",))
            for n in range(number * 4, number * 4 + 4)
        ]
        items.append((f"{keys.SERVICES}/{services.name(service)}", services.encode(service, backends)))
    return [(key.encode(), value) for key, value in items]


def _words(key: ServiceKey) -> tuple[str, str, str]:
    return key.cluster, key.namespace, key.name


def _resident(config: Path, address: str, rows: int) -> int:
    """Bytes of a synced agent's process."""
    command = [sys.executable, "-m", "agent.main", "run", "-c", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as agent:
        try:
            assert agent.stdout is not None
            require(agent.stdout.readline().startswith("serving on "), "the agent serves")
            require(agent.stdout.readline().startswith("synced after "), "the agent is synced")
            tables = {each["name"]: each["rows"] for each in Remote(address).json("/tables")["tables"]}
            require(tables["endpoints"] == rows, "it has all endpoints")
            require(tables["identities"] == rows // 8, "it has all identities")
            status = Path(f"/proc/{agent.pid}/status").read_text()
        finally:
            agent.terminate()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024
