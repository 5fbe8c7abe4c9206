"""Watches against a real server: the resume point, fragments, refusals, compaction, several prefixes."""

import re
import threading
from urllib.request import urlopen

import pytest

from ingest.etcd import DELETE, PUT, Client, Closed, Compacted, EtcdError, Unavailable, WatchBatch, WatchStream
from ingest.etcd.local import LocalEtcd
from ingest.etcd.messages import CLASSES

from .streams import batches, until_ready


def drain(stream: WatchStream) -> None:
    for _ in batches(stream):
        pass


def events(stream: WatchStream, count: int) -> list[tuple[int, bytes, bytes]]:
    seen: list[tuple[int, bytes, bytes]] = []
    for batch in batches(stream):
        seen += [(event.type, event.kv.key, event.kv.value) for event in batch.events]
        if len(seen) >= count:
            return seen
    raise AssertionError


@pytest.mark.parametrize("blocks", [False, True])
def test_puts_and_deletes_come_in_order(client: Client, blocks: bool):
    start = client.get(b"x").header.revision + 1
    with client.watch({b"a/": start}, blocks=blocks) as stream:
        client.put(b"a/1", b"1")
        client.put(b"b/1", b"not ours")
        client.put(b"a/1", b"2")
        client.delete(b"a/1")
        assert events(stream, 3) == [(PUT, b"a/1", b"1"), (PUT, b"a/1", b"2"), (DELETE, b"a/1", b"")]


def test_several_prefixes_on_one_stream_are_told_apart(client: Client):
    start = client.get(b"x").header.revision + 1
    with client.watch({b"a/": start, b"b/": start}) as stream:
        client.put(b"a/1", b"")
        client.put(b"b/1", b"")
        seen = {}
        for batch in batches(stream):
            seen[batch.prefix] = [event.kv.key for event in batch.events]
            if len(seen) == 2:
                break
    assert seen == {b"a/": [b"a/1"], b"b/": [b"b/1"]}


def test_a_revision_is_never_cut_in_two(client: Client):
    start = client.get(b"x").header.revision + 1
    for number in range(30):
        client.put_many([(b"a/%d" % key, b"%d" % number) for key in range(50)])
    with client.watch({b"a/": start}) as stream:
        values: list[bytes] = []
        for batch in batches(stream):
            assert len(batch.events) % 50 == 0
            values += [event.kv.value for event in batch.events]
            assert batch.resume == batch.events[-1].kv.mod_revision + 1
            if len(values) == 1500:
                break
    assert values == [b"%d" % number for number in range(30) for _ in range(50)]


def test_the_resume_point_is_behind_the_last_event_and_not_at_the_head_of_the_store(client: Client):
    start = client.get(b"x").header.revision + 1
    for number in range(1500):  # more than a server sends at once to a watch that catches up
        client.put(b"a/%d" % (number % 10), b"%d" % number)
    head = client.get(b"x").header.revision
    seen: list[bytes] = []
    resume = start
    while len(seen) < 1500:  # a new watch after each batch: nothing may be lost and nothing come twice
        with client.watch({b"a/": resume}) as stream:
            batch = next(batches(stream))
            seen += [event.kv.value for event in batch.events]
            assert batch.resume == batch.events[-1].kv.mod_revision + 1
            resume = batch.resume
    assert seen == [b"%d" % number for number in range(1500)]
    assert resume == head + 1


