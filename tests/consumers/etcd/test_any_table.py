"""A table through an etcd into the table of another process: the same rows, and no row goes with its writer."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from consumers.etcd import TableToEtcd, WriterOptions
from ingest import KvstoreOptions, Source, kvstore
from ingest.etcd.local import LocalEtcd
from statedb import Database
from statedb.catalog import Object, ObjectKey, objects_table
from statedb.catalog.objects import Objects

PODS = objects_table("pods", ("by_node",))
NODES = objects_table("nodes", ("by_node",))


@pytest.fixture(scope="module")
def etcd() -> Iterator[LocalEtcd]:
    with LocalEtcd() as server:
        server.start()
        yield server


def pod(name: str, node: str = "node-1", namespace: str = "shop") -> Object:
    rest = f'{{"spec":{{"nodeName":"{node}"}}}}'
    return Object(ObjectKey("c", namespace, name), version="1", labels=(("app", "é"),), rest=rest, indexed=((node,),))


def reader(etcd: LocalEtcd, db: Database, table: type[Objects] = PODS) -> Source:
    options = KvstoreOptions(endpoints=(etcd.endpoint,), retry_min_s=0.02, retry_max_s=0.2)
    return kvstore.table(db, table, options, cluster="c")


def until(db: Database, rows: list[Object], table: type[Objects] = PODS) -> None:
    with db.changes(table) as stream:
        while list(db.snapshot()[table].values()) != rows:
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


def test_nothing_goes_before_the_table_is_initialized(etcd: LocalEtcd):
    filled, starting, copy, nodes = Database(PODS), Database(PODS, NODES), Database(), Database()
    insert(filled, pod("a"))
    sources = [reader(etcd, copy), reader(etcd, nodes, NODES)]
    for source in sources:
        source.start()
    with TableToEtcd(filled, PODS, etcd.client):
        until(copy, [pod("a")])
    beat = heartbeat(etcd)
    with starting.write(PODS) as txn:
        promise = txn[PODS].begin_initializer("its source")
    with TableToEtcd(starting, PODS, etcd.client) as waiting, TableToEtcd(starting, NODES, etcd.client):
        insert(starting, pod("b"))
        insert(starting, pod("beside", namespace=""), table=NODES)
        until(nodes, [pod("beside", namespace="")], NODES)  # begun later, this one has written and was read
        with etcd.client() as client:
            assert [kv.key for page in client.list(b"tables/pods/") for kv in page.kvs] == [b"tables/pods/c/shop/a"]
        assert waiting.health == "waiting until initialized: pods"
        assert heartbeat(etcd) == beat  # who has not read its table yet vouches for nothing
        assert not waiting.ready
        with starting.write(PODS) as txn:
            txn[PODS].finish_initializer(promise)
        until(copy, [pod("b")])
    for source in sources:
        source.stop()
        assert source.join(10)


def heartbeat(etcd: LocalEtcd, table: str = "pods") -> int:
    """The revision of the last beat of a table's writer."""
    with etcd.client() as client:
        return client.get(f"tables/.heartbeat/{table}".encode()).kv.mod_revision


def insert(db: Database, *rows: Object, table: type[Objects] = PODS) -> None:
    with db.write(table) as txn:
        for row in rows:
            txn[table].insert(row)


def test_a_prefix_that_would_take_keys_of_others_is_refused(etcd: LocalEtcd):
    with pytest.raises(ValueError, match="must end with a slash"):
        TableToEtcd(Database(PODS), PODS, etcd.client, prefix="tables")


def test_rows_that_are_not_owned_are_not_written(etcd: LocalEtcd):
    maps = objects_table("maps", ("by_node",))
    db, copy = Database(maps), Database()
    insert(db, pod("a"), pod("b"), table=maps)

    def owns(row: Object) -> bool:
        return row.label("not-ours") == ""

    source = reader(etcd, copy, maps)
    source.start()
    with TableToEtcd(db, maps, etcd.client, WriterOptions(retry_min_s=0.02), owns=owns):
        until(copy, [pod("a"), pod("b")], maps)
        insert(db, msgspec.structs.replace(pod("a"), labels=(("not-ours", "x"),)), table=maps)
        until(copy, [pod("b")], maps)
    source.stop()
    assert source.join(10)
