"""What a canary, a heartbeat and an operator vouch for, and what they do not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ingest.belief import History, Yes
from ingest.etcd import Client, WatchEvent
from ingest.etcd.local import LocalEtcd
from ingest.keyspace.writers import Writers
from statedb import Database
from statedb.catalog import SourceKey, SourceRow, Sources

from ...waiting import WAIT_S, eventually
from ..clustermesh.publisher import Publisher, Rig, beating, ip_entry
from .rig import CLUSTER, PODS, Reader, delete, insert, pod, writer

CANARY, HEARTBEAT = b"tables/.synced/pods", b"tables/.heartbeat/pods"


def judges_again(source: Any, times: int = 2) -> None:
    """Wait until a source has judged what it withholds so often."""
    judge, judged = source.settle, []
    source.settle = lambda: judge() or judged.append(1)
    eventually(lambda: len(judged) >= times)


def hears(reader: Reader) -> list[WatchEvent]:
    """What a source hears of heartbeats and canaries from now on.

    The source's own method would not do: the thread holds it while it waits for the event.
    """
    heard: list[WatchEvent] = []
    for evidence in reader.source._evidence.values():

        def listen(event: WatchEvent, now: float, hear: Callable[..., None] = evidence.on_event) -> None:
            hear(event, now)
            heard.append(event)

        evidence.on_event = listen  # type: ignore[method-assign]
    return heard


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
        reader.told("it is not known which etcd the earlier rows came from")


def again(first: Rig) -> Rig:
    """Another process, with the rows of a source that has ended."""
    second = Rig("http://127.0.0.1:1", ids=first.ids)
    second.db, before = first.db, first.source
    second.source = type(before)(first.db, before._layout, before.servers, before._options, ids=first.ids)
    return second


def test_nor_does_that_of_a_cluster(server: LocalEtcd):
    with Publisher(server) as publisher:
        publisher.publish(range(3))
        first = Rig(server.endpoint)
        with first:
            first.synced()
        publisher.delete(ip_entry(0)[0])
    with again(first) as second:
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
        heard = hears(reader)
        client.put(HEARTBEAT, b"now", client.get(CANARY).kv.lease)
        reader.until(lambda _: heard)
        judges_again(reader.source)
        assert reader.names() == {"a", "b"}
        client.put(CANARY, b"now", client.get(CANARY).kv.lease)
        reader.has("a")


@pytest.mark.parametrize("is_known", [True, False])
def test_nor_does_it_after_a_warm_start(server: LocalEtcd, tmp_path: Path, is_known: bool):
    """The reader was away while the backup was restored. What its rows came from stands beside them, or does not."""
    db = Database(PODS)
    insert(db, pod("a"))
    with writer(db, server) as publisher:
        assert publisher.wait_ready(30)
    server.kill()
    server.back_up(tmp_path / "backup")
    server.start()
    with server.client() as client:
        with Reader(server.endpoint) as before:
            before.has("a")
            client.put(b"tables/pods/c/shop/b", client.get(b"tables/pods/c/shop/a").kv.value.replace(b'"a"', b'"b"'))
            before.has("a", "b")
        if not is_known:
            with before.db.write(Sources) as txn:
                txn[Sources].delete(SourceKey(CLUSTER, "pods"))
        server.kill()
        server.restore(tmp_path / "backup")
        server.start()
        with Reader(server.endpoint, db=before.db) as reader:
            reader.until(lambda s: reader.row(s).withheld_deletes == 1)
            heard = hears(reader)
            client.put(HEARTBEAT, b"now", client.get(CANARY).kv.lease)
            reader.until(lambda _: heard)
            judges_again(reader.source)
            assert reader.names() == {"a", "b"}
            client.put(CANARY, b"now", client.get(CANARY).kv.lease)
            reader.has("a")


def test_nor_does_it_for_a_cluster(server: LocalEtcd, tmp_path: Path):
    with Publisher(server) as publisher:
        publisher.publish(range(3))
    server.kill()
    server.back_up(tmp_path / "backup")
    server.start()
    with Publisher(server) as publisher:
        with Rig(server.endpoint) as first:
            first.synced()
            publisher.endpoints([3])
            first.until(lambda s: first.numbers(s) == {0, 1, 2, 3})
        server.kill()
        server.restore(tmp_path / "backup")
        server.start()
        with beating(publisher), again(first) as second:
            second.until(lambda s: second.row(snapshot=s).withheld_deletes == 1)
            judges_again(second.source, 20)
            assert second.numbers() == {0, 1, 2, 3}
            publisher.sync()
            second.until(lambda s: second.numbers(s) == {0, 1, 2})


def test_what_went_while_a_reader_was_away_goes_with_the_next_heartbeat(server: LocalEtcd):
    """After a warm start at the same etcd the canary that stands vouches as before."""
    db = Database(PODS)
    insert(db, pod("a"), pod("b"))
    with server.client() as client, writer(db, server, heartbeat_s=0.05):
        with Reader(server.endpoint) as before:
            before.has("a", "b")
        delete(db, pod("b"))
        eventually(lambda: client.get(b"tables/pods/c/shop/b").kv is None)
        with Reader(server.endpoint, db=before.db) as reader:
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
            row = b"tables/pods/c/shop/a"
            seen = history(
                client, start, lambda seen: seen.keys() >= {CANARY, HEARTBEAT, row} and len(seen[CANARY]) > 1
            )
    (gone_at, gone), (back_at, back) = seen[CANARY]
    assert (gone, back) == (1, 0)
    assert gone_at < seen[HEARTBEAT][0][0]
    assert gone_at < seen[row][0][0] < back_at


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
            assert client.get(CANARY).kv is not None
            publisher._writer._session._renew_at = 0.0  # type: ignore[union-attr]
            publisher._writer._writer_state.wake.set()
            seen = history(client, before.mod_revision + 1, lambda seen: len(seen.get(CANARY, ())) > 1)
        (_, gone), (back_at, back) = seen[CANARY]
        assert (gone, back) == (1, 0)
        assert client.get(b"tables/pods/c/shop/a", back_at).kv is not None


def history(
    client: Client, start: int, enough: Callable[[dict[bytes, list[tuple[int, int]]]], bool]
) -> dict[bytes, list[tuple[int, int]]]:
    """By key, the revisions of its changes and their types, from a revision on until there are enough."""
    seen: dict[bytes, list[tuple[int, int]]] = {}
    end = time.monotonic() + WAIT_S
    with client.watch({b"tables/": start}) as stream:
        while not enough(seen):
            assert time.monotonic() < end, seen
            batch = stream.next(1.0)
            for event in batch.events if batch is not None else ():
                seen.setdefault(event.kv.key, []).append((event.kv.mod_revision, event.type))
    return seen


def tells(db: Database, state: str, error: str = "", backend: str = "kubernetes") -> None:
    """What the source of the writer's table says."""
    with db.write(Sources) as txn:
        txn[Sources].insert(SourceRow(SourceKey(CLUSTER, "pods"), backend, state, 0.0, error))


