"""What a dump says of the etcd that its rows came from is never older than the rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from ingest.etcd.local import LocalEtcd
from ingest.keyspace.lineage import Lineage
from ingest.keyspace.origin import _latest, _Origin
from statedb import Database, Snapshot, load
from statedb.catalog import Endpoints, SourceKey, Sources

from ..clustermesh.publisher import Publisher, Rig as MeshRig, ip_entry
from ..fanout.rig import CLUSTER as PUBLISHED, PODS, Reader, insert, pod, writer
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


class Header(msgspec.Struct):
    cluster_id: int
    revision: int
    raft_term: int = 2


def origin_at(etcd: int, revision: int) -> str:
    lineage = Lineage()
    lineage.begin(
        msgspec.defstruct("Header", [("cluster_id", int), ("revision", int), ("raft_term", int)])(etcd, revision, 2)
    )
    return msgspec.json.encode(_Origin(lineage.dump(), {})).decode()


@pytest.mark.parametrize(
    ("origins", "latest"),
    [
        ([(7, 10), (7, 30), (7, 20)], (7, 30)),
        ([(7, 10)], (7, 10)),
        ([(7, 10), (8, 30)], None),  # the rows of one table are from before a replacement
        ([(7, 10), None], None),
        ([], None),
    ],
)
def test_the_latest_origin_covers_the_rows_of_all_tables(
    origins: list[tuple[int, int] | None], latest: tuple[int, int] | None
):
    chosen = _latest(["" if each is None else origin_at(*each) for each in origins])
    expected = "" if latest is None else msgspec.json.decode(origin_at(*latest), type=_Origin).lineage
    assert chosen.lineage == expected
