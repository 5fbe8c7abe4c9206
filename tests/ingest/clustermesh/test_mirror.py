"""The table of raw values: byte for byte what the cluster keeps, by the keys of a cache; nothing where it is off."""

import contextlib

import pytest

from ingest.clustermesh.factory import remote
from ingest.clustermesh.ids import ClusterIds
from ingest.clustermesh.kinds import MIRROR_FEEDS
from ingest.etcd.local import LocalEtcd
from statedb import Snapshot
from statedb.catalog import Endpoints, Mirror, MirrorKey, Rejected
from statedb.catalog.wire.cluster_configs import BOTH, ENDPOINT_SLICES_ONLY, SERVICES_ONLY, ClusterConfig, encode

from ..kvstore_rig import Deletions
from .publisher import (
    CANARIES,
    CLUSTER,
    CONFIG,
    CONFIG_KEY,
    LITERALS,
    Publisher,
    Rig,
    beating,
    cached,
    ip_entry,
    options,
    servers,
)

SLICE = ("cilium/state/endpointslices/v1/cluster3/test/echo-1", b"\x28\xb5\x2f\xfd not a slice")
EXPORT = ("cilium/state/serviceexports/v1/cluster3/test/echo", b'{"name": "echo"}')
ECHO = "cilium/state/services/v1/cluster3/test/echo"
SERVICES = next(canary for canary in CANARIES if "services" in canary)
SYNCED = {canary.replace("cilium/state", "cilium/cache") for canary in CANARIES}


def mirror(snapshot: Snapshot) -> dict[str, bytes]:
    assert all(row.key.cluster == CLUSTER for row in snapshot[Mirror].values())
    return {row.key.name: row.value for row in snapshot[Mirror].values()}


def data(snapshot: Snapshot) -> dict[str, bytes]:
    return {name: value for name, value in mirror(snapshot).items() if name.startswith("cilium/cache/")}


def publish(publisher: Publisher, config: ClusterConfig | None = None) -> None:
    publisher.put(*LITERALS.items(), SLICE, EXPORT)
    publisher.beat()
    publisher.configure(config)
    publisher.sync()


def config(endpoint_slices: str = BOTH, exports: bool | None = None) -> ClusterConfig:
    return ClusterConfig(3, True, False, 255, exports, endpoint_slices)


def test_values_are_copied_byte_for_byte_by_the_keys_of_a_cache(server: LocalEtcd):
    with Publisher(server) as publisher:
        publish(publisher)
        with Rig(server.endpoint, mirror=True) as rig:
            snapshot = rig.synced()
            assert data(snapshot) == {cached(key): value for key, value in (*LITERALS.items(), SLICE)}
            assert mirror(snapshot)[CONFIG_KEY] == CONFIG
            assert set(mirror(snapshot)) == {CONFIG_KEY} | SYNCED | set(data(snapshot))
            assert rig.row("mirror").rows == len(mirror(snapshot))


def test_what_cannot_be_read_is_copied_too(server: LocalEtcd):
    bad = ("cilium/state/ip/v1/default/10.3.0.9", b"{not json")
    with Publisher(server) as publisher:
        publish(publisher)
        publisher.put(bad)
        with Rig(server.endpoint, mirror=True) as rig:
            snapshot = rig.until(lambda s: rig.row("mirror", snapshot=s).state == "synced" and bool(s[Rejected]))
            assert mirror(snapshot)[cached(bad[0])] == bad[1]
            worse = b'\xff{"IP":'
            publisher.put((bad[0], worse))
            rig.until(lambda s: mirror(s)[cached(bad[0])] == worse)
            publisher.delete(bad[0])
            rig.until(lambda s: cached(bad[0]) not in mirror(s))


def test_changes_are_followed(server: LocalEtcd):
    with Publisher(server) as publisher:
        publisher.publish(range(3))
        with Rig(server.endpoint, mirror=True) as rig:
            rig.synced()
            publisher.endpoints([3])
            publisher.delete(ip_entry(0)[0])
            expected = {cached(key): value for key, value in map(ip_entry, (1, 2, 3))}
            rig.until(lambda s: data(s) == expected)