def test_a_writer_whose_source_is_stale_deletes_nothing_that_another_one_wrote(server: LocalEtcd):
    """A standby whose API server is away comes to lead, and has never heard of the newest rows."""
    knows, lags = Database(PODS, Sources), Database(PODS, Sources)
    insert(knows, pod("a"), pod("b"))
    insert(lags, pod("a"))
    with Reader(server.endpoint) as reader:
        with writer(knows, server):
            reader.has("a", "b")
        tells(lags, "stale", "no route to host")
        with writer(lags, server) as publisher:
            assert publisher.wait_ready(30)
            reader.told("stale: at its writer the table is stale: no route to host")
            tells(lags, "absent", "stopped")
            reader.told("stale: at its writer the table is absent: stopped")
            assert reader.names() == {"a", "b"}
            tells(lags, "synced")
            reader.has("a")


def test_a_reader_is_told_what_the_source_of_the_writer_says(server: LocalEtcd):
    db = Database(PODS, Sources)
    insert(db, pod("a"))
    tells(db, "synced")
    with Reader(server.endpoint) as reader, writer(db, server):
        reader.has("a")
        tells(db, "stale", "withholding 2 deletes: its UID was x")
        reader.told("stale: at its writer the table is stale: withholding 2 deletes: its UID was x")
        with Reader(server.endpoint) as second:  # one that comes later
            second.told("stale: at its writer the table is stale: withholding 2 deletes: its UID was x")
            assert second.names() == {"a"}
        tells(db, "synced")
        reader.has("a")
        assert reader.row().last_error == ""


