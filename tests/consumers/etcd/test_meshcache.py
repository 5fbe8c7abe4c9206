"""Remote clusters into the etcd of a cache, on real servers: a reader of the cache has the rows of the original."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consumers.etcd.meshcache import MeshCacheOptions, open_meshcache
from ingest.etcd import Client, parse_endpoint
from ingest.etcd.local import LocalEtcd
from ingest.keyspace.connect import Servers, UserPassword
from statedb import Database, Snapshot
from statedb.catalog import (
    TABLES,
    Backends,
    Endpoints,
    Identities,
    Mirror,
    MirrorKey,
    Nodes,
    Services,
    SourceKey,
    SourceRow,
    Sources,
)
from statedb.catalog.wire.cluster_configs import ClusterConfig, decode

from ...ingest.clustermesh.publisher import (
    CANARIES,
    CLUSTER,
    CONFIG_KEY,
    LITERALS,
    Publisher,
    Rig,
    cached,
    ip_entry,
    replica,
)
from ...ingest.kvstore_rig import Deletions
from ...waiting import WAIT_S, eventually
from .caching import BELOW, MESHCACHE, ROOT, Cacher, etcdctl, guard
from .etcds import held

DATA = (Nodes, Identities, Endpoints, Services, Backends)
SYNCED = {canary.replace("cilium/state", "cilium/cache") for canary in CANARIES}
SLICE = ("cilium/state/endpointslices/v1/cluster3/test/echo-1", b"\x28\xb5\x2f\xfd not a slice")


def data(etcd: LocalEtcd) -> dict[str, bytes]:
    return {name: value for name, value in held(etcd).items() if name.startswith("cilium/cache/")}


def rows(snapshot: Snapshot) -> list[list[Any]]:
    return [sorted(snapshot[table].values(), key=lambda row: row.key) for table in DATA]


def fill(origin: LocalEtcd, *numbers: int) -> None:
    with Publisher(origin) as publisher:
        publisher.put(*LITERALS.items(), SLICE)
        publisher.publish(numbers)


def test_a_reader_of_the_cache_has_the_rows_of_the_original(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin, 1, 2, 3)
    with Cacher(tmp_path, cache).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
        with Rig(cache.endpoint) as copy, Rig(origin.endpoint) as original:
            assert rows(copy.synced()) == rows(original.synced())
            assert len(original.numbers()) == 3
            with Publisher(origin) as publisher:
                publisher.endpoints([4], identity=(3 << 16) + 5)
                publisher.delete(ip_entry(1)[0], "cilium/state/services/v1/cluster3/test/echo")
            until = {2, 3, 4}
            original.until(lambda s: original.numbers(s) == until and not s[Services])
            copy.until(lambda s: copy.numbers(s) == until and not s[Services])
            assert rows(copy.synced()) == rows(original.synced())
        assert cacher.cache.health == "OK"


def test_bytes_are_those_of_the_original(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin)
    with Publisher(origin) as publisher:
        publisher.put(("cilium/state/ip/v1/default/10.3.0.9", b'{ "IP" : "broken'))
    with Cacher(tmp_path, cache).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
        there = held(cache)
        expected = {cached(name): value for name, value in (*LITERALS.items(), SLICE)}
        expected["cilium/cache/ip/v1/cluster3/10.3.0.9"] = b'{ "IP" : "broken'
        assert data(cache) == expected
        assert set(there) == set(expected) | SYNCED | {CONFIG_KEY, "cilium/.heartbeat"}
        assert there[CONFIG_KEY] == (
            b'{"id":3,"capabilities":{"syncedCanaries":true,"cached":true,"maxConnectedClusters":255,'
            b'"serviceExportsEnabled":false,"endpointSlicesExportMode":"services-and-endpointslices"}}'
        )


def test_canaries_come_after_all_that_they_tell_of(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin, *range(500))
    with Cacher(tmp_path, cache, batch_keys_max=20).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
    with cache.client() as client:
        pages = [kv for page in client.list(b"cilium/") for kv in page.kvs]
    canaries = {kv.key.decode(): kv.mod_revision for kv in pages if kv.key.decode() in SYNCED}
    config = next(kv.mod_revision for kv in pages if kv.key.decode() == CONFIG_KEY)
    for kv in pages:
        name = kv.key.decode()
        if name.startswith("cilium/cache/"):
            canary = "/".join(["cilium/synced", CLUSTER, *name.split("/")[:4]])
            assert config <= kv.mod_revision <= canaries[canary]


def test_keys_stand_under_leases_of_bounded_size(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin, *range(100))
    with Cacher(tmp_path, cache, lease_keys_max=30).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
        with cache.client() as client:
            leases = [kv.lease for page in client.list(b"cilium/") for kv in page.kvs]
        assert all(leases)
        assert max(map(leases.count, leases)) <= 30
        assert cacher.cache.stats().keys == len(leases)
        assert cacher.cache.stats().leases == len(set(leases))


def test_a_cluster_that_left_goes_after_the_grace_and_not_before(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin, 1, 2)
    with Cacher(tmp_path, cache, grace_s=1.0).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
        before = data(cache)
        (tmp_path / CLUSTER).unlink()
        eventually(lambda: CONFIG_KEY not in held(cache), "the end of the config")
        began = time.monotonic()
        assert data(cache) == before
        assert set(held(cache)) >= SYNCED
        eventually(lambda: set(held(cache)) == {"cilium/.heartbeat"}, "the end of the rest")
        assert time.monotonic() - began > 0.5
        cacher.names(CLUSTER, origin)
        eventually(lambda: data(cache) == before, "its return")
        eventually(lambda: set(held(cache)) >= {*SYNCED, CONFIG_KEY})


def test_a_cluster_that_comes_back_within_the_grace_loses_nothing(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin, 1, 2)
    with Cacher(tmp_path, cache, grace_s=60.0).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
        with Rig(cache.endpoint) as reader, Deletions(reader.db) as deletions:
            reader.synced()
            (tmp_path / CLUSTER).unlink()
            eventually(lambda: CONFIG_KEY not in held(cache))
            with Publisher(origin) as publisher:
                publisher.delete(ip_entry(1)[0])
                publisher.endpoints([3])
            cacher.names(CLUSTER, origin)
            reader.until(lambda s: reader.numbers(s) == {1, 2, 3})
            eventually(lambda: set(held(cache)) >= {*SYNCED, CONFIG_KEY})
            assert not deletions.now()  # what was deleted meanwhile goes after the grace too


def test_a_restart_takes_nothing_away_and_then_removes_what_is_stale(
    origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path
):
    fill(origin, 1, 2)
    with Cacher(tmp_path, cache).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
    with Publisher(origin) as publisher, Rig(cache.endpoint) as reader, Deletions(reader.db) as deletions:
        reader.synced()
        publisher.delete(ip_entry(1)[0])
        origin.kill()
        with Cacher(tmp_path, cache, connect_wait_s=0.0) as cacher:
            assert cacher.cache.wait_ready(WAIT_S)  # the cluster does not answer: nobody waits for it
            cacher.until(lambda s: cacher.row(snapshot=s).last_error != "")
            assert reader.numbers(reader.db.snapshot()) == {1, 2}
            origin.start()
            reader.until(lambda s: reader.numbers(s) == {2})
        assert deletions.now() == {ip_entry(1)[0].rpartition("/")[2]}


def test_a_cluster_that_went_while_nobody_looked_is_removed(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin, 1, 2)
    with Cacher(tmp_path, cache).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
    (tmp_path / CLUSTER).unlink()
    bad = tmp_path / "cluster9"
    bad.write_text("endpoints: [")
    with cache.client() as client:
        client.put(b"cilium/cluster-config/cluster1", b'{"id":1,"capabilities":{}}')  # of the publisher's kind
        client.put(b"cilium/synced/cluster1/cilium/state/nodes/v1", b"now")
    with Cacher(tmp_path, cache) as cacher:
        cacher.until(lambda s: SourceKey("*", "*") in s[Sources])
        beats = {held(cache)["cilium/.heartbeat"]}
        eventually(lambda: len(beats.union({held(cache)["cilium/.heartbeat"]})) > 1)
        assert CONFIG_KEY in held(cache)  # a file that cannot be read may be its own under another name
        bad.unlink()
        left = {"cilium/.heartbeat", "cilium/cluster-config/cluster1", "cilium/synced/cluster1/cilium/state/nodes/v1"}
        eventually(lambda: set(held(cache)) == left)


def test_another_id_is_another_cluster(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin, 1, 2)
    with Cacher(tmp_path, cache, grace_s=60.0).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
        with Publisher(origin) as publisher:
            publisher.delete(*LITERALS, SLICE[0], ip_entry(1)[0], ip_entry(2)[0])
            publisher.configure(ClusterConfig(4, True, max_connected_clusters=255))
            publisher.endpoints([7], identity=4 << 16)
        entry = {cached(ip_entry(7)[0]): ip_entry(7, 4 << 16)[1]}
        eventually(lambda: data(cache) == entry and decode(held(cache).get(CONFIG_KEY, b"{}")).id == 4)
        eventually(lambda: set(held(cache)) >= SYNCED)
        with cache.client() as client:
            config = client.get(CONFIG_KEY.encode()).kv
            assert config is not None
            pages = [*client.list(b"cilium/cache/", revision=config.mod_revision)]
            pages += client.list(b"cilium/synced/", revision=config.mod_revision)
        assert not any(page.kvs for page in pages)  # when it said so, nothing of the other one was left
        with cache.client() as client, Publisher(origin) as publisher:
            (key,) = entry
            created = client.get(key.encode()).kv
            publisher.configure(ClusterConfig(4, True, max_connected_clusters=255, service_exports_enabled=True))
            publisher.sync()
            eventually(lambda: decode(held(cache).get(CONFIG_KEY, b"{}")).service_exports_enabled)
            eventually(lambda: set(held(cache)) >= {*SYNCED, key})
            assert client.get(key.encode()).kv == created  # the next config of the same id deletes nothing


def test_an_emptied_cache_is_filled_again(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin, 1, 2)
    with Cacher(tmp_path, cache).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
        before = data(cache)
        cache.kill()
        eventually(lambda: cacher.cache.health.startswith("failing"), "its complaint")
        cache.forget()
        cache.start()
        eventually(lambda: data(cache) == before and set(held(cache)) >= {*SYNCED, CONFIG_KEY})
        eventually(lambda: cacher.cache.health == "OK")


def test_a_lost_lease_is_made_good(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin, *range(50))
    with Cacher(tmp_path, cache, lease_keys_max=20, lease_time_s=1.5, heartbeat_s=3600.0).names(
        CLUSTER, origin
    ) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
        before = data(cache)
        with cache.client() as client:
            lease = next(iter(client.list(b"cilium/cache/ip/"))).kvs[0].lease
            client.revoke(lease)
        eventually(lambda: data(cache) == before)
        eventually(lambda: set(held(cache)) >= {*SYNCED, CONFIG_KEY})
        assert cacher.cache.stats().connections == 1


def test_leases_are_renewed(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin, 1)
    with Cacher(tmp_path, cache, lease_time_s=2.0).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
        with Rig(cache.endpoint) as reader, Deletions(reader.db) as deletions:
            reader.synced()
            threading.Event().wait(5.0)  # etcd's clock, which cannot be turned
            assert deletions.now() == set()
            assert reader.numbers() == {1}


@pytest.mark.parametrize("spoiled", [b"{}", b'{"id":7}', b"no config", b"\xff"])
def test_what_a_cluster_says_of_itself_is_enforced(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path, spoiled: bytes):
    """Whatever a stranger writes there, with another id too: it holds nobody up, and no key of the cluster goes."""
    fill(origin, 1)
    with Cacher(tmp_path, cache).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
        before = held(cache)[CONFIG_KEY]
        with cache.client() as client:
            client.put(CONFIG_KEY.encode(), spoiled)
        eventually(lambda: held(cache)[CONFIG_KEY] == before)
        eventually(lambda: cacher.cache.ready)
        assert cacher.cache.stats().deletes == 0


def test_a_cache_that_stands_by_is_ready_and_has_nothing_to_write(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin, 1)
    with Cacher(tmp_path / "a", cache, leader_election=True).names(CLUSTER, origin) as first:
        assert first.cache.wait_ready(WAIT_S)
        with Cacher(tmp_path / "b", cache, leader_election=True).names(CLUSTER, origin) as second:
            assert second.cache.wait_ready(WAIT_S)
            assert second.cache.health.startswith("OK, standing by")
            assert second.cache.queue_size == 0


def test_the_rate_is_kept_and_changes_meanwhile_are_written_once(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    with Cacher(tmp_path, cache, writes_per_s=200.0, batch_keys_max=10).names(CLUSTER, origin) as cacher:
        fill(origin, *range(200))
        began = time.monotonic()
        cacher.synced()
        with Publisher(origin) as publisher:
            for step in range(10):
                publisher.endpoints(range(20), identity=(3 << 16) + step)
        expected = {cached(ip_entry(n)[0]): ip_entry(n, (3 << 16) + 9)[1] for n in range(20)}
        assert cacher.cache.wait_ready(WAIT_S)
        eventually(lambda: expected.items() <= data(cache).items())
        assert time.monotonic() - began > 0.8
        assert cacher.cache.queue_size <= 220


def test_it_stops_at_once_where_nobody_answers(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    fill(origin, 1)
    with Cacher(tmp_path, cache).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
        cache.freeze()
        try:
            with Publisher(origin) as publisher:
                publisher.endpoints([2])
            cacher.until(lambda s: MirrorKey(CLUSTER, cached(ip_entry(2)[0])) in s[Mirror])
            began = time.monotonic()
            cacher.cache.stop()
            assert cacher.cache.join(10)
            assert time.monotonic() - began < 2
        finally:
            cache.thaw()
    assert cacher.cache.health == "stopped"


# --- the publisher's etcd and the cache are two -----------------------------------------------------------------------


PUBLISHER = ("publisher", "publisher-secret")


def test_keys_of_another_id_that_may_not_be_deleted_hold_up_their_cluster_alone(
    origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path
):
    """The writer rests, says what is wrong, and goes on when the right is given back. It asked without a pause."""
    fill(origin, 1)
    guard(cache, MESHCACHE[0], (*BELOW, "cilium/cache/"))

    def grant(right: str) -> None:
        root = "--user=root:root-secret"
        etcdctl(cache, root, "role", "grant-permission", MESHCACHE[0], "--prefix=true", right, "cilium/cache/")

    def id_there() -> int:
        return decode(held(cache, ROOT)[CONFIG_KEY]).id

    def why_not(key: str) -> str:
        refusal = cacher.cache._writer.refused().get(key)
        return "" if refusal is None else refusal.reason

    with Cacher(tmp_path, cache, MESHCACHE).names(CLUSTER, origin) as cacher:
        assert cacher.cache.wait_ready(WAIT_S)
        grant("read")
        before = set(held(cache, ROOT))
        with Publisher(origin) as publisher:
            publisher.delete(*LITERALS, SLICE[0], ip_entry(1)[0])
            publisher.configure(ClusterConfig(4, True, max_connected_clusters=255))
            publisher.endpoints([7], identity=4 << 16)
        eventually(lambda: "must be deleted first, but cannot be" in why_not(CONFIG_KEY), "the complaint")
        eventually(lambda: cacher.cache.queue_size == 0, "the rest")
        assert id_there() == 3
        assert set(held(cache, ROOT)) <= before  # none of the keys of the other id
        grant("readwrite")
        eventually(lambda: id_there() == 4, "the config of the new id")
        entry = {cached(ip_entry(7)[0]): ip_entry(7, 4 << 16)[1]}
        eventually(lambda: set(held(cache, ROOT)) >= SYNCED, "the canaries")
        found = held(cache, ROOT)
        assert {key: value for key, value in found.items() if key.startswith("cilium/cache/")} == entry
        eventually(lambda: cacher.cache.health == "OK", "the end of the complaint")


def test_overload_and_loss_of_one_etcd_leave_the_other_alone(origin: LocalEtcd, tmp_path: Path):
    """The publisher of the local cluster writes one etcd, the cache of the others is another: users, load, loss."""
    with replica() as own, replica() as cache:
        own.start()
        cache.start()
        guard(own, PUBLISHER[0], (*BELOW, "cilium/state/"))
        guard(cache, MESHCACHE[0], (*BELOW, "cilium/cache/"))
        fill(origin, 1)

        def reader(etcd: LocalEtcd, login: tuple[str, str]) -> Rig:
            where = Servers(
                endpoints=(parse_endpoint(etcd.endpoint),), login=UserPassword(*login), locked=True, timeout_s=5.0
            )
            return Rig(through=where)

        with (
            Publisher(own, login=PUBLISHER) as publisher,
            Publisher(origin) as remote,
            Cacher(tmp_path / "mesh", cache, login=MESHCACHE).names(CLUSTER, origin) as cacher,
            reader(own, PUBLISHER) as of_own,
            reader(cache, MESHCACHE) as of_cache,
        ):
            publisher.publish([1])
            of_own.synced()
            assert cacher.cache.wait_ready(WAIT_S)
            of_cache.synced()

            # The publisher's etcd is flooded, then gone: what other clusters say still comes.
            stop = threading.Event()

            def flood() -> None:
                with own.client(login=PUBLISHER) as client:
                    big = b"x" * 100_000
                    while not stop.is_set():
                        try:
                            client.put_many([(b"cilium/state/flood/%d" % n, big) for n in range(10)])
                        except Exception:  # it is killed below
                            return

            floods = [threading.Thread(target=flood) for _ in range(3)]
            for each in floods:
                each.start()
            remote.endpoints([2])
            of_cache.until(lambda s: of_cache.numbers(s) == {1, 2})
            own.kill()
            stop.set()
            for each in floods:
                each.join(30)
            remote.endpoints([3])
            of_cache.until(lambda s: of_cache.numbers(s) == {1, 2, 3})
            of_own.until(lambda s: of_own.row(snapshot=s).state == "stale")
            assert of_own.numbers() == {1}
            own.start()

            # The cache is frozen, then gone: what our own cluster says still comes.
            cache.freeze()
            publisher.endpoints([4])
            of_own.until(lambda s: of_own.numbers(s) >= {1, 4})
            cache.thaw()
            cache.kill()
            publisher.endpoints([5])
            of_own.until(lambda s: of_own.numbers(s) >= {1, 4, 5})
            of_cache.until(lambda s: of_cache.row(snapshot=s).state == "stale")
            remote.endpoints([6])
            cache.start()
            of_cache.until(lambda s: of_cache.numbers(s) == {1, 2, 3, 6})


def test_one_user_may_not_write_in_the_etcd_of_the_other(origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path):
    guard(cache, MESHCACHE[0], (*BELOW, "cilium/cache/"))
    fill(origin, 1)
    with Cacher(tmp_path, cache, login=PUBLISHER).names(CLUSTER, origin) as cacher:
        eventually(lambda: "authentication failed" in cacher.cache.health)
        assert not cacher.cache.ready


def test_news_of_a_source_costs_nothing_for_the_keys_of_clusters_that_do_not_answer(cache: LocalEtcd):
    """Their keys were all looked at each time: with 200 clusters of 200 keys a third of a second of CPU."""
    with cache.client() as client:
        client.put_many([(f"cilium/cache/ip/v1/c{number}/10.0.0.1".encode(), b"x") for number in range(2, 52)])
    db = Database(*TABLES, Mirror)

    def say(*rows: SourceRow) -> None:
        with db.write(Sources) as txn:
            txn[Sources].insert_all(rows)

    waits = [
        SourceRow(SourceKey(f"c{number}", Mirror.name), "remote-clusters", "connecting") for number in range(2, 52)
    ]
    say(SourceRow(SourceKey("*", "*"), "remote-clusters", "synced"), *waits)
    asked: list[str] = []
    writer = open_meshcache(db, lambda: Client(parse_endpoint(cache.endpoint)), MeshCacheOptions(grace_s=0.0))
    may_delete = writer._departures.may_delete

    def counted(cluster: str, *, at_once: bool) -> tuple[bool, bool]:
        asked.append(cluster)
        return may_delete(cluster, at_once=at_once)

    writer._departures.may_delete = counted  # type: ignore[method-assign]
    with writer:
        eventually(lambda: len(asked) == 50 and not writer.queue_size)
        for rows in range(5):
            say(msgspec.structs.replace(waits[0], rows=rows + 1))
            assert writer._follower.wait_applied(timeout=WAIT_S)
        assert (len(asked), writer.queue_size) == (50, 0)
        with db.write(Sources) as txn:  # one that is configured no more is asked about, and goes
            txn[Sources].delete(waits[0].key)
        eventually(lambda: len(data(cache)) == 49)


def test_a_table_that_is_missing_is_told_at_once(tmp_path: Path):
    with pytest.raises(Exception, match="mirror"):
        open_meshcache(Database(*TABLES), lambda: pytest.fail("nobody connects"))


def test_readiness_waits_for_the_directory_to_be_looked_at(cache: LocalEtcd, tmp_path: Path):
    cacher = Cacher(tmp_path, cache)
    cacher.cache.start()
    eventually(lambda: cacher.cache.health == "OK")
    assert not cacher.cache.wait_ready(0)
    with cacher.db.write(Sources) as txn:
        txn[Sources].insert(SourceRow(SourceKey("*", "*"), "remote-clusters", "synced"))
    assert cacher.cache.wait_ready(WAIT_S)
    cacher.cache.stop()
    assert cacher.cache.join(10)
