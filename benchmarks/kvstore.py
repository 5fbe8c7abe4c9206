"""Endpoints from a real etcd into their table, beside the bare client that lists and decodes the same keys."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from ingest import KvstoreOptions
from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd
from ingest.kvstore.session import KvstoreSource
from ingest.reflect import Timings
from statedb import Database
from statedb.catalog import TABLES, Endpoint, EndpointKey, Endpoints
from statedb.catalog.wire import ips, keys

from .harness import Digest, Figure, Outcome, Size, median, require, same, timed, workload

CLUSTER = "cluster1"
PREFIX = f"{keys.IPS}/"
_WAIT_S = 120.0


@workload("kvstore")
def kvstore(size: Size) -> Iterator[Outcome]:
    """All endpoints of an etcd into the table: the time beside the bare client's, and where it goes."""
    ratios: list[float] = []
    splits: list[Timings] = []
    bare: list[float] = []
    total: list[float] = []
    with LocalEtcd() as etcd:
        etcd.start()
        with etcd.client() as client:
            fill(client, size.rows)
            for _ in range(min(size.repeats, 5)):
                bare.append(timed(_list_bare, client, size.rows))
                seconds, split, found = _through_source(etcd.endpoint, size.rows)
                total.append(seconds)
                splits.append(split)
                ratios.append(seconds / bare[-1])
    yield Figure("bare client, list and decode", median(bare), "s")
    yield Figure("into the table", median(total), "s")
    yield Figure("ratio", median(ratios), "x", 3.0)
    for name in ("client_s", "decode_s", "claims_s", "commit_s"):
        share = median([getattr(split, name) for split in splits])
        yield Figure(f"of it {name.removesuffix('_s')}", share, "s")
    yield found


def endpoint_of(number: int) -> Endpoint:
    """One of the endpoints, as they are at first."""
    ip = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    node = number % 1000
    return Endpoint(
        EndpointKey(CLUSTER, ip),
        identity=65_536 + number % 3000,
        host_ip=f"172.18.{node >> 8}.{node & 255}",
        namespace=f"namespace-{number % 50}",
        pod=f"pod-{number}",
        service_account="default",
    )


def fill(client: Client, rows: int) -> None:
    """Put so many endpoints."""
    for start in range(0, rows, 100):
        endpoints = [endpoint_of(number) for number in range(start, min(start + 100, rows))]
        client.put_many([(f"{PREFIX}{ips.name(each)}".encode(), ips.encode(each)) for each in endpoints])


def _list_bare(client: Client, rows: int) -> None:
    """What anybody must do who wants the rows: list the keys in pages, decode each value into a struct."""
    found = []
    for page in client.list(PREFIX.encode()):
        found += [ips.decode(CLUSTER, kv.key.decode()[len(PREFIX) :], kv.value) for kv in page.kvs]
    require(len(found) == rows, "the bare client found all keys")


def _through_source(endpoint: str, rows: int) -> tuple[float, Timings, Digest]:
    db = Database(*TABLES)
    options = KvstoreOptions(endpoints=(endpoint,), tables=("endpoints",))
    source = KvstoreSource(db, CLUSTER, 1, options)
    started = time.perf_counter()
    source.start()
    require(db.wait_initialized(Endpoints, timeout=_WAIT_S), "the table came")
    seconds = time.perf_counter() - started
    require(len(db.snapshot()[Endpoints]) == rows, "the table has all rows")
    expected = [each for _, each in sorted((each.key, each) for each in map(endpoint_of, range(rows)))]
    found = same(db.snapshot()[Endpoints].values(), expected, "the rows are those that were put")
    split = msgspec.structs.replace(source.split)
    source.stop()
    source.join()
    return seconds, split, found
