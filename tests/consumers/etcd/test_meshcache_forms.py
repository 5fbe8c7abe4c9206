"""A remote cluster begins or ceases to announce a prefix: at no time does the cache call complete what is not copied.

The canary of a prefix that is not announced tells that there is nothing. As soon as the config in the cache announces
the prefix, the same canary tells that all of it is there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs

from consumers.etcd.meshcache import MeshCacheOptions, open_meshcache
from consumers.etcd.meshcache.names import cached_config, canaries, config_name
from ingest.etcd import DELETE
from ingest.etcd.local import LocalEtcd
from statedb import Database
from statedb.catalog import TABLES, Backends, Mirror, Mirrored, MirrorKey, Services
from statedb.catalog.wire import endpoint_slices
from statedb.catalog.wire.cluster_configs import (
    BOTH,
    ENDPOINT_SLICES_ONLY,
    SERVICES_ONLY,
    ClusterConfig,
    decode,
    encode,
)

from ...ingest.clustermesh.publisher import CANARIES, CLUSTER, CONFIG_KEY, LITERALS, Publisher, Rig, beating, cached
from ...ingest.clustermesh.test_forms import publish, shown
from ...ingest.kvstore_rig import Deletions
from ...statedb.catalog.test_endpoint_slices import ECHO
from ...waiting import WAIT_S, eventually
from .caching import BELOW, MESHCACHE, ROOT, Cacher, etcdctl, guard
from .etcds import held
from .writing import Interposed

ECHO_SERVICE = "cilium/state/services/v1/cluster3/test/echo"
SERVICES = {
    ECHO_SERVICE.replace("echo", name): LITERALS[ECHO_SERVICE].replace(b'"name":"echo"', b'"name":"%s"' % name.encode())
    for name in ["echo", *map(str, range(30))]
}
ENDPOINT = structs.replace(ECHO.endpoints[0], addresses=("10.244.1.1",))  # the backend of the service
SLICES = {
    "cilium/state/endpointslices/v1/cluster3/test/echo-kvlm2": endpoint_slices.encode(
        structs.replace(ECHO, endpoints=(ENDPOINT,))
    )
}
EXPORTS = {"cilium/state/serviceexports/v1/cluster3/test/echo": b'{"name": "echo"}'}


def canary(entries: dict[str, bytes]) -> str:
    """The canary of the prefix of these keys, in the etcd of the cluster."""
    return next(each for each in CANARIES if each.endswith("/".join(next(iter(entries)).split("/")[:4])))


def synced(entries: dict[str, bytes]) -> str:
    """The same in the cache."""
    return canary(entries).replace("cilium/state", "cilium/cache")


def config(form: str, *, exports: bool = False) -> ClusterConfig:
    return ClusterConfig(3, True, False, 255, exports, form)


def begin(publisher: Publisher, announced: ClusterConfig, entries: dict[str, bytes], without: dict[str, bytes]) -> None:
    """The cluster, with no canary of the prefix that is not announced yet."""
    publisher.beat()
    publisher.configure(announced)
    publisher.put(*entries.items())
    publisher.put(*[(each, b"now") for each in CANARIES if each != canary(without)])


def finish(publisher: Publisher, entries: dict[str, bytes]) -> None:
    publisher.put(*entries.items())
    publisher.put((canary(entries), b"now"))


def announced_by(cache: LocalEtcd) -> ClusterConfig:
    return structs.replace(decode(held(cache)[CONFIG_KEY]), cached=False)


def history(etcd: LocalEtcd, login: tuple[str, str] | None = None) -> Iterator[dict[str, bytes]]:
    """What stands in an etcd at each of its revisions."""
    there: dict[str, bytes] = {}
    with etcd.client(login=login) as client:
        last = client.get(b"x").header.revision
        with client.watch({b"cilium/": 1}) as stream:
            resume = 1
            while resume <= last:
                batch = stream.next(WAIT_S)
                if batch is None:
                    continue
                resume, events = batch.resume, batch.events
                for number, event in enumerate(events):
                    there[event.kv.key.decode()] = event.kv.value
                    if event.type == DELETE:
                        del there[event.kv.key.decode()]
                    if number + 1 == len(events) or events[number + 1].kv.mod_revision > event.kv.mod_revision:
                        yield there


def false_canaries(
    cache: LocalEtcd,
    entries: dict[str, bytes],
    forms: tuple[str, ...],
    *,
    exports: bool = False,
    login: tuple[str, str] | None = None,
) -> int:
    """At how many revisions these keys are announced and called complete, while one of them is missing."""
    names, count = set(map(cached, entries)), 0
    for there in history(cache, login):
        if CONFIG_KEY in there and synced(entries) in there and not names <= there.keys():
            announced = decode(there[CONFIG_KEY])
            count += announced.endpoint_slices in forms and bool(announced.service_exports_enabled) >= exports
    return count


WITH_SERVICES = (SERVICES_ONLY, BOTH)
WITH_SLICES = (BOTH, ENDPOINT_SLICES_ONLY)
BEGINNINGS = [
    (config(ENDPOINT_SLICES_ONLY), config(BOTH), SLICES, SERVICES, WITH_SERVICES),
    (config(ENDPOINT_SLICES_ONLY), config(SERVICES_ONLY), SLICES, SERVICES, WITH_SERVICES),
    (config(SERVICES_ONLY), config(BOTH), SERVICES, SLICES, WITH_SLICES),
    (config(BOTH), config(BOTH, exports=True), SERVICES | SLICES, EXPORTS, (BOTH,)),
]


@pytest.mark.parametrize(("before", "after", "there", "new", "forms"), BEGINNINGS)
def test_a_prefix_that_begins_to_be_announced_is_not_complete_before_it_is_copied(
    origin: LocalEtcd,
    cache: LocalEtcd,
    tmp_path: Path,
    before: ClusterConfig,
    after: ClusterConfig,
    there: dict[str, bytes],
    new: dict[str, bytes],
    forms: tuple[str, ...],
):
    with Publisher(origin) as publisher, beating(publisher):
        begin(publisher, before, there, without=new)
        with Cacher(tmp_path, cache, batch_keys_max=5).names(CLUSTER, origin) as cacher:
            assert cacher.cache.wait_ready(WAIT_S)
            assert synced(new) in held(cache)  # complete, because there is nothing
            publisher.configure(after)
            if (
                after.endpoint_slices != SERVICES_ONLY
            ):  # then the slices are not withdrawn before the services are listed
                eventually(lambda: announced_by(cache) == after, "the new config")
            finish(publisher, new)
            eventually(lambda: announced_by(cache) == after, "the new config")
            eventually(lambda: held(cache).keys() >= {synced(new), *map(cached, new)}, "all keys")
    assert false_canaries(cache, new, forms, exports=bool(after.service_exports_enabled)) == 0


def test_a_reader_of_the_cache_keeps_its_backends_when_services_begin_to_be_announced(
    origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path
):
    with Publisher(origin) as publisher, beating(publisher):
        begin(publisher, config(ENDPOINT_SLICES_ONLY), SLICES, without=SERVICES)
        with Cacher(tmp_path, cache).names(CLUSTER, origin) as cacher:
            assert cacher.cache.wait_ready(WAIT_S)
            with (
                Rig(cache.endpoint) as reader,
                Deletions(reader.db, Backends, lambda key: key.ip) as deletions,
                Deletions(reader.db, Services, lambda key: key.name) as services,
            ):
                assert reader.synced()[Backends]
                publisher.configure(config(BOTH))
                waiting = f"waiting for {synced(SERVICES)}"
                reader.until(
                    lambda s: not s[Backends] or waiting in reader.row("services", snapshot=s).last_error,
                    "the new config",
                )
                assert deletions.now() == set()
                finish(publisher, SERVICES)
                reader.until(lambda s: len(s[Services]) == len(SERVICES))
                reader.synced()
                assert (deletions.now(), services.now()) == (set(), set())


def test_a_new_process_withdraws_what_an_earlier_one_called_complete(
    origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path
):
    with Publisher(origin) as publisher, beating(publisher):
        begin(publisher, config(ENDPOINT_SLICES_ONLY), SLICES, without=SERVICES)
        with Cacher(tmp_path, cache).names(CLUSTER, origin) as cacher:
            assert cacher.cache.wait_ready(WAIT_S)
        publisher.configure(config(BOTH))
        with Cacher(tmp_path, cache, batch_keys_max=5).names(CLUSTER, origin) as cacher:
            eventually(lambda: announced_by(cache) == config(BOTH), "the new config")
            finish(publisher, SERVICES)
            eventually(lambda: held(cache).keys() >= {synced(SERVICES), *map(cached, SERVICES)}, "all keys")
    assert false_canaries(cache, SERVICES, WITH_SERVICES) == 0


@contextmanager
def outage(cache: LocalEtcd, cacher: Cacher) -> Iterator[None]:
    """The etcd of the cache is away, and comes back with what it had."""
    cache.kill()
    eventually(lambda: cacher.cache.health.startswith("failing"), "its complaint")
    yield
    cache.start()


def test_what_is_announced_and_copied_during_an_outage_of_the_cache_is_complete_when_it_is_written(
    origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path
):
    """Both copies are complete, before the outage and after it: only in between was the canary false."""
    with Publisher(origin) as publisher, beating(publisher):
        begin(publisher, config(ENDPOINT_SLICES_ONLY), SLICES, without=SERVICES)
        with Cacher(tmp_path, cache, batch_keys_max=5).names(CLUSTER, origin) as cacher:
            assert cacher.cache.wait_ready(WAIT_S)
            with outage(cache, cacher):
                publisher.configure(config(BOTH))
                finish(publisher, SERVICES)
                wanted = {synced(SERVICES), CONFIG_KEY, *map(cached, SERVICES)}
                cacher.until(lambda s: wanted <= {row.key.name for row in s[Mirror].values()}, "the copy")
            eventually(lambda: held(cache).keys() >= wanted, "all keys")
            eventually(lambda: announced_by(cache) == config(BOTH), "the new config")
    assert false_canaries(cache, SERVICES, WITH_SERVICES) == 0


def test_keys_that_are_announced_no_more_go_after_the_config_says_so(
    origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path
):
    """The backends are in the slices from now on. A reader that sees the services go must not miss them there."""
    both = SERVICES | SLICES
    with Publisher(origin) as publisher, beating(publisher):
        begin(publisher, config(BOTH), both, without=EXPORTS)
        with Cacher(tmp_path, cache, batch_keys_max=5).names(CLUSTER, origin) as cacher:
            assert cacher.cache.wait_ready(WAIT_S)
            with outage(cache, cacher):
                publisher.configure(config(ENDPOINT_SLICES_ONLY))
                finish(publisher, SLICES)
                gone = set(map(cached, SERVICES))
                cacher.until(lambda s: gone.isdisjoint(row.key.name for row in s[Mirror].values()), "the copy")
            eventually(lambda: gone.isdisjoint(held(cache)), "the end of the services")
    assert false_canaries(cache, SERVICES, WITH_SERVICES) == 0


def test_a_replica_of_a_dead_writer_withdraws_nothing_from_the_readers_of_a_cache(
    origin: LocalEtcd, other_origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path
):
    """Its config is from before services were announced, and is not believed before its writer acts."""
    other_origin.kill()
    with (
        Publisher(origin) as living,
        beating(living),
        Cacher(tmp_path, cache).names(CLUSTER, origin, other_origin) as cacher,
        Rig(cache.endpoint) as reader,
        Deletions(reader.db, Backends, lambda key: key.ip) as backends,
        Deletions(reader.db, Services, lambda key: key.name) as services,
    ):
        publish(living, BOTH, whole=True)
        reader.until(lambda s: len(s[Services]) == 2)
        reader.synced()
        other_origin.start()
        with Publisher(other_origin) as writer:
            publish(writer, ENDPOINT_SLICES_ONLY, whole=False)
            origin.kill()
            cacher.until(lambda s: "withholding" in cacher.row("mirror", snapshot=s).last_error)
            beats = {held(cache)["cilium/.heartbeat"]}
            eventually(lambda: len(beats.union({held(cache)["cilium/.heartbeat"]})) > 1, "what was to be written")
            assert announced_by(cache).endpoint_slices == BOTH
            assert (backends.now(), services.now()) == (set(), set())
            writer.beat()
            publish(writer, ENDPOINT_SLICES_ONLY, whole=False)
            eventually(lambda: announced_by(cache).endpoint_slices == ENDPOINT_SLICES_ONLY, "the new config")
            reader.until(lambda _: shown(reader) == (set(), {("echo", "10.244.1.1")}))
        origin.start()


def test_a_config_waits_where_a_canary_that_it_would_make_false_may_not_be_deleted(
    origin: LocalEtcd, cache: LocalEtcd, tmp_path: Path
):
    guard(cache, MESHCACHE[0], (*BELOW, "cilium/cache/"))

    def grant(right: str) -> None:
        where = ("--prefix=true", right, "cilium/synced/")
        etcdctl(cache, "--user=root:root-secret", "role", "grant-permission", MESHCACHE[0], *where)

    def complains() -> bool:
        refusal = cacher.cache._writer.refused().get(CONFIG_KEY)
        return refusal is not None and "must be deleted first" in refusal.reason

    def form_there() -> str:
        return decode(held(cache, ROOT)[CONFIG_KEY]).endpoint_slices

    with Publisher(origin) as publisher, beating(publisher):
        begin(publisher, config(ENDPOINT_SLICES_ONLY), SLICES, without=SERVICES)
        with Cacher(tmp_path, cache, MESHCACHE).names(CLUSTER, origin) as cacher:
            assert cacher.cache.wait_ready(WAIT_S)
            grant("read")
            publisher.configure(config(BOTH))
            eventually(complains, "the complaint")
            finish(publisher, SERVICES)
            cacher.until(lambda s: MirrorKey(CLUSTER, synced(SERVICES)) in s[Mirror], "the copy")
            assert cacher.cache._follower.wait_applied(timeout=WAIT_S)
            eventually(complains, "the complaint")
            assert form_there() == ENDPOINT_SLICES_ONLY
            grant("readwrite")
            eventually(lambda: form_there() == BOTH, "the new config")
            eventually(lambda: held(cache, ROOT).keys() >= {synced(SERVICES), *map(cached, SERVICES)}, "all keys")
    assert false_canaries(cache, SERVICES, WITH_SERVICES, login=ROOT) == 0


def test_a_canary_that_waits_comes_after_keys_that_begin_to_be_announced_before_it_is_written(cache: LocalEtcd):
    """It was queued while there was nothing. It is withdrawn and there again before the follower looks. The writer goes
    on after the follower has told it the config, and before it has told it the keys.
    """
    db = Database(*TABLES, Mirror)
    entries = {cached(key): value for key, value in SERVICES.items()}
    nodes = {f"cilium/cache/nodes/v1/{CLUSTER}/{number}": b"" for number in range(11)}  # with the config: one round
    follower_waits, follower_may, writer_waits, writer_may = (threading.Event() for _ in range(4))

    def write(rows: dict[str, bytes], cluster: str = CLUSTER) -> None:
        with db.write(Mirror) as txn:
            txn[Mirror].insert_all([Mirrored(MirrorKey(cluster, name), value) for name, value in rows.items()])

    def before_commit(puts: set[bytes], _: set[bytes]) -> None:
        if any(b"/nodes/" in key for key in puts):
            writer_waits.set()
            assert writer_may.wait(WAIT_S)

    meshcache = open_meshcache(
        db, lambda: Interposed(cache.client(), before_commit), MeshCacheOptions(grace_s=0.0, batch_keys_max=12)
    )
    arrived = meshcache._departures.arrived

    def hold_up(cluster: str) -> None:
        arrived(cluster)
        if cluster == "other":
            follower_waits.set()
            assert follower_may.wait(WAIT_S)

    update = meshcache._writer.update

    def update_later(changes: dict[str, bytes]) -> None:
        if entries.keys() <= changes.keys():
            writer_may.set()
            eventually(lambda: announced_by(cache) == config(BOTH), "the new config")
        update(changes)

    meshcache._departures.arrived = hold_up  # type: ignore[method-assign]
    meshcache._writer.update = update_later  # type: ignore[method-assign, assignment]
    form = {CONFIG_KEY: encode(config(ENDPOINT_SLICES_ONLY))}
    write(form | nodes | dict.fromkeys(canaries(CLUSTER), b""))
    try:
        with meshcache:
            assert writer_waits.wait(WAIT_S)
            assert meshcache._follower.wait_applied(timeout=WAIT_S)
            write({config_name("other"): encode(config(BOTH))}, "other")
            assert follower_waits.wait(WAIT_S)
            with db.write(Mirror) as txn:
                txn[Mirror].delete(MirrorKey(CLUSTER, synced(SERVICES)))
            write({CONFIG_KEY: encode(config(BOTH))})
            write(entries | {synced(SERVICES): b""})
            follower_may.set()
            eventually(lambda: held(cache).keys() >= {synced(SERVICES), *entries}, "all keys")
    finally:
        follower_may.set()
        writer_may.set()
    assert false_canaries(cache, SERVICES, WITH_SERVICES) == 0


def test_keys_of_an_earlier_process_stay_until_the_config_is_written_that_does_not_announce_them(cache: LocalEtcd):
    """They are looked at when the follower has the new mirror already, and the writer has the old config still."""
    db = Database(*TABLES, Mirror)
    entries = {cached(key): value for key, value in SERVICES.items()}
    with cache.client() as client:
        there = {CONFIG_KEY: cached_config(encode(config(BOTH)))} | entries | dict.fromkeys(canaries(CLUSTER), b"")
        client.put_many([(key.encode(), value) for key, value in there.items()])

    def write(form: str, complete: set[str]) -> None:
        rows = {CONFIG_KEY: encode(config(form))} | dict.fromkeys(complete, b"")
        with db.write(Mirror) as txn:
            txn[Mirror].insert_all([Mirrored(MirrorKey(CLUSTER, name), value) for name, value in rows.items()])

    meshcache = open_meshcache(db, cache.client, MeshCacheOptions(batch_keys_max=5))
    put = meshcache._writer.put

    def put_later(key: str, value: bytes) -> None:
        meshcache._writer.review()
        eventually(lambda: not meshcache._writer.queue_size, "the end of the review")
        put(key, value)

    write(BOTH, set(canaries(CLUSTER)) - {synced(SERVICES)})
    with meshcache:
        eventually(lambda: meshcache._writer.ready)
        meshcache._writer.put = put_later  # type: ignore[method-assign]
        write(ENDPOINT_SLICES_ONLY, {synced(SERVICES)})
        eventually(lambda: entries.keys().isdisjoint(held(cache)), "the end of the services")
    assert announced_by(cache) == config(ENDPOINT_SLICES_ONLY)
    assert false_canaries(cache, SERVICES, WITH_SERVICES) == 0
