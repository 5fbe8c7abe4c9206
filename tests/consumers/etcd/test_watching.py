"""The watch of a writer's own keys on a real etcd: it returns changes by others, and drops those of the writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from consumers.etcd import EtcdWriter, Rules, WriterOptions
from consumers.etcd.watching import OwnKeysWatch
from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd

from ...ingest.clustermesh.publisher import replica
from ...waiting import WAIT_S, eventually
from .writing import PREFIX, QUICK, RULES, Interposed, numbered, stands


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


def test_what_somebody_else_deletes_together_with_a_key_that_we_delete_is_back(etcd: LocalEtcd):
    """Our transaction found nothing to delete, and returned the other one's revision, which then counted as ours."""
    with etcd.client() as other:
        other.delete_prefix(PREFIX.encode())

        def delete_before_us(_: set[bytes], deletes: set[bytes]) -> None:
            if deletes:
                other.write([], [b"my/0", b"my/1"])

        writer = EtcdWriter(lambda: Interposed(etcd.client(), delete_before_us), RULES, WriterOptions(**QUICK))
        with writer:
            writer.update(numbered(3))
            assert writer.wait_ready(WAIT_S)
            writer.delete("my/0")
            eventually(lambda: stands(etcd).keys() == {"my/1", "my/2"}, "the key that only the other one deleted")


def test_a_key_that_somebody_else_put_just_before_we_deleted_it_is_known_to_be_gone(etcd: LocalEtcd):
    """The other one's put arrived after our delete had returned. A later put of that value was thought to be there."""
    with etcd.client() as other:
        other.delete_prefix(PREFIX.encode())
        lease = other.grant(3600)  # as good as one of ours

        def put_before_us(_: set[bytes], deletes: set[bytes]) -> None:
            if deletes:
                other.put(b"my/0", b"value", lease)

        rules = Rules(prefixes=(PREFIX,), may_delete=lambda _: False)
        writer = EtcdWriter(lambda: Interposed(etcd.client(), put_before_us), rules, WriterOptions(**QUICK))
        with writer:
            writer.update(numbered(2))
            assert writer.wait_ready(WAIT_S)
            writer.delete("my/0")
            eventually(lambda: stands(etcd).keys() == {"my/1"}, "the delete")
            for number in range(2):  # the watch brings it after what it has brought of my/0
                other.put(b"my/1", b"theirs %d" % number)
                eventually(lambda: stands(etcd)["my/1"] == b"1", "the other key")
            writer.put("my/0", b"value")
            eventually(lambda: stands(etcd).get("my/0") == b"value", "the value")


def test_an_end_of_the_connection_wakes_the_writer(etcd: LocalEtcd):
    client = etcd.client()
    own_keys, wake = watched(client, start_of(client))
    with own_keys:
        client.close()
        assert wake.wait(WAIT_S)
        with pytest.raises(Exception, match="closed"):
            own_keys.take()