def test_large_responses_come_in_fragments_that_are_put_together(
    etcd: LocalEtcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.etcd.endpoint._MESSAGE_BYTES_MAX", 4 << 20)  # the whole would not fit
    with etcd.client() as client:
        start = client.get(b"x").header.revision + 1
        for number in range(80):
            client.put(b"big/%02d" % number, b"v" * 100_000)
        with client.watch({b"big/": start}) as stream:
            seen = events(stream, 80)
    assert [key for _, key, _ in seen] == [b"big/%02d" % number for number in range(80)]
    assert {len(value) for _, _, value in seen} == {100_000}


def test_a_compacted_start_says_from_where_history_is_left(client: Client):
    start = client.put(b"a/1", b"").revision
    revision = client.put(b"a/2", b"").revision
    client.compact(revision)
    with client.watch({b"a/": start - 1}) as stream, pytest.raises(Compacted) as raised:
        next(batches(stream))
    assert raised.value.revision == revision


def test_closing_wakes_who_waits(client: Client):
    stream = client.watch({b"a/": client.get(b"x").header.revision + 1})
    outcome: list[object] = []

    def wait() -> None:
        try:
            while True:
                stream.next()
        except Closed as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    stream.close()
    thread.join(10)
    assert len(outcome) == 1
    with pytest.raises(Closed):
        drain(stream)


def test_closing_ends_the_watch_on_the_server_too(own_etcd: LocalEtcd):
    def watchers() -> int:
        text = urlopen(f"{own_etcd.endpoint}/metrics", timeout=10).read().decode()
        return int(float(re.search(r"^etcd_debugging_mvcc_watcher_total (\S+)$", text, re.MULTILINE)[1]))

    with own_etcd.client() as client:
        stream = client.watch({b"a/": 1, b"b/": 1})
        client.put(b"a/1", b"")
        assert events(stream, 1)
        until_ready(stream)
        assert watchers() == 2
        stream.close()
        for _ in range(1000):  # the server hears of it a moment later
            if watchers() == 0:
                return
        raise AssertionError(watchers())


@pytest.mark.parametrize("blocks", [False, True])
def test_closing_the_client_ends_its_watches(etcd: LocalEtcd, blocks: bool):
    client = etcd.client()
    stream = client.watch({b"a/": client.get(b"x").header.revision + 1}, blocks=blocks)
    client.close()
    with pytest.raises(Closed):
        drain(stream)


def test_a_reader_that_blocks_ends_when_its_watch_is_closed(client: Client):
    stream = client.watch({b"a/": client.get(b"x").header.revision + 1}, blocks=True)
    ended: list[Exception] = []

    def read() -> None:
        try:
            while True:
                stream.next()
        except EtcdError as error:
            ended.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    stream.close()
    reader.join(30)
    assert [type(error) for error in ended] == [Closed]


def test_a_reader_that_waits_for_room_ends_too(client: Client):
    start = client.get(b"x").header.revision + 1
    stream = client.watch({b"a/": start})
    for number in range(300):  # many more responses than the inbox holds
        client.put(b"a/%d" % number, b"")
    assert stream.next(10) is not None or stream.next(10) is not None
    running = stream._running
    assert running is not None
    stream.close()
    running._thread.join(10)
    assert not running._thread.is_alive()


@pytest.mark.parametrize("blocks", [False, True])
def test_a_server_that_dies_is_an_outage(own_etcd: LocalEtcd, blocks: bool):
    with own_etcd.client() as client, client.watch({b"a/": 1}, blocks=blocks) as stream:
        client.put(b"a/1", b"")
        assert events(stream, 1)
        own_etcd.kill()
        with pytest.raises(Unavailable):
            drain(stream)
        with pytest.raises(Unavailable):  # and again: it is over
            stream.next(10)


def test_whole_revisions_of_a_fragment_do_not_wait_for_the_rest():
    """What an outage leaves to catch up with may be one response of gigabytes."""

    def response(*revisions: int, fragment: bool) -> WatchBatch | None:
        events = [CLASSES["Event"](kv=CLASSES["KeyValue"](key=b"a/1", mod_revision=each)) for each in revisions]
        return stream._read(CLASSES["WatchResponse"](watch_id=1, events=events, fragment=fragment))

    def revisions(batch: WatchBatch | None) -> tuple[list[int], int] | None:
        return None if batch is None else ([event.kv.mod_revision for event in batch.events], batch.resume)

    stream = WatchStream(
        lambda *_, **__: None, {b"a/": 3}, (), lambda: (), lambda: None, lambda _: EtcdError(""), lambda _: None
    )
    assert revisions(response(3, 3, 4, 4, fragment=True)) == ([3, 3], 4)
    assert revisions(response(4, 4, fragment=True)) is None
    assert revisions(response(4, 5, fragment=True)) == ([4, 4, 4, 4, 4], 5)
    assert revisions(response(5, 6, fragment=False)) == ([5, 5, 6], 7)


def test_catching_up_takes_no_more_memory_than_the_inbox(own_etcd: LocalEtcd):
    with own_etcd.client() as client:
        for _ in range(60):
            client.put(b"a/big", b"v" * 1_000_000)
        with client.watch({b"a/": 2}) as stream:
            running = stream._running
            assert running is not None
            seen = 0
            for batch in batches(stream):
                seen += len(batch.events)
                assert running.responses.total_weight < 8 << 20
                assert sum(len(event.kv.value) for event in batch.events) < 8 << 20
                if seen == 60:
                    break
