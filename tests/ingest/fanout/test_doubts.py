"""What a canary, a heartbeat and an operator vouch for, and what they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ingest.etcd.local import LocalEtcd
from statedb import Database

from ...waiting import eventually
from ..clustermesh.publisher import Publisher, Rig, ip_entry
from .rig import PODS, Reader, insert, pod, writer

CANARY, HEARTBEAT = b"tables/.synced/pods", b"tables/.heartbeat/pods"


def judges_again(source: Any, times: int = 2) -> None:
    """Wait until a source has judged what it withholds so often."""
    judge, judged = source.settle, []
    source.settle = lambda: judge() or judged.append(1)
    eventually(lambda: len(judged) >= times)


def test_a_writer_that_died_vouches_for_no_list_that_lacks_rows_of_before(server: LocalEtcd):
    """The second list was judged as if no row could depend on it, for the first one had come from this etcd."""
    db, copy = Database(PODS), Reader(server.endpoint).db
    insert(db, pod("a"))
    with writer(db, server) as publisher:
        assert publisher.wait_ready(30)
    insert(copy, pod("a"), pod("b"))
    with Reader(server.endpoint, db=copy) as reader:
        reader.until(lambda s: reader.row(s).withheld_deletes == 1)
        judges_again(reader.source)
        assert reader.names() == {"a", "b"}
        assert reader.row().state == "stale"
        assert "not known which etcd" in reader.row().last_error


def test_nor_does_that_of_a_cluster(server: LocalEtcd):
    with Publisher(server) as publisher:
        publisher.publish(range(3))
        first = Rig(server.endpoint)
        with first:
            first.synced()
        publisher.delete(ip_entry(0)[0])
    second = Rig(server.endpoint, ids=first.ids)
    second.source = type(first.source)(
        first.db, first.source._layout, first.source.servers, first.source._options, ids=first.ids
    )
    second.db = first.db
    with second:
        second.until(lambda s: second.row(snapshot=s).withheld_deletes == 1)
        judges_again(second.source)
        assert second.numbers() == {0, 1, 2}


def test_a_writer_that_lives_through_a_restored_backup_vouches_once_all_is_there_again(
    server: LocalEtcd, tmp_path: Path
):
    """Its lease was in the backup, and so was the canary: the first heartbeat made both believed."""
    db = Database(PODS)
    insert(db, pod("a"))
    with Reader(server.endpoint) as reader, writer(db, server, writes_per_s=1.0) as publisher:
        reader.has("a")
        assert publisher.wait_ready(30)
        server.kill()
        server.back_up(tmp_path / "backup")
        server.start()
        insert(db, pod("b"), pod("c"))
        reader.has("a", "b", "c")
        server.kill()
        server.restore(tmp_path / "backup")
        server.start()
        reader.told("stale: waiting for tables/.synced/pods")
        reader.has("a", "b", "c")
        assert reader.deleted == set()


def test_the_canary_of_a_restored_backup_says_nothing_of_what_was_lost(server: LocalEtcd, tmp_path: Path):
    """Another program writes, which lives, and whose canary stands while it writes what is missing."""
    db = Database(PODS)
    insert(db, pod("a"))
    with writer(db, server) as publisher:
        assert publisher.wait_ready(30)
    server.kill()
    server.back_up(tmp_path / "backup")
    server.start()
    with server.client() as client, Reader(server.endpoint) as reader:
        reader.has("a")
        client.put(b"tables/pods/c/shop/b", client.get(b"tables/pods/c/shop/a").kv.value.replace(b'"a"', b'"b"'))
        reader.has("a", "b")
        server.kill()
        server.restore(tmp_path / "backup")
        server.start()
        reader.until(lambda s: reader.row(s).withheld_deletes == 1)
        hear, heard = reader.source.on_other, []
        reader.source.on_other = lambda batch: hear(batch) or heard.append(batch)  # type: ignore[method-assign]
        client.put(HEARTBEAT, b"now", client.get(CANARY).kv.lease)
        reader.until(lambda _: heard)
        judges_again(reader.source)
        assert reader.names() == {"a", "b"}
        client.put(CANARY, b"now", client.get(CANARY).kv.lease)
        reader.has("a")


def test_a_writer_deletes_its_canary_before_it_beats_where_rows_are_missing(server: LocalEtcd):
    db = Database(PODS)
    insert(db, pod("a"), pod("b"))
    with writer(db, server) as publisher:
        assert publisher.wait_ready(30)
    with server.client() as client:
        client.delete(b"tables/pods/c/shop/a")
        start = client.get(b"x").header.revision + 1
        with writer(db, server) as publisher:
            assert publisher.wait_ready(30)
            seen = {}
            with client.watch({b"tables/": start}) as stream:
                while {CANARY, HEARTBEAT, b"tables/pods/c/shop/a"} - seen.keys() or len(seen[CANARY]) < 2:
                    batch = stream.next(30)
                    assert batch is not None
                    for event in batch.events:
                        seen.setdefault(event.kv.key, []).append((event.kv.mod_revision, event.type))
    (gone_at, gone), (back_at, back) = seen[CANARY]
    assert (gone, back) == (1, 0)
    assert gone_at < seen[HEARTBEAT][0][0]
    assert gone_at < seen[b"tables/pods/c/shop/a"][0][0] < back_at


def test_a_canary_is_away_while_what_went_with_a_lease_is_missing(server: LocalEtcd):
    """A reader that comes just then would take a part of the table for all of it."""
    db = Database(PODS)
    insert(db, pod("a"), pod("b"))
    with server.client() as client:
        with writer(db, server, lease_keys_max=1, lease_time_s=60.0) as publisher:
            assert publisher.wait_ready(30)
            row = client.get(b"tables/pods/c/shop/a").kv
            before = client.get(CANARY).kv
            publisher._writer._session._on_event = lambda _: None  # type: ignore[union-attr,method-assign]  # it has not heard yet
            client.revoke(row.lease)
            publisher._writer._session._renew_at = 0.0  # type: ignore[union-attr]
            publisher._writer._writer_state.wake.set()
            assert client.get(CANARY).kv is not None
            with client.watch({CANARY: before.mod_revision + 1}, [CANARY]) as stream:
                events = []
                while len(events) < 2:
                    batch = stream.next(30)
                    assert batch is not None
                    events += batch.events
        assert [event.type for event in events] == [1, 0]
        assert client.get(b"tables/pods/c/shop/a", events[1].kv.mod_revision).kv is not None
