"""A mesh cache whose source of a cluster is not synced. Other processes have copied what it has not seen."""

from __future__ import annotations

import logging

import pytest

from consumers.etcd.meshcache import MeshCacheOptions
from consumers.etcd.meshcache.doubts import Doubts
from consumers.etcd.meshcache.names import cached_config
from ingest.etcd.local import LocalEtcd
from statedb import Database, Snapshot
from statedb.catalog import Mirror, Sources

from ...waiting import eventually
from .copied import CANARIES, CLUSTER, CONFIG, FIRST, KEY, Copied, overwrite, report
from .etcds import held

LATER = f"{KEY}9"
GRACE_S = MeshCacheOptions().grace_s


def in_doubt(etcd: LocalEtcd, **options: bool) -> Copied:
    copied = Copied(etcd.client, **options)
    report(copied.db, "stale")
    return copied


def test_a_new_leader_deletes_nothing_that_it_has_not_seen_before_its_source_is_synced(cache: LocalEtcd):
    standing_by = in_doubt(cache, leader_election=True)
    with Copied(cache.client, leader_election=True) as first:
        standing_by.start()
        first.write({LATER: b"2"})
        eventually(lambda: LATER in held(cache), "the copy")
    with standing_by:
        eventually(lambda: standing_by.cache.stats().leads, "the new leader")
        eventually(lambda: standing_by.cache._writer.ready and not standing_by.cache.queue_size, "all that it knows")
        assert held(cache)[LATER] == b"2"
        standing_by.note("synced")  # and its complete list does not have the key
        standing_by.turn(GRACE_S + 1)
        eventually(lambda: LATER not in held(cache), "the delete")
        assert KEY in held(cache)


def test_a_key_that_another_process_puts_stays_while_the_source_is_in_doubt(cache: LocalEtcd):
    with in_doubt(cache) as copied:
        overwrite(cache, LATER, b"2")
        eventually(lambda: LATER in copied.cache._writer._session.present, "that it is seen")
        overwrite(cache, CONFIG, b"{}")  # seen after it, and mended
        eventually(lambda: held(cache)[CONFIG] == cached_config(FIRST), "the config")
        copied.settle()
        assert LATER in held(cache)
        copied.note("synced")
        copied.turn(GRACE_S + 1)
        eventually(lambda: LATER not in held(cache), "the delete")


def test_a_delete_that_its_source_believed_is_copied_though_the_source_is_in_doubt(cache: LocalEtcd):
    """Otherwise one withheld delete would hold back all."""
    with in_doubt(cache) as copied:
        copied.delete(KEY)
        eventually(lambda: KEY not in held(cache), "the delete")


def test_a_key_that_it_was_told_to_delete_on_an_earlier_connection_waits_for_the_source(cache: LocalEtcd):
    """Another process may have put the key again since."""
    with Copied(cache.client) as copied:
        desired = copied.cache._writer._desired
        desired.release(LATER, is_gone=True)
        assert desired.is_known_gone(LATER)
        desired.load(copied.cache._writer._session.present)
        assert not desired.is_known_gone(LATER)


@pytest.mark.parametrize("state", ["stale", "connecting"])
def test_doubts_end_when_the_source_is_synced_and_its_rows_are_applied(state: str):
    db = Database(Sources, Mirror)
    doubts = Doubts(db, 0.0, lambda: 0.0)
    assert CLUSTER not in doubts
    report(db, state)
    report(db, "synced", "c4")
    assert CLUSTER in doubts
    assert doubts.settled(db.snapshot()) == []
    assert "c4" not in doubts
    report(db, "synced")
    assert CLUSTER in doubts  # its rows are not applied yet
    assert doubts.settled(db.snapshot()) == [CLUSTER]
    assert CLUSTER not in doubts
    assert doubts.settled(db.snapshot()) == []


def test_a_doubt_that_comes_and_goes_between_two_batches_is_settled():
    db = Database(Sources, Mirror)
    doubts = Doubts(db, 0.0, lambda: 0.0)
    report(db, "stale")
    assert CLUSTER in doubts
    report(db, "synced")
    assert doubts.settled(db.snapshot()) == [CLUSTER]


# --- how long a source must have been synced --------------------------------------------------------------------------


def test_a_new_process_waits_before_it_deletes_what_its_source_does_not_have(cache: LocalEtcd):
    """Its server may be a replica whose writer died before that key: its silence is noticed after a while only."""
    overwrite(cache, LATER, b"2")
    copied = Copied(cache.client)
    copied.report("synced")
    with copied:
        copied.settle()
        copied.note("synced")
        assert LATER in held(cache)
        copied.turn(GRACE_S / 2)
        copied.note("stale")
        copied.turn(GRACE_S)
        copied.note("synced")  # from now on it counts anew
        copied.turn(GRACE_S - 1)
        assert not copied.cache._doubts.settled(copied.db.snapshot())
        copied.settle()
        assert LATER in held(cache)
        copied.turn(2)
        eventually(lambda: LATER not in held(cache), "the delete")
        assert KEY in held(cache)


