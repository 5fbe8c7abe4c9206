"""A mesh cache whose source of a cluster is not synced. Other processes have copied what it has not seen."""

from __future__ import annotations

import pytest

from consumers.etcd.meshcache.doubts import Doubts
from consumers.etcd.meshcache.names import cached_config
from ingest.etcd.local import LocalEtcd
from statedb import Database
from statedb.catalog import Mirror, SourceKey, SourceRow, Sources

from ...waiting import eventually
from .copied import CLUSTER, CONFIG, FIRST, KEY, Copied, overwrite
from .etcds import held

LATER = f"{KEY}9"


def report(db: Database, state: str, cluster: str = CLUSTER) -> None:
    with db.write(Sources) as txn:
        txn[Sources].insert(SourceRow(SourceKey(cluster, Mirror.name), "remote-clusters", state))


def in_doubt(etcd: LocalEtcd, **options: bool) -> Copied:
    copied = Copied(etcd.client, **options)
    report(copied.db, "stale")
    return copied


def test_a_new_leader_deletes_nothing_that_it_has_not_seen_before_its_source_is_synced(cache: LocalEtcd):
    standing_by = in_doubt(cache, leader_election=True)
    with Copied(cache.client, leader_election=True) as first:
        standing_by.cache.start()
        first.write({LATER: b"2"})
        eventually(lambda: LATER in held(cache), "the copy")
    try:
        eventually(lambda: standing_by.cache.stats().leads, "the new leader")
        eventually(lambda: standing_by.cache._writer.ready and not standing_by.cache.queue_size, "all that it knows")
        assert held(cache)[LATER] == b"2"
        report(standing_by.db, "synced")  # and its complete list does not have the key
        eventually(lambda: LATER not in held(cache), "the delete")
        assert KEY in held(cache)
    finally:
        standing_by.cache.stop()
        assert standing_by.cache.join(10)


def test_a_key_that_another_process_puts_stays_while_the_source_is_in_doubt(cache: LocalEtcd):
    with in_doubt(cache) as copied:
        overwrite(cache, LATER, b"2")
        eventually(lambda: LATER in copied.cache._writer._session.present, "that it is seen")
        overwrite(cache, CONFIG, b"{}")  # seen after it, and mended
        eventually(lambda: held(cache)[CONFIG] == cached_config(FIRST), "the config")
        copied.settle()
        assert LATER in held(cache)
        report(copied.db, "synced")
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
        desired.release(LATER)
        assert desired.is_released(LATER)
        desired.load(copied.cache._writer._session.present)
        assert not desired.is_released(LATER)


@pytest.mark.parametrize("state", ["stale", "connecting"])
def test_doubts_end_when_the_source_is_synced_and_its_rows_are_applied(state: str):
    db = Database(Sources, Mirror)
    doubts = Doubts(db)
    assert CLUSTER not in doubts
    report(db, state)
    report(db, "synced", "c4")
    assert CLUSTER in doubts
    assert "c4" not in doubts
    assert doubts.settled(db.snapshot()) == []
    report(db, "synced")
    assert CLUSTER in doubts  # its rows are not applied yet
    assert doubts.settled(db.snapshot()) == [CLUSTER]
    assert CLUSTER not in doubts
    assert doubts.settled(db.snapshot()) == []


def test_a_doubt_that_comes_and_goes_between_two_batches_is_settled():
    db = Database(Sources, Mirror)
    doubts = Doubts(db)
    report(db, "stale")
    assert CLUSTER in doubts
    report(db, "synced")
    assert doubts.settled(db.snapshot()) == [CLUSTER]