def test_nothing_says_that_all_is_there_before_all_is_there(server: LocalEtcd):
    with Publisher(server) as publisher:
        publish(publisher)
        publisher.delete(CANARIES[0])  # that of nodes
        with Rig(server.endpoint, mirror=True) as rig:
            waits = f"waiting for {CANARIES[0]}: not all of it is there yet"
            lacking = CANARIES[0].replace("state", "cache")
            snapshot = rig.until(
                lambda s: rig.row("mirror", snapshot=s).last_error == waits and len(mirror(s)) > len(SYNCED)
            )
            assert lacking not in mirror(snapshot)
            assert not any(name.startswith("cilium/cache/nodes/") for name in mirror(snapshot))
            publisher.sync()
            rig.until(lambda s: set(mirror(s)) >= SYNCED)


def test_every_form_that_is_announced_is_copied_and_the_others_are_told_complete(server: LocalEtcd):
    service = "cilium/state/services/v1/cluster3/test/echo"
    for announced, expected in (
        (config(SERVICES_ONLY), {service}),
        (config(BOTH), {service, SLICE[0]}),
        (config(BOTH, exports=True), {service, SLICE[0], EXPORT[0]}),
        (config(ENDPOINT_SLICES_ONLY, exports=False), {SLICE[0]}),
    ):
        for prefers in (False, True):
            with Publisher(server) as publisher:
                publish(publisher, announced)
                with Rig(server.endpoint, mirror=True, prefer_endpoint_slices=prefers) as rig:
                    snapshot = rig.until(lambda s: set(mirror(s)) >= SYNCED, str(announced))
                    parts = ("/services/", "/endpointslices/", "/serviceexports/")
                    found = {name for name in data(snapshot) if any(part in name for part in parts)}
                    assert found == set(map(cached, expected))


def test_a_form_that_is_announced_no_more_goes(server: LocalEtcd):
    with Publisher(server) as publisher:
        publish(publisher, config(BOTH))
        with Rig(server.endpoint, mirror=True) as rig:
            rig.until(lambda s: cached(SLICE[0]) in mirror(s))
            publisher.configure(config(SERVICES_ONLY))
            with beating(publisher):
                rig.until(lambda s: cached(SLICE[0]) not in mirror(s))
            rig.until(lambda s: set(mirror(s)) >= SYNCED)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_copy_that_begins_to_be_announced_is_not_complete_before_its_list_is_believed(
    server: LocalEtcd, restarts: bool
):
    """It was complete, because there was nothing. With ``restarts`` a new source has the rows of an earlier one."""
    complete = SERVICES.replace("cilium/state", "cilium/cache")
    with Publisher(server) as publisher:
        publish(publisher, config(ENDPOINT_SLICES_ONLY))
        publisher.delete(SERVICES)
        with contextlib.ExitStack() as sources:
            rig = sources.enter_context(Rig(server.endpoint, mirror=True))
            rig.until(lambda s: complete in mirror(s))
            if restarts:
                sources.close()
                rig.source = remote(rig.db, CLUSTER, servers(server.endpoint), options(), ClusterIds(1), mirror=True)
            publisher.configure(config(BOTH))
            if restarts:
                sources.enter_context(rig)
            snapshot = rig.until(lambda s: b"services-and-endpointslices" in mirror(s)[CONFIG_KEY])
            assert complete not in mirror(snapshot)
            rig.until(lambda s: SERVICES in rig.row("mirror", snapshot=s).last_error, "its complaint")
            assert complete not in mirror(rig.db.snapshot())
            publisher.sync()
            rig.until(lambda s: complete in mirror(s))
            assert cached(ECHO) in mirror(rig.db.snapshot())