def test_a_new_leader_waits_too_though_its_source_has_been_synced_for_long(cache: LocalEtcd):
    """Its connection to the other cluster may have been cut just now, after the former leader read the key."""
    standing_by = Copied(cache.client, leader_election=True)
    standing_by.report("synced")
    with Copied(cache.client, leader_election=True) as first:
        standing_by.start()
        standing_by.note("synced")
        standing_by.turn(GRACE_S + 1)
        first.write({LATER: b"2"})
        eventually(lambda: LATER in held(cache), "the copy")
    with standing_by:
        eventually(lambda: standing_by.cache.stats().leads, "the new leader")
        eventually(lambda: CLUSTER in standing_by.cache._doubts._asked, "that it is asked")
        standing_by.settle()
        assert LATER in held(cache)
        standing_by.turn(GRACE_S + 1)
        eventually(lambda: LATER not in held(cache), "the delete")


def test_what_waits_is_told_and_goes_by_itself(cache: LocalEtcd, caplog: pytest.LogCaptureFixture):
    overwrite(cache, LATER, b"2")
    copied = Copied(cache.client, grace_s=0.5)
    copied.report("synced")
    with caplog.at_level(logging.INFO, "statedb.consumers"), copied:
        eventually(lambda: LATER not in held(cache), "the delete")
    assert [each for each in caplog.messages if "they stay until its source was synced for 0.5 s" in each]


def test_keys_that_were_drained_are_not_known_to_be_gone(cache: LocalEtcd):
    """The file of the cluster went and came back. Its new source has read a list, and its writer did not act yet."""
    with Copied(cache.client) as copied:
        copied.note("synced")
        copied.turn(GRACE_S)
        copied.write({LATER: b"2"})
        copied.settle()
        copied.drain()
        copied.settle()
        copied.note("connecting")
        copied.write({CONFIG: FIRST, KEY: b"1"} | dict.fromkeys(CANARIES, b""))
        copied.note("synced")
        copied.settle()
        eventually(lambda: {*CANARIES, CONFIG} <= set(held(cache)), "the copy")
        assert LATER in held(cache)
        copied.turn(GRACE_S + 1)
        eventually(lambda: LATER not in held(cache), "the delete")


def test_keys_that_were_drained_and_are_back_in_one_batch_are_not_known_to_be_gone(cache: LocalEtcd):
    with Copied(cache.client) as copied:
        copied.note("synced")
        copied.turn(GRACE_S)
        copied.write({LATER: b"2"})
        copied.settle()
        desired = copied.cache._writer._desired
        with desired.lock:
            copied.write({f"{KEY}8": b"3"})
            eventually(lambda: f"{KEY}8" in names(copied.cache._snapshot), "that the follower waits for the lock")
            copied.drain()
            copied.report("connecting", since=1.0)
            copied.write({CONFIG: FIRST, KEY: b"1"} | dict.fromkeys(CANARIES, b""))
            copied.report("synced", since=2.0)
        copied.settle()
        eventually(lambda: {*CANARIES, CONFIG} <= set(held(cache)), "the copy")
        copied.settle()
        assert LATER in held(cache)
        copied.turn(GRACE_S + 1)
        eventually(lambda: LATER not in held(cache), "the delete")


def names(snapshot: Snapshot) -> set[str]:
    return {row.key.name for row in snapshot[Mirror].values()}


def test_a_writer_without_rivals_does_not_wait_after_an_outage_of_its_etcd(cache: LocalEtcd):
    with Copied(cache.client) as copied:
        copied.note("synced")
        copied.turn(GRACE_S + 1)
        cache.kill()
        eventually(lambda: copied.cache.health.startswith("failing"), "its complaint")
        copied.delete(KEY)
        cache.start()
        eventually(lambda: KEY not in held(cache), "the delete")


def test_rows_that_are_not_applied_yet_are_in_doubt():
    """Synced, stale, synced again: the applied rows are older than what the source has read since."""
    db = Database(Sources, Mirror)
    doubts = Doubts(db, 0.0, lambda: 0.0)
    report(db, "synced", since=1.0)
    applied = db.snapshot()
    assert doubts.settled(applied) == []
    assert CLUSTER not in doubts
    report(db, "stale", since=2.0)
    report(db, "synced", since=3.0)
    assert CLUSTER in doubts
    assert doubts.settled(applied) == []
    assert doubts.settled(db.snapshot()) == [CLUSTER]


def test_a_doubt_counts_from_when_this_process_began_to_write():
    db, now, found = Database(Sources, Mirror), [1000.0], []
    doubts = Doubts(db, 60.0, lambda: now[0], found.append)
    report(db, "synced")
    doubts.settled(db.snapshot())
    assert doubts.due_in() is None
    now[0] += 50
    doubts.begin()
    now[0] += 20
    assert CLUSTER in doubts
    assert CLUSTER in doubts
    assert found == [CLUSTER]
    assert doubts.due_in() == 40
    now[0] += 40
    assert doubts.settled(db.snapshot()) == [CLUSTER]
    assert CLUSTER not in doubts
    assert doubts.due_in() is None
