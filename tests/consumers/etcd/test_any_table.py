"""A table through an etcd into the table of another process: the same rows, and no row goes with its writer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumers.etcd import TableToEtcd, WriterOptions
from consumers.etcd.unwritten import Unwritten
from ingest import KvstoreOptions, Source, kvstore
from ingest.etcd.local import LocalEtcd
from statedb import Database
from statedb.catalog import Object, ObjectKey, objects_table

PODS = objects_table("pods", ("by_node",))


@pytest.fixture(scope="module")
def etcd() -> Iterator[LocalEtcd]:
    with LocalEtcd() as server:
        server.start()
        yield server


def pod(name: str, node: str = "node-1", namespace: str = "shop") -> Object:
    rest = f'{{"spec":{{"nodeName":"{node}"}}}}'
    return Object(ObjectKey("c", namespace, name), version="1", labels=(("app", "é"),), rest=rest, indexed=((node,),))


def reader(etcd: LocalEtcd, db: Database) -> Source:
    options = KvstoreOptions(endpoints=(etcd.endpoint,), retry_min_s=0.02, retry_max_s=0.2)
    return kvstore.table(db, PODS, options, cluster="c")


def until(db: Database, rows: list[Object]) -> None:
    with db.changes(PODS) as stream:
        while list(db.snapshot()[PODS].values()) != rows:
            assert stream.next(timeout=30) is not None


def test_readers_have_the_rows_of_the_writer(etcd: LocalEtcd):
    first, second, copy = Database(PODS), Database(PODS), Database()
    insert(first, pod("a"), pod("b", "node-2"), pod("of/the/cluster", namespace=""))
    source = reader(etcd, copy)
    source.start()
    with TableToEtcd(first, PODS, etcd.client, WriterOptions(retry_min_s=0.02)) as publisher:
        until(copy, list(first.snapshot()[PODS].values()))
        assert [row.key.name for row in copy.snapshot()[PODS.by_label]["app=é"]] == ["of/the/cluster", "a", "b"]
        insert(first, pod("a", "node-3"))
        with first.write(PODS) as txn:
            txn[PODS].delete(pod("b").key)
        until(copy, list(first.snapshot()[PODS].values()))
        assert publisher.health.startswith("OK")
    insert(second, pod("a", "node-4"))  # a new process, whose source has fewer rows
    with TableToEtcd(second, PODS, etcd.client, WriterOptions(retry_min_s=0.02)):
        until(copy, [pod("a", "node-4")])
    assert list(copy.snapshot()[PODS].values()) == [pod("a", "node-4")]
    source.stop()
    assert source.join(10)
    assert source.failure is None


def test_a_row_without_a_value_costs_only_itself_and_keeps_its_old_one(etcd: LocalEtcd):
    """Half a character is no text in UTF-8, neither in a value nor in a key."""
    db, copy = Database(PODS), Database()
    insert(db, pod("a"), pod("b"))
    source = reader(etcd, copy)
    source.start()
    with TableToEtcd(db, PODS, etcd.client, WriterOptions(retry_min_s=0.02)) as publisher:
        until(copy, [pod("a"), pod("b")])
        insert(db, pod("b", "\ud800"), pod("\ud800"), pod("c"))
        until(copy, [pod("a"), pod("b"), pod("c")])
        assert publisher.health.startswith("OK, but 2 rows cannot be written: ")
        assert sum("UnicodeEncodeError" in row.error for row in db.snapshot()[Unwritten].values()) == 2
    with TableToEtcd(db, PODS, etcd.client, WriterOptions(retry_min_s=0.02)) as publisher:
        insert(db, pod("d"))
        until(copy, [pod("a"), pod("b"), pod("c"), pod("d")])
        insert(db, pod("b", "node-2"))
        with db.write(PODS) as txn:
            txn[PODS].delete(pod("\ud800").key)
        until(copy, [pod("a"), pod("b", "node-2"), pod("c"), pod("d")])
        assert publisher.health == "OK"
        assert not list(db.snapshot()[Unwritten])
    source.stop()
    assert source.join(10)


def test_nothing_goes_before_the_table_is_initialized(etcd: LocalEtcd):
    filled, empty, copy = Database(PODS), Database(PODS), Database()
    insert(filled, pod("a"))
    source = reader(etcd, copy)
    source.start()
    with TableToEtcd(filled, PODS, etcd.client):
        until(copy, [pod("a")])
    with empty.write(PODS) as txn:
        promise = txn[PODS].begin_initializer("its source")
    with TableToEtcd(empty, PODS, etcd.client):
        insert(empty, pod("b"))
        assert list(copy.snapshot()[PODS].values()) == [pod("a")]
        with empty.write(PODS) as txn:
            txn[PODS].finish_initializer(promise)
        until(copy, [pod("b")])
    source.stop()
    assert source.join(10)


def insert(db: Database, *rows: Object) -> None:
    with db.write(PODS) as txn:
        for row in rows:
            txn[PODS].insert(row)


def test_a_prefix_that_would_take_keys_of_others_is_refused(etcd: LocalEtcd):
    with pytest.raises(ValueError, match="must end with a slash"):
        TableToEtcd(Database(PODS), PODS, etcd.client, prefix="tables")
