"""Frozen servers, lost quorums, members that die: what must be noticed, and how soon."""

import time
from collections.abc import Iterator

import pytest

from ingest.etcd import Client, Keepalive, Unavailable, WatchStream, parse_endpoint
from ingest.etcd.local import LocalEtcd

from .streams import batches


def end_of(stream: WatchStream) -> float:
    """How long it takes until the stream says that it is over."""
    began = time.monotonic()
    with pytest.raises(Unavailable):
        _drain(stream)
    return time.monotonic() - began


def _drain(stream: WatchStream) -> None:
    for _ in batches(stream):
        pass


def test_a_frozen_server_is_found_by_pings(own_etcd: LocalEtcd):
    endpoint = parse_endpoint(own_etcd.endpoint)
    with Client(endpoint, keepalive=Keepalive(5, 1)) as client, client.watch({b"a/": 1}) as stream:
        client.put(b"a/1", b"")
        next(batches(stream))
        own_etcd.freeze()
        try:
            assert end_of(stream) < 15
        finally:
            own_etcd.thaw()


def test_a_request_to_a_frozen_server_ends_at_its_deadline(own_etcd: LocalEtcd):
    with Client(parse_endpoint(own_etcd.endpoint), timeout_s=0.5) as client:
        client.get(b"a")
        own_etcd.freeze()
        try:
            with pytest.raises(Unavailable, match="no answer in time"):
                client.get(b"a")
        finally:
            own_etcd.thaw()


@pytest.fixture
def three() -> Iterator[list[LocalEtcd]]:
    """A cluster of three members."""
    members = [LocalEtcd() for _ in range(3)]
    cluster = ",".join(f"m{number}={member.peer}" for number, member in enumerate(members))
    for number, member in enumerate(members):
        member.add_arguments(f"--name=m{number}", f"--initial-cluster={cluster}")
        member.launch()
    try:
        for member in members:
            member.wait_ready()
        yield members
    finally:
        for member in members:
            member.close()


def test_a_member_without_a_leader_is_no_server(three: list[LocalEtcd]):
    with three[0].client() as client, client.watch({b"a/": 1}) as stream:
        client.put(b"a/1", b"")
        next(batches(stream))
        three[1].kill()
        three[2].kill()
        assert end_of(stream) < 20


def test_another_member_goes_on_at_the_same_revision(three: list[LocalEtcd]):
    with three[0].client() as client:
        revision = client.put(b"a/1", b"").revision
        three[0].kill()
    with three[1].client() as client:
        for _ in range(100):  # until the two that are left have a leader
            try:
                client.put(b"a/2", b"")
                break
            except Unavailable:
                continue
        with client.watch({b"a/": revision + 1}) as stream:
            while (batch := stream.next(10)) is None:
                pass
            assert [event.kv.key for event in batch.events] == [b"a/2"]