def test_a_mirror_with_a_copy_that_is_not_believed_to_be_complete_is_not_synced(server: LocalEtcd):
    """The canary is older than the config that announces the prefix. The prefix is empty, so no delete is withheld."""
    complete = next(canary for canary in SYNCED if "serviceexports" in canary)
    with Publisher(server) as publisher, Rig(server.endpoint, mirror=True) as rig:
        publish(publisher, config(exports=False))
        publisher.delete(EXPORT[0])
        rig.until(lambda s: rig.row("mirror", snapshot=s).state == "synced" and complete in mirror(s))
        publisher.configure(config(exports=True))
        rig.until(lambda s: mirror(s)[CONFIG_KEY] == encode(config(exports=True)), "the config")
        rig.until(lambda s: "it has not acted" in rig.row("mirror", snapshot=s).last_error, "the new connection")
        publisher.beat()
        publisher.put(*LITERALS.items(), *[(each, b"again") for each in CANARIES if "serviceexports" not in each])
        snapshot = rig.until(lambda s: "is newer than" in rig.row("mirror", snapshot=s).last_error, "why it waits")
        assert rig.row("mirror", snapshot=snapshot).state == "stale"
        assert complete not in mirror(snapshot)
        publisher.sync()
        rig.until(lambda s: rig.row("mirror", snapshot=s).state == "synced" and complete in mirror(s))


def test_a_cache_is_copied_like_its_source(server: LocalEtcd, other_server: LocalEtcd):
    with Publisher(server) as publisher, Publisher(other_server) as copier:
        publish(publisher)
        copier.put(*[(cached(key), value) for key, value in (*LITERALS.items(), SLICE)])
        copier.beat()
        copier.put((CONFIG_KEY, encode(ClusterConfig(3, True, True, 255, False, BOTH))))
        copier.put(*[(name, b"now") for name in sorted(SYNCED)])
        with Rig(server.endpoint, mirror=True) as source, Rig(other_server.endpoint, mirror=True) as copy:
            there, here = mirror(source.synced()), mirror(copy.synced())
            assert {**there, CONFIG_KEY: b""} == {**here, CONFIG_KEY: b""}


def test_an_emptied_server_empties_nothing(server: LocalEtcd):
    with Publisher(server) as publisher:
        publish(publisher)
    with Rig(server.endpoint, mirror=True) as rig, Deletions(rig.db) as deletions:
        before = mirror(rig.synced())
        server.kill()
        server.forget()
        server.start()
        rig.until(lambda s: "waiting for cilium/cluster-config" in rig.row("mirror", snapshot=s).last_error)
        assert mirror(rig.db.snapshot()) == before
        with Publisher(server) as publisher:
            publish(publisher)
            with beating(publisher):
                rig.synced()
        assert mirror(rig.db.snapshot()) == before
        assert deletions.now() == set()


def test_a_cluster_that_leaves_takes_its_copies_along(server: LocalEtcd):
    with Publisher(server) as publisher:
        publish(publisher)
        with Rig(server.endpoint, mirror=True) as rig:
            rig.synced()
            rig.source.remove()
            assert rig.source.join(10)
            assert mirror(rig.db.snapshot()) == {}


def test_another_id_is_another_cluster(server: LocalEtcd):
    with Publisher(server) as publisher:
        publish(publisher)
        with (
            Rig(server.endpoint, mirror=True) as rig,
            Deletions(rig.db, Mirror, lambda key: str(key.name)) as deletions,
        ):
            before = mirror(rig.synced())
            key = MirrorKey(CLUSTER, CONFIG_KEY)
            publisher.configure(ClusterConfig(4, True, max_connected_clusters=255))
            publisher.delete(*[name for name in LITERALS if "/ip/" in name])
            rig.until(lambda s: key in s[Mirror] and b'"id":4' in s[Mirror][key].value and set(mirror(s)) >= SYNCED)
            assert not rig.db.snapshot()[Endpoints]
            assert deletions.now() == before.keys()  # all of the other cluster went first, its config too


def test_off_costs_nothing(server: LocalEtcd):
    with Publisher(server) as publisher:
        publish(publisher)
        with Rig(server.endpoint) as rig:
            snapshot = rig.synced()
            assert not snapshot[Mirror]
            assert Mirror not in rig.source.tables
            assert not {feed.name for feed in MIRROR_FEEDS} & set(rig.source._reflector._feeds)
            assert all(prefix.kind.copy is None for prefix in rig.source._keyspace.prefixes.values())
