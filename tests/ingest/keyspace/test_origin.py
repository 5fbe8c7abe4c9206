"""What a dump says of the etcd that its rows came from is never older than the rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import msgspec
import pytest

from ingest.etcd.local import LocalEtcd
from ingest.keyspace.keyspace import Keyspace
from ingest.keyspace.lineage import Lineage
from ingest.keyspace.origin import OriginKeeper, _Origin
from ingest.source import AnyTable
from ingest.status import Status
from statedb import Database, Snapshot, load
from statedb.catalog import Endpoints, Rejected, SourceKey, Sources

from ..clustermesh.publisher import Publisher, Rig as MeshRig, ip_entry
from ..fanout.rig import CLUSTER as PUBLISHED, MAPS, PODS, Reader, insert, pod, writer
from ..kvstore_rig import HEARTBEAT, Deletions, Rig, endpoints_in, ip_of, put_endpoint, put_endpoints


def revision_of(origin: str) -> int | None:
    """The revision up to which rows are covered; None if that is in doubt."""
    if not origin:
        return None
    lineage = Lineage()
    lineage.load(msgspec.json.decode(origin, type=_Origin).lineage)
    return lineage.revision


def always_covers(
    until: Callable[[Callable[[Snapshot], bool]], Snapshot],
    has: Callable[[Snapshot, int], bool],
    origin: Callable[[Snapshot], str],
    writes: list[Callable[[], int]],
) -> None:
    """Make the writes, which return their revisions, and look at each snapshot until the row is there."""
    until(lambda snapshot: origin(snapshot) != "")
    for number, write in enumerate(writes):
        revision = write()

        def arrived(snapshot: Snapshot, number: int = number, revision: int = revision) -> bool:
            if not has(snapshot, number):
                return False
            covered = revision_of(origin(snapshot))
            assert covered is None or covered >= revision
            return True

        until(arrived)
    assert revision_of(origin(until(lambda _: True))) is not None  # nothing is in doubt, so it is not left out either


def test_it_covers_each_row_of_a_kvstore(own_etcd: LocalEtcd):
    with own_etcd.client() as client, Rig(own_etcd.endpoint) as rig:
        rig.synced()
        always_covers(
            rig.until,
            lambda snapshot, number: rig.endpoints(snapshot).get(ip_of(0)) == 70_000 + number,
            lambda snapshot: rig.row(snapshot).origin,
            [partial(put_endpoint, client, ip_of(0), 70_000 + number) for number in range(20)],
        )


def test_it_covers_each_row_of_a_published_table(own_etcd: LocalEtcd):
    db = Database(PODS)
    insert(db, pod("a"))
    with writer(db, own_etcd) as publisher:
        assert publisher.wait_ready(30)
    with own_etcd.client() as client, Reader(own_etcd.endpoint) as reader:
        reader.has("a")
        kv = client.get(b"tables/pods/c/shop/a").kv
        assert kv is not None

        def put(name: str) -> int:
            key = f"tables/pods/c/shop/{name}".encode()
            return client.put(key, kv.value.replace(b'"a"', f'"{name}"'.encode()), kv.lease).revision

        always_covers(
            reader.until,
            lambda snapshot, number: f"b{number}" in {key.name for key in snapshot[PODS]},
            lambda snapshot: snapshot[Sources][SourceKey(PUBLISHED, "pods")].origin,
            [partial(put, f"b{number}") for number in range(20)],
        )


def test_it_covers_each_row_of_a_cluster(own_etcd: LocalEtcd):
    with Publisher(own_etcd) as publisher, own_etcd.client() as client:
        publisher.publish(range(3))

        def put(number: int) -> int:
            key, value = ip_entry(number)
            return client.put(key.encode(), value).revision

        with MeshRig(own_etcd.endpoint) as rig:
            rig.synced()
            always_covers(
                rig.until,
                lambda snapshot, number: 10 + number in rig.numbers(snapshot),
                lambda snapshot: rig.row(snapshot=snapshot).origin,
                [partial(put, 10 + number) for number in range(20)],
            )


def test_rows_that_a_backup_lacks_are_kept_after_a_warm_start(own_etcd: LocalEtcd, tmp_path: Path):
    """The origin was saved every ten seconds. A backup of a moment in between counted as the server of the rows."""
    etcd = own_etcd
    with etcd.client() as client:
        put_endpoints(client, range(20))
        client.put(HEARTBEAT, b"1")
    with Rig(etcd.endpoint) as before:
        before.until(lambda snapshot: before.state(snapshot) == "synced" and before.row(snapshot).origin != "")
        etcd.kill()
        etcd.back_up(tmp_path / "backup")
        etcd.start()
        with etcd.client() as client:
            put_endpoints(client, range(20, 25))
        before.until(lambda snapshot: len(snapshot[Endpoints]) == 25)
        dump = list(before.db.dump(*[table for table in before.db.tables if table.name != "rejected"]))
    etcd.kill()
    etcd.restore(tmp_path / "backup")
    etcd.start()
    with etcd.client() as client:
        assert len(endpoints_in(client)) == 20
        for _ in range(50):  # it has overtaken the one of before
            client.put(b"elsewhere", b"")
        after = Rig(etcd.endpoint)
        load(after.db, dump)
        with after.db.write(Sources) as txn:  # as the agent does it
            for row in txn[Sources].values():
                txn[Sources].insert(type(row)(row.key, row.backend, origin=row.origin))
        with Deletions(after.db) as deletions, after:
            after.until(lambda snapshot: after.row(snapshot).withheld_deletes == 5)
            assert deletions.now() == set()
        assert len(after.db.snapshot()[Endpoints]) == 25


def test_a_canary_that_was_lost_before_a_restart_says_nothing_in_a_backup(own_etcd: LocalEtcd, tmp_path: Path):
    db, etcd = Database(PODS), own_etcd
    insert(db, pod("a"))
    with writer(db, etcd) as publisher:
        assert publisher.wait_ready(30)
    etcd.kill()
    etcd.back_up(tmp_path / "backup")
    etcd.start()
    insert(db, pod("b"))
    with Reader(etcd.endpoint) as before, etcd.client() as client:
        with writer(db, etcd):
            before.has("a", "b")
        client.delete(b"tables/.synced/pods")
        before.told("stale: waiting for tables/.synced/pods")
    dump = list(before.db.dump(PODS, Sources))
    etcd.kill()
    etcd.restore(tmp_path / "backup")
    etcd.start()
    after = Reader(etcd.endpoint)
    load(after.db, dump)
    with after, etcd.client() as client:
        after.until(lambda s: after.row(s).withheld_deletes == 1)
        canary = client.get(b"tables/.synced/pods").kv
        assert canary is not None
        client.put(b"tables/.heartbeat/pods", b"{}", canary.lease)
        for number in range(3):  # each comes with a round of its own, in which the row would go
            key = f"tables/pods/c/shop/bad{number}".encode()
            client.put(key, b"{", canary.lease)
            after.until(lambda s, number=number: len(s[Rejected]) == number + 1)
        assert after.deleted == set()
        assert after.names() == {"a", "b"}


class Header(msgspec.Struct):
    cluster_id: int
    revision: int
    raft_term: int = 2


class Run:
    """One process with a source of some tables, whose rows change as the etcd changes."""

    def __init__(self, db: Database, *tables: AnyTable) -> None:
        self.keyspace = Keyspace((), cast(Any, None), 100, cast(Any, None), lambda: False)
        self.lineage = self.keyspace.lineage
        self.status = Status(db, PUBLISHED, "etcd", tables)
        self.keeper = OriginKeeper(self.status, self.keyspace, {}, lambda: 0.0)
        self.status.claim()
        self.status.inherit(tables)
        self.keeper.load()

    def settled_at(self, etcd: int, revision: int) -> Self:
        self.lineage.begin(Header(etcd, revision))
        self.keeper.settle(is_settled=True)
        return self

    def change(self, table: AnyTable, key: bytes, revision: int) -> None:
        self.lineage.observe(revision)
        self.lineage.witness([(key, revision, None)])
        self.status.rows_change([table])

    def dump(self) -> None:
        """Write what there is, and end as in a crash: what `OriginKeeper.end` would save is not."""
        self.status.release()


def tables() -> tuple[Database, Any, Any]:
    return Database(PODS, MAPS, Sources, Rejected), PODS, MAPS


@pytest.mark.parametrize("revision", range(10, 30))
def test_the_latest_of_several_tables_counts_even_if_both_reached_the_same_revision(revision: int):
    db, a, b = tables()
    run = Run(db, a, b).settled_at(7, 5)
    run.change(a, b"a", revision)
    run.change(b, b"b", revision)
    run.dump()
    assert Run(db, a, b).lineage.witnesses.keys() == {b"a", b"b"}


def test_the_latest_counts_even_where_an_etcd_with_lower_revisions_took_over():
    db, a, b = tables()
    run = Run(db, a, b).settled_at(7, 1000)
    run.keeper.connected()
    run.settled_at(7, 500)
    run.change(a, b"a", 510)
    run.dump()
    assert Run(db, a, b).lineage.revision == 510


def test_what_is_in_doubt_for_one_table_is_so_for_all():
    db, a, b = tables()
    run = Run(db, a, b).settled_at(7, 5)
    run.keeper.connected()
    run.change(a, b"a", 10)
    run.dump()
    assert not Run(db, a, b).lineage.known


def test_tables_that_were_filled_apart_are_in_doubt_together():
    """The etcd of the one was restored meanwhile, and has lost what the rows of the other came from."""
    db, a, b = tables()
    Run(db, a, b).settled_at(7, 20).dump()
    Run(db, a).settled_at(7, 100).dump()
    alone = Run(db, a)
    assert alone.lineage.revision == 100
    alone.dump()
    assert not Run(db, a, b).lineage.known


def test_nothing_is_written_while_nothing_changes():
    db, a, b = tables()
    run = Run(db, a, b).settled_at(7, 5)
    run.status.write()
    run.keeper.end()
    assert not run.status.is_waiting


def test_what_another_version_has_saved_is_not_known():
    db, a, b = tables()
    Run(db, a, b).settled_at(7, 20).dump()
    with db.write(Sources) as txn:
        for row in txn[Sources].values():
            txn[Sources].insert(type(row)(row.key, row.backend, origin='{"lineage":"","canaries":{}}'))
    assert not Run(db, a, b).lineage.known
