"""A server that changes, followed into a table: what an event costs, and how soon a consumer has it.

The server is a real etcd or a real API server; beside us, by turns, the bare client that makes a struct of each value.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Generator, Iterator
from contextlib import closing

import msgspec

from ingest.reflect import Timings
from statedb.agent.process.interpreter import tune_interpreter
from statedb.catalog import Endpoints

from . import feeds
from .feeds import WAIT_S, Feed, ended
from .harness import Figure, Outcome, Size, digest, median, require, rounds, timed, workload

_RATE = 500.0


@workload("kvstore-watch")
def follow_kvstore(size: Size) -> Iterator[Outcome]:
    """CPU time of our process for each event of an etcd's watch, beside the bare client that decodes them."""
    with feeds.kvstore(size.rows) as feed:
        for figure in _events(feed, size):
            yield msgspec.structs.replace(figure, at_most=3.0) if figure.name == "ratio, CPU" else figure
    yield digest([size.rows])


@workload("kvstore-propagation")
def propagate_kvstore(size: Size) -> Iterator[Outcome]:
    """From an etcd's yes to a write until a consumer has it, at 500 writes a second, beside the bare client."""
    with feeds.kvstore(size.rows) as feed:
        yield from _propagation(feed, size)
    yield digest([size.rows])


@workload("kubernetes")
def kubernetes(size: Size) -> Iterator[Outcome]:
    """All endpoints of a real API server into the table: the time beside the bare client's, and where it goes."""
    with feeds.kubernetes(size.rows) as feed:
        if feed is not None:
            yield from _lists(feed, size)
    yield digest([size.rows])


@workload("kubernetes-watch")
def follow_kubernetes(size: Size) -> Iterator[Outcome]:
    """Time and CPU of our process for each event of an API server's watch, beside the bare client."""
    with feeds.kubernetes(size.rows) as feed:
        if feed is not None:
            for figure in _events(feed, size):
                yield msgspec.structs.replace(figure, at_most=3.0) if figure.name == "ratio, time" else figure
    yield digest([size.rows])


@workload("kubernetes-propagation")
def propagate_kubernetes(size: Size) -> Iterator[Outcome]:
    """From the yes of an API server's store to a write until a consumer has it, at 500 a second."""
    with feeds.kubernetes(size.rows) as feed:
        if feed is not None:
            yield from _propagation(feed, size)
    yield digest([size.rows])


# -- what a list costs ------------------------------------------------------------------------------------------------


def _lists(feed: Feed, size: Size) -> Iterator[Figure]:
    """Of an API server; the source reads as it does by default, as a stream where that is offered."""
    bare, ours, cpu, splits = [], [], [], list[Timings]()
    for _ in rounds(min(size.repeats, 5), "kubernetes"):
        begun = time.process_time()
        bare.append(timed(_list_bare, feed))
        bare_cpu = time.process_time() - begun
        begun = time.process_time()
        ours.append(timed(_list_into_table, feed, splits))
        cpu.append((time.process_time() - begun) / bare_cpu)
    yield Figure("bare client, list and decode", median(bare), "s")
    yield Figure("into the table", median(ours), "s")
    yield Figure("ratio, time", median([one / other for one, other in zip(ours, bare)]), "x", 3.0)
    yield Figure("ratio, CPU", median(cpu), "x")
    for name in ("client_s", "decode_s", "claims_s", "commit_s"):
        yield Figure(f"of it {name.removesuffix('_s')}", median([getattr(each, name) for each in splits]), "s")


def _list_bare(feed: Feed) -> None:
    require(feed.list_bare() == feed.rows, "the bare client found all objects")


def _list_into_table(feed: Feed, splits: list[Timings]) -> None:
    db, source = feed.started()
    require(len(db.snapshot()[Endpoints]) == feed.rows, "the table has all rows")
    splits.append(msgspec.structs.replace(source.split))
    ended(source)


# -- what an event costs ----------------------------------------------------------------------------------------------


