"""Consumers: looking addresses up in ipcache, and how soon a commit is seen in the derived table."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator

import msgspec

from consumers.tables.ipcache import IPCache, derive_ipcache, lookup
from statedb import Database
from statedb.catalog import Endpoint, Endpoints, Nodes

from .harness import Figure, Outcome, Size, median, require, rounds, same, workload
from .kvstore import CLUSTER, endpoint_of

_ENTRIES = 50_000
_WAIT_S = 60.0


@workload("ipcache")
def look_up(size: Size) -> Iterator[Outcome]:
    """50 000 entries: a lookup, and from a commit of an endpoint until a reader sees it in ipcache."""
    entries = _ENTRIES if size.rows >= 40_000 else size.rows
    db = Database(Endpoints, Nodes)
    endpoints = [endpoint_of(number) for number in range(entries)]
    with db.write(Endpoints) as txn:
        txn[Endpoints].insert_all(endpoints)
    with derive_ipcache(db, CLUSTER) as follower:
        begun = time.perf_counter()
        require(db.wait_initialized(IPCache, timeout=_WAIT_S), "ipcache is derived")
        derived_s = time.perf_counter() - begun
        require(len(db.snapshot()[IPCache]) == entries, "ipcache has an entry for each endpoint")
        chance = random.Random(1)
        addresses = [chance.choice(endpoints).key.ip for _ in range(entries)]
        plain, bound = [], []
        for _ in rounds(size.repeats, "ipcache"):
            snapshot = db.snapshot()
            plain.append(_each(lambda address, of=snapshot: lookup(of, address), addresses))
            longest = snapshot[IPCache.by_network].longest
            bound.append(_each(longest, addresses))
            del snapshot, longest
        waits = [_visible(db, endpoints[number % entries], 1_000_000 + number) for number in range(min(entries, 2000))]
        require(follower.wait_applied(timeout=_WAIT_S), "all is derived")
        found = [lookup(db.snapshot(), each.key.ip) for each in endpoints[:1000]]
        yield same(
            [each and each.network for each in found], [each.key.ip for each in endpoints[:1000]], "all are found"
        )
    yield Figure("derived from nothing", derived_s, "s")
    yield Figure("lookup(snapshot, address)", median(plain) * 1e6, "us", 3.0)
    yield Figure("the same, bound once", median(bound) * 1e6, "us", 3.0)
    yield Figure("a commit is seen in ipcache, p50", statistics.median(waits) * 1e3, "ms", 1.0)
    yield Figure("p99", sorted(waits)[len(waits) * 99 // 100] * 1e3, "ms")


def _each(find: object, addresses: list[str]) -> float:
    """Seconds for one address."""
    assert callable(find)
    begun = time.perf_counter()
    for address in addresses:
        find(address)
    return (time.perf_counter() - begun) / len(addresses)


def _visible(db: Database, endpoint: Endpoint, identity: int) -> float:
    """Seconds from the end of the commit until a reader that waits for it has it."""
    watch = db.snapshot()[IPCache].watch(endpoint.key.ip)
    with db.write(Endpoints) as txn:
        txn[Endpoints].insert(msgspec.structs.replace(endpoint, identity=identity))
    begun = time.perf_counter()
    require(watch.wait(_WAIT_S), "the entry changes")
    took = time.perf_counter() - begun
    entry = lookup(db.snapshot(), endpoint.key.ip)
    require(entry is not None and entry.identity == identity, "ipcache has the identity that was written")
    return took
