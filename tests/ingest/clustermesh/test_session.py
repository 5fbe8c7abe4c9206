"""The life of one remote cluster on a real etcd: config, id, canaries, layout, rows, removal."""

import pytest
from msgspec import structs

from ingest.clustermesh.ids import ClusterIds
from ingest.etcd.local import LocalEtcd
from statedb.catalog import (
    Backends,
    Endpoints,
    Identities,
    IdentityKey,
    Nodes,
    Rejected,
    Services,
    SourceKey,
    Sources,
)
from statedb.catalog.wire import endpoint_slices
from statedb.catalog.wire.cluster_configs import BOTH, ENDPOINT_SLICES_ONLY, ClusterConfig

from ...statedb.catalog.test_endpoint_slices import ECHO
from ..kvstore_rig import Deletions
from .publisher import (
    CANARIES,
    CLUSTER,
    CONFIG_KEY,
    IDENTITY,
    IP_CANARY,
    LITERALS,
    Publisher,
    Rig,
    beating,
    cached,
    ip_entry,
)

SLICE_KEY = "cilium/state/endpointslices/v1/cluster3/test/echo-kvlm2"


def rows_of(rig: Rig) -> dict[str, list]:
    snapshot = rig.db.snapshot()
    return {table.name: list(snapshot[table].values()) for table in (Nodes, Identities, Endpoints, Services, Backends)}