def test_a_table_without_a_source_is_vouched_for(server: LocalEtcd):
    db = Database(PODS, Sources)
    insert(db, pod("a"))
    tells(db, "absent", backend="")
    with Reader(server.endpoint) as reader, writer(db, server):
        reader.has("a")


def test_what_was_accepted_ends_with_the_list_even_where_the_canary_went_meanwhile(server: LocalEtcd):
    """As long as another list was due, all that went later was accepted as well."""
    db = Database(PODS)
    insert(db, pod("a"))
    with Reader(server.endpoint) as reader, server.client() as client:
        with writer(db, server, lease_keys_max=1):
            reader.has("a")
        lists, listed = reader.source.list_verdict, []

        def without_canary(*each):
            client.delete(CANARY)
            listed.append(each)
            return lists(*each)

        reader.source.list_verdict = without_canary  # type: ignore[method-assign]
        reader.source.accept()
        reader.until(lambda _: listed)
        reader.told("stale: waiting for tables/.synced/pods")
        client.revoke(client.get(b"tables/pods/c/shop/a").kv.lease)
        reader.until(lambda s: reader.row(s).withheld_deletes == 1 or not reader.names(s))
        assert reader.deleted == set()


def test_what_was_accepted_is_done_with_one_list_of_each_feed():
    writers = Writers(heartbeat_timeout_s=60.0, lease_time_s=60.0)
    writers.connected(7, None, 0.0)
    writers.identified(History.OTHER, "its cluster id", ("pods", "maps"))

    def may_go(feed: str) -> bool:
        return isinstance(writers.verdict(feed, (), None, 1.0), Yes)

    assert not may_go("pods")
    writers.accept()
    writers.listed("pods")
    assert (may_go("pods"), may_go("maps")) == (False, True)
    writers.connected(8, None, 2.0)
    writers.identified(History.OTHER, "its cluster id", ("pods", "maps"))
    assert not may_go("maps")


def accepting(*canaries: bytes) -> Writers:
    """The writers of an etcd that replaced another one, which the operator has just accepted."""
    writers = Writers(heartbeat_timeout_s=60.0, lease_time_s=60.0)
    writers.connected(7, None, 0.0)
    writers.identified(History.OTHER, "its cluster id", ("pods",))
    assert list(canaries) == writers.missing(canaries)
    writers.accept()
    assert writers.missing(canaries) == []
    return writers


def test_a_list_that_was_accepted_and_has_not_come_is_void_on_the_next_connection():
    """Keys may have gone in between: they were deleted, whatever had become of their writer."""
    writers = accepting(CANARY)
    writers.connected(7, None, 1.0)
    writers.identified(History.SAME, "", ("pods",), is_shown=True)
    assert not isinstance(writers.verdict("pods", (), None, 2.0), Yes)
    assert writers.missing((CANARY,)) == [CANARY], "who has not been listed without it is not believed without it"


@pytest.mark.parametrize(
    ("history", "is_shown", "holds"),
    [(History.SAME, True, True), (History.SAME, False, False), (History.UNPROVEN, True, False)],
)
def test_an_etcd_that_was_listed_without_its_canary_needs_none_if_it_is_shown_to_be_the_same(
    history: History, is_shown: bool, holds: bool
):
    writers = accepting(CANARY)
    writers.listed("pods")
    writers.connected(7, None, 1.0)
    writers.identified(history, "", ("pods",), is_shown=is_shown)
    assert (writers.missing((CANARY,)) == []) is holds


def test_a_canary_that_was_accepted_to_be_missing_is_needed_once_it_has_been_there():
    """It went while we were away, and the etcd counted as complete without it."""
    writers = accepting(CANARY)
    writers.listed("pods")
    canary = SimpleNamespace(key=CANARY, create_revision=10, mod_revision=10, lease=3)
    writers.canary_found(canary, 1.0, (("pods", (CANARY,)),), written=True)
    writers.connected(7, None, 2.0)
    writers.identified(History.SAME, "", ("pods",), is_shown=True)
    assert writers.missing((CANARY,)) == [CANARY]
