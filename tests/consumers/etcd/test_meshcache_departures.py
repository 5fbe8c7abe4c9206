"""Clusters that leave a mesh cache, and those that are back before their keys are deleted."""

from __future__ import annotations

import pytest

from consumers.etcd.meshcache import MeshCacheOptions
from consumers.etcd.meshcache.departures import Departures
from ingest.etcd.local import LocalEtcd
from statedb import Database
from statedb.catalog import Mirror, Rejected, Sources

from ...waiting import eventually
from .copied import CANARIES, CLUSTER, CONFIG, KEY, SOURCE, Copied, report
from .etcds import held

GRACE_S = MeshCacheOptions().grace_s


@pytest.mark.parametrize("how", ["a source", "a source, and another file is bad", "a bad file"])
def test_a_configured_cluster_has_not_left_however_long_it_does_not_answer(cache: LocalEtcd, how: str):
    with Copied(cache.client) as copied:
        left = copied.cache._departures._due
        copied.configure()
        copied.drain()  # its file is removed
        eventually(lambda: CONFIG not in held(cache) and CLUSTER in left, "the end of the config")
        copied.turn(GRACE_S / 2)
        if how != "a bad file":
            copied.note("connecting")  # it is back, and does not answer
            eventually(lambda: CLUSTER not in left, "that it is back")
        if how != "a source":
            copied.reject("c9" if "another" in how else CLUSTER)
        eventually(lambda: CLUSTER not in left, "that it is back")
        copied.turn(GRACE_S)
        copied.cache._writer.review()
        copied.settle()
        copied.turn(GRACE_S + 1)
        copied.cache._writer.review()
        copied.settle()
        assert set(held(cache)) >= {KEY, *CANARIES}
        copied.configure()
        eventually(lambda: CLUSTER in left, "that it has left")
        copied.turn(GRACE_S + 1)
        eventually(lambda: KEY not in held(cache), "the end of the rest")


def test_the_grace_begins_anew_when_a_cluster_was_back_while_nobody_asked():
    db, now = Database(Sources, Mirror, Rejected), [0.0]
    departures = Departures(db, GRACE_S, lambda: now[0])
    departures.arrived(CLUSTER)
    assert departures.may_delete(CLUSTER, at_once=False) == (False, True)
    report(db, "connecting")
    assert departures.changed()
    assert not departures.changed()
    with db.write(Sources) as txn:
        txn[Sources].delete(SOURCE)
    now[0] = GRACE_S + 1
    assert departures.changed()
    assert departures.may_delete(CLUSTER, at_once=False) == (False, True)
    assert departures.due_in() == GRACE_S
