"""The watch of a writer's own keys on a real etcd: it returns changes by others, and drops those of the writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from consumers.etcd.watching import OwnKeysWatch
from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd

from ...ingest.clustermesh.publisher import replica
from ...waiting import WAIT_S, eventually


@pytest.fixture(scope="module")
def etcd() -> Iterator[LocalEtcd]:
    with replica() as server:
        server.start()
        yield server


@pytest.fixture
def client(etcd: LocalEtcd) -> Iterator[Client]:
    with etcd.client() as opened:
        yield opened


def watched(store: Any, start: int) -> tuple[OwnKeysWatch, threading.Event]:
    wake = threading.Event()
    return OwnKeysWatch(store, {"my/": start}, (), wake), wake


def start_of(client: Client) -> int:
    return client.get(b"x").header.revision + 1


def test_changes_by_others_wake_the_writer_and_its_own_are_dropped(client: Client, etcd: LocalEtcd):
    own_keys, wake = watched(client, start_of(client))
    with own_keys, etcd.client() as other:
        for number in range(20):
            own_keys.commit([(b"my/%d" % number, b"ours", 0), (b"my/more", b"%d" % number, 0)], [], None, {})
        other.put(b"my/3", b"theirs")
        other.delete(b"my/4")
        taken: list[bytes] = []

        def both_are_there() -> bool:
            wake.wait(1)
            taken.extend([event.kv.key for event in own_keys.take()])
            return len(taken) >= 2

        eventually(both_are_there)
        assert taken == [b"my/3", b"my/4"]


def test_a_change_that_arrives_during_a_commit_is_taken_after_it_and_wakes_nobody(client: Client, etcd: LocalEtcd):
    with etcd.client() as other:

        class Slow:
            """A connection on which another writer is faster than each of our transactions."""

            def commit(self, *arguments: Any) -> Any:
                other.put(b"my/1", b"theirs")
                eventually(lambda: bool(own_keys._batches))
                return client.commit(*arguments)

            def __getattr__(self, name: str) -> Any:
                return getattr(client, name)

        own_keys, wake = watched(Slow(), start_of(client))
        with own_keys:
            own_keys.commit([(b"my/2", b"ours", 0)], [], None, {})
            assert [event.kv.value for event in own_keys.take()] == [b"theirs"]
            assert not wake.is_set()


def test_a_writer_that_does_not_take_holds_the_watch_up_and_loses_nothing(client: Client, etcd: LocalEtcd):
    own_keys, wake = watched(client, start_of(client))
    with own_keys, etcd.client() as other:
        for number in range(200):
            other.put(b"my/%d" % number, b"theirs")
        eventually(lambda: len(own_keys._batches) >= 64)
        taken: list[bytes] = []

        def all_are_there() -> bool:
            wake.wait(1)
            taken.extend([event.kv.key for event in own_keys.take()])
            return len(taken) >= 200

        eventually(all_are_there)
        assert taken == [b"my/%d" % number for number in range(200)]


def test_an_end_of_the_connection_wakes_the_writer(etcd: LocalEtcd):
    client = etcd.client()
    own_keys, wake = watched(client, start_of(client))
    with own_keys:
        client.close()
        assert wake.wait(WAIT_S)
        with pytest.raises(Exception, match="closed"):
            own_keys.take()