def test_what_cilium_writes_becomes_rows(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig:
        publisher.put(*LITERALS.items())
        publisher.publish()
        snapshot = rig.synced()
        assert snapshot[Identities][IdentityKey(CLUSTER, 196915)].namespace == "bar"
        assert [row.identity for row in snapshot[Endpoints].values()] == [199472, 199475]
        assert [row.key.name for row in snapshot[Nodes].values()] == ["test-node-1"]
        assert [row.key.name for row in snapshot[Services].values()] == ["echo"]
        assert [row.key.ip for row in snapshot[Backends].values()] == ["10.244.1.1"]
        assert not snapshot[Rejected]


def test_nobody_waits_for_a_remote_cluster(server: LocalEtcd):
    with Rig(server.endpoint) as rig:
        rig.until(lambda s: "waiting for cilium/cluster-config/cluster3" in rig.row().last_error)
        assert rig.db.wait_initialized(Nodes, Identities, Endpoints, Services, Backends, timeout=0)
        assert rig.row().state == "connecting"


def test_a_prefix_waits_for_its_own_canary_and_no_other(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig:
        publisher.beat()
        publisher.configure()
        publisher.put(*LITERALS.items())
        publisher.put((CANARIES[0], b"now"))
        rig.until(lambda s: rig.row("nodes").state == "synced")
        assert len(rig.db.snapshot()[Nodes]) == 1
        waits = ("syncing", f"waiting for {IP_CANARY}: not all of it is there yet")
        rig.until(lambda s: ((row := rig.row("endpoints", snapshot=s)).state, row.last_error) == waits)
        assert not rig.db.snapshot()[Endpoints]
        publisher.put((IP_CANARY, b"now"))
        rig.until(lambda s: len(s[Endpoints]) == 2)
        publisher.sync()
        rig.synced()


def test_a_canary_that_goes_does_not_stop_a_running_watch(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig:
        publisher.publish(range(3))
        rig.synced()
        publisher.delete(*CANARIES)
        publisher.endpoints([3])
        rig.until(lambda s: rig.numbers(s) == {0, 1, 2, 3})
        publisher.delete(ip_entry(0)[0])
        rig.until(lambda s: rig.numbers(s) == {1, 2, 3})


def test_without_canaries_all_starts_at_once(server: LocalEtcd):
    with Publisher(server, canaries=False) as publisher, Rig(server.endpoint) as rig:
        publisher.publish(range(3))
        assert rig.numbers(rig.synced()) == {0, 1, 2}


def test_a_cluster_that_is_cached_is_read_from_the_cache_and_from_nowhere_else(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig:
        publisher.put(*[(cached(key), value) for key, value in LITERALS.items()])
        publisher.put(*[(canary.replace("cilium/state", "cilium/cache"), b"now") for canary in CANARIES])
        publisher.endpoints(range(5))  # state of the etcd's own cluster, not of this one
        publisher.beat()
        publisher.configure(ClusterConfig(3, True, cached=True, max_connected_clusters=255))
        snapshot = rig.synced()
        assert [row.identity for row in snapshot[Endpoints].values()] == [199472, 199475]
        assert [len(snapshot[table]) for table in (Nodes, Identities, Services, Backends)] == [1, 1, 1, 1]
        assert not snapshot[Rejected]


def test_the_cached_and_the_original_layout_give_the_same_rows_and_a_change_of_it_deletes_none(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig, Deletions(rig.db) as deletions:
        publisher.put(*LITERALS.items())
        publisher.publish(range(5))
        rig.synced()
        before = rows_of(rig)
        copies = [*LITERALS.items(), *map(ip_entry, range(5))]
        publisher.put(*[(cached(key), value) for key, value in copies])
        publisher.put(*[(canary.replace("cilium/state", "cilium/cache"), b"now") for canary in CANARIES])
        relists = rig.row().relists
        publisher.configure(ClusterConfig(3, True, cached=True, max_connected_clusters=255))
        rig.until(lambda s: rig.row(snapshot=s).relists > relists)
        rig.synced()
        publisher.delete(*[key for key, _ in copies])
        publisher.put((cached(ip_entry(7)[0]), ip_entry(7)[1]))
        rig.until(lambda s: 7 in rig.numbers(s))
        publisher.delete(cached(ip_entry(7)[0]))
        rig.until(lambda s: 7 not in rig.numbers(s))
        assert rows_of(rig) == before
        assert deletions.now() == {"10.3.0.7"}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (ClusterConfig(0), "its id 0 is not between 1 and 255"),
        (ClusterConfig(256), "its id 256 is not between 1 and 255"),
        (ClusterConfig(1), "its id is 1, which is our own"),
        (ClusterConfig(2), "its id is 2, which cluster 'cluster2' has"),
        (ClusterConfig(3, max_connected_clusters=511), "its mesh has at most 511 clusters"),
    ],
)
def test_a_cluster_that_does_not_fit_is_refused_until_it_does(server: LocalEtcd, config: ClusterConfig, told: str):
    ids = ClusterIds(1)
    assert ids.claim("cluster2", 2) == ""
    with Publisher(server) as publisher, Rig(server.endpoint, ids=ids) as rig:
        publisher.publish(range(3))
        publisher.configure(config)
        rig.until(lambda s: f"{CONFIG_KEY}: {told}" in rig.row(snapshot=s).last_error)
        assert rig.row().state == "failed"
        publisher.configure()
        rig.until(lambda s: rig.numbers(s) == {0, 1, 2})
        rig.synced()


def test_a_config_that_nobody_can_read_is_told(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig:
        publisher.put((CONFIG_KEY, b"{"))
        rig.until(lambda s: f"{CONFIG_KEY}: the value is not JSON" in rig.row(snapshot=s).last_error)


def test_another_id_drains_all_and_begins_anew(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig, Deletions(rig.db) as deletions:
        publisher.publish(range(3))
        rig.synced()
        assert rig.ids.claim("cluster9", 3) != ""
        publisher.endpoints(range(2, 5), identity=4 << 16)
        publisher.configure(ClusterConfig(4, True, max_connected_clusters=255))
        rig.until(lambda s: rig.numbers(s) == {2, 3, 4})
        assert {row.identity for row in rig.db.snapshot()[Endpoints].values()} == {4 << 16}
        assert {"10.3.0.0", "10.3.0.1"} <= deletions.now()
        assert rig.ids.claim("cluster9", 3) == ""


def test_a_removed_cluster_leaves_nothing(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig:
        publisher.put(*LITERALS.items())
        publisher.put(("cilium/state/nodes/v1/cluster3/bad", b"x"))
        publisher.publish(range(3))
        rig.synced()
        rig.until(lambda s: len(s[Rejected]) == 1)
        rig.source.remove()
        assert rig.source.join(10)
        snapshot = rig.db.snapshot()
        assert [len(snapshot[table]) for table in (Nodes, Identities, Endpoints, Services, Backends)] == [0] * 5
        assert not snapshot[Sources]
        assert not snapshot[Rejected]
        assert rig.ids.claim("cluster9", 3) == ""


def test_a_stopped_agent_leaves_all_where_it_is(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig, Deletions(rig.db) as deletions:
        publisher.publish(range(3))
        rig.synced()
        rig.source.stop()
        assert rig.source.join(10)
        assert rig.numbers() == {0, 1, 2}
        assert deletions.now() == set()
        assert rig.db.snapshot()[Sources][SourceKey(CLUSTER, "endpoints")].state == "absent"


def test_identities_and_addresses_of_other_clusters_are_refused_and_keep_their_last_good_rows(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig:
        publisher.publish(range(2))
        publisher.endpoints([2], identity=4)  # numbers below 256 are everybody's
        publisher.endpoints([3], identity=2 << 16)
        foreign = LITERALS["cilium/state/identities/v1/id/196915"].replace(b"cluster3", b"cluster2")
        publisher.put(*LITERALS.items())
        publisher.put(("cilium/state/identities/v1/id/131073", LITERALS["cilium/state/identities/v1/id/196915"]))
        publisher.put(("cilium/state/identities/v1/id/196916", foreign))
        snapshot = rig.until(lambda s: len(s[Rejected]) == 3 and rig.numbers(s) == {0, 1, 2})
        assert [row.key.id for row in snapshot[Identities].values()] == [196915]
        errors = {row.key.object.rpartition("/")[2]: row.error for row in snapshot[Rejected].values()}
        assert errors == {
            "10.3.0.3": "ID: 131072 is no identity of cluster id 3: it gives out 196608 to 262143",
            "131073": "131073 is no identity of cluster id 3: it gives out 196608 to 262143",
            "196916": "the label k8s:io.cilium.k8s.policy.cluster=cluster3 is missing",
        }
        publisher.endpoints([0], identity=2 << 16)
        snapshot = rig.until(lambda s: len(s[Rejected]) == 4)
        assert {row.identity for row in snapshot[Endpoints].values() if row.key.ip == "10.3.0.0"} == {IDENTITY}
        publisher.delete(ip_entry(0)[0])  # of a deletion nothing is asked
        rig.until(lambda s: 0 not in rig.numbers(s) and len(s[Rejected]) == 3)


def test_backends_come_from_services_where_both_are_announced(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig:
        publisher.put(*LITERALS.items())
        publisher.put((SLICE_KEY, endpoint_slices.encode(ECHO)))
        publisher.publish()
        snapshot = rig.synced()
        assert [row.node for row in snapshot[Backends].values()] == [""]


def test_a_service_that_is_not_shared_is_none_for_other_clusters(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig:
        name = "cilium/state/services/v1/cluster3/test/echo"
        publisher.put(*LITERALS.items())
        publisher.put((name, LITERALS[name].replace(b'"shared":true', b'"shared":false')))
        publisher.publish()
        snapshot = rig.synced()
        assert not snapshot[Services]
        assert not snapshot[Backends]
        publisher.put((name, LITERALS[name]))
        rig.until(lambda s: len(s[Services]) == 1 and len(s[Backends]) == 1)


def test_backends_come_from_endpoint_slices_where_they_are_preferred(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint, prefer_endpoint_slices=True) as rig:
        publisher.put(*LITERALS.items())
        publisher.put((SLICE_KEY, endpoint_slices.encode(ECHO)))
        publisher.publish()
        snapshot = rig.synced()
        told = [(row.node, row.ready) for row in snapshot[Backends].values()]
        assert told == [("nodeport-worker", True), ("nodeport-worker", False)]
        assert len(snapshot[Services]) == 1
        publisher.delete(SLICE_KEY)
        rig.until(lambda s: not s[Backends])


def test_a_change_of_the_announced_form_takes_no_backend_away(server: LocalEtcd):
    with (
        Publisher(server) as publisher,
        Rig(server.endpoint) as rig,
        Deletions(rig.db, Backends) as deletions,
        beating(publisher),
    ):
        publisher.put(*LITERALS.items())
        publisher.put((SLICE_KEY, endpoint_slices.encode(structs.replace(ECHO, endpoints=ECHO.endpoints[:1]))))
        publisher.publish()
        rig.synced()
        publisher.configure(ClusterConfig(3, True, max_connected_clusters=255, endpoint_slices=ENDPOINT_SLICES_ONLY))
        publisher.sync()
        snapshot = rig.until(lambda s: [row.node for row in s[Backends].values()] == ["nodeport-worker"])
        rig.until(lambda s: not s[Services])
        publisher.configure(ClusterConfig(3, True, max_connected_clusters=255, endpoint_slices=BOTH))
        publisher.sync()
        snapshot = rig.until(lambda s: [row.node for row in s[Backends].values()] == [""])
        assert len(snapshot[Services]) == 1
        assert deletions.now() == set()
