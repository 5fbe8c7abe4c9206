"""What the one writer of a table and its etcd can go through, and that no row goes which the writer did not delete."""

from __future__ import annotations

import pytest

from consumers.etcd import TableToEtcd, WriterOptions
from ingest import KvstoreOptions, kvstore
from ingest.etcd.local import LocalEtcd
from statedb import Database

from ..kvstore_rig import WAIT_S
from .tables import PODS, insert, pod, until
from ..clustermesh.conftest import server as server

def test_the_keys_of_a_writer_that_is_away_expire_and_no_row_goes(server: LocalEtcd):
    db, copy = Database(PODS), Database()
    insert(db, pod("a"), pod("b"))
    source = kvstore.table(copy, PODS, KvstoreOptions(endpoints=(server.endpoint,)), cluster="c")
    source.start()
    with TableToEtcd(db, PODS, server.client):
        until(copy, lambda s: len(s[PODS]) == 2)
    with server.client() as client:
        for page in client.list(b"tables/"):
            for lease in {kv.lease for kv in page.kvs}:
                client.revoke(lease)
    until(copy, lambda s: len(s[PODS]) != 2 or "its lease ended" in str(s))
    source.stop()
    source.join(10)
    assert len(copy.snapshot()[PODS]) == 2


def test_a_table_that_is_half_written_is_not_initialized(server: LocalEtcd):
    db, copy = Database(PODS), Database()
    insert(db, *[pod(f"p{n}") for n in range(10)])
    with TableToEtcd(db, PODS, server.client, WriterOptions(writes_per_s=0.1, batch_keys_max=3)) as w:
        source = kvstore.table(copy, PODS, KvstoreOptions(endpoints=(server.endpoint,)), cluster="c")
        source.start()
        assert not copy.wait_initialized(PODS, timeout=5), len(copy.snapshot()[PODS])
