"""A user's decode function that does not return: the table says so, while the thread of the source waits for it."""

from __future__ import annotations

import threading
import time

import pytest

from ingest import KubernetesOptions, kubernetes
from ingest.kubernetes import decoding, session
from statedb import Database, WatchSet
from statedb.catalog import Object, ObjectKey, Sources, objects_table

from ..kube_fake import FakeApi
from ..kube_rig import node

WAIT_S = 60.0
THINGS = objects_table("things")


@pytest.mark.parametrize("in_list", [True, False])
def test_a_decode_function_that_does_not_return_is_named(monkeypatch: pytest.MonkeyPatch, in_list: bool):
    monkeypatch.setattr(decoding, "LATE_S", 0.05)
    monkeypatch.setattr(session, "_LATE_CHECK_S", 0.01)
    go_on = threading.Event()
    before = set(threading.enumerate())

    def decode(value: bytes) -> list[Object]:
        if b"slow" in value:
            go_on.wait(WAIT_S)
        return [Object(ObjectKey("default", "", "slow" if b"slow" in value else "quick"), version="1")]

    db = Database(THINGS, Sources)

    def until(holds: object) -> None:
        end = time.monotonic() + WAIT_S
        while True:
            snapshot = db.snapshot()
            told = [(row.state, row.last_error) for row in snapshot[Sources].values()]
            if holds(told, {row.key.name for row in snapshot[THINGS].values()}):  # type: ignore[operator]
                return
            assert time.monotonic() < end, told
            WatchSet(snapshot[Sources].watch(), snapshot[THINGS].watch()).wait(timeout=1.0)

    with FakeApi() as api:
        api.put(node("slow" if in_list else "quick"))
        options = KubernetesOptions(server=api.url)
        source = kubernetes.source(db, "cilium.io", "v2", "ciliumnodes", decode, THINGS, options)
        source.start()
        try:
            if not in_list:
                until(lambda told, rows: told and told[0][0] == "synced" and rows == {"quick"})
                api.put(node("slow"))
            late = "the decode function has been busy with ciliumnodes/slow for more than 0.05 s"
            states = ("syncing", "connecting") if in_list else ("stale",)
            until(lambda told, _: told and told[0][0] in states and told[0][1] == late)
            go_on.set()
            until(lambda told, rows: told == [("synced", "")] and "slow" in rows)
        finally:
            go_on.set()
            source.stop()
            assert source.join(WAIT_S)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("kubernetes ")]