def _events(feed: Feed, size: Size) -> Iterator[Figure]:
    """Half as many events as rows, written as fast as the server takes them; the collector is as an agent has it."""
    events = size.rows // 2
    ours, bare = list[tuple[float, float]](), list[tuple[float, float]]()
    thresholds = gc.get_threshold()
    tune_interpreter()
    try:
        for _ in rounds(min(size.repeats, 5), f"{feed.name}-watch"):
            bare.append(_bare_events(feed, events))
            ours.append(_our_events(feed, events))
    finally:
        gc.set_threshold(*thresholds)
    for place, what in enumerate(("CPU", "time")):
        yield Figure(
            f"bare client, watch and decode, {what}", median([each[place] for each in bare]) / events * 1e6, "us/event"
        )
        yield Figure(f"into the table, {what}", median([each[place] for each in ours]) / events * 1e6, "us/event")
        yield Figure(f"ratio, {what}", median([one[place] / other[place] for one, other in zip(ours, bare)]), "x")


def _bare_events(feed: Feed, events: int) -> tuple[float, float]:
    """Seconds of CPU, and of time, for taking so many events and making a struct of each."""
    with closing(feed.bare()) as batches:
        next(batches)
        seen = 0
        with feed.writer(events, 0):
            for batch in batches:
                if not seen:
                    begun = (time.process_time(), time.perf_counter())
                seen += len(batch)
                if seen >= events:
                    return time.process_time() - begun[0], time.perf_counter() - begun[1]
    raise AssertionError("the watch ended before all events had come")


def _our_events(feed: Feed, events: int) -> tuple[float, float]:
    """Seconds of CPU, and of time, until the table has the last of so many writes."""
    db, source = feed.started()
    last = feed.key_of((events - 1) % feed.rows)
    before = db.snapshot()[Endpoints].watch()
    with feed.writer(events, 0) as writer:
        before.wait(WAIT_S)
        begun = (time.process_time(), time.perf_counter())
        deadline = time.monotonic() + WAIT_S
        while db.snapshot()[Endpoints][last].identity != writer.first + events - 1:  # nobody holds history
            require(time.monotonic() < deadline, "the last write came")
            db.snapshot()[Endpoints].watch(last).wait(0.2)
        took = time.process_time() - begun[0], time.perf_counter() - begun[1]
    ended(source)
    return took


# -- how soon ---------------------------------------------------------------------------------------------------------


def _propagation(feed: Feed, size: Size) -> Iterator[Figure]:
    count = 2000 if size.repeats > 1 else 50
    ours, bare = list[float](), list[float]()
    for _ in rounds(min(size.repeats, 3), f"{feed.name}-propagation"):
        bare += _delays(feed, count, feed.bare())
        ours += _delays(feed, count, _changes_of_table(feed))
    yield Figure("bare client, p50", median(bare) * 1e3, "ms")
    yield Figure("a consumer of the table, p50", median(ours) * 1e3, "ms")
    yield Figure("a consumer of the table, p99", sorted(ours)[len(ours) * 99 // 100] * 1e3, "ms")
    yield Figure("beyond the bare client, p50", (median(ours) - median(bare)) * 1e3, "ms", 3.0)


def _delays(feed: Feed, count: int, batches: Generator[list[int], None, None]) -> list[float]:
    """Seconds from each write's acceptance until it was seen; not below zero: news may overtake the yes."""
    seen: dict[int, float] = {}
    with closing(batches):
        next(batches)  # it stands
        with feed.writer(count, _RATE) as writer:
            while count - 1 not in seen:
                for identity in next(batches):
                    seen.setdefault(identity - writer.first, time.monotonic())
    require(len(seen) > count * 0.9, "nearly every write was seen for itself")
    return [max(0.0, at - writer.accepted[number]) for number, at in seen.items()]


def _changes_of_table(feed: Feed) -> Generator[list[int], None, None]:
    db, source = feed.started()
    with db.changes(Endpoints) as stream:
        stream.next(0)
        yield []
        try:
            while (batch := stream.next(WAIT_S)) is not None:
                identities = [change.row.identity for change in batch]
                del batch
                yield identities
        finally:
            ended(source)
