"""The local cluster's own state from an etcd in ClusterMesh layout: initialization waits for it, its id is ours."""

from ingest import ClusterMeshOptions
from ingest.clustermesh import open as open_clustermesh
from ingest.etcd.local import LocalEtcd
from statedb.catalog import Backends, Endpoints, Identities, Nodes, Services
from statedb.catalog.wire.cluster_configs import ENDPOINT_SLICES_ONLY, ClusterConfig, encode

from ..clusters import CLUSTER
from .publisher import CANARIES, Publisher, Tables

CARRIED = (Nodes, Identities, Endpoints, Services, Backends)
CONFIG_KEY = f"cilium/cluster-config/{CLUSTER}"
SYNCED = tuple(canary.replace("cluster3", CLUSTER) for canary in CANARIES)
OURS = encode(ClusterConfig(1, True, max_connected_clusters=255))


class Local(Tables):
    def __init__(self, *endpoints: str, **values: object) -> None:
        super().__init__()
        chosen = {"retry_min_s": 0.02, "retry_max_s": 0.2, **values}
        self.source = open_clustermesh(self.db, CLUSTER, 1, ClusterMeshOptions(endpoints=endpoints, **chosen))  # type: ignore[arg-type]

    def __enter__(self):
        self.source.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.stop()
        assert self.source.join(10)
        assert self.source.failure is None


def test_tables_are_initialized_by_the_first_list_after_the_canary(server: LocalEtcd):
    with Publisher(server) as publisher, Local(server.endpoint) as local:
        publisher.put((CONFIG_KEY, OURS), *[(canary, b"now") for canary in SYNCED[:-1]])
        local.until(lambda s: local.row("nodes", CLUSTER, s).state == "synced")
        assert local.db.wait_initialized(Nodes, Identities, Services, timeout=10)
        assert not local.db.snapshot()[Endpoints].initialized
        publisher.put((SYNCED[-1], b"now"))
        assert local.db.wait_initialized(*CARRIED, timeout=10)


def test_a_table_that_nothing_fills_is_initialized_when_all_else_is_listed(server: LocalEtcd):
    """A config may be that of a writer which died before it had written anything. It is no list of no services."""
    slices = encode(ClusterConfig(1, True, max_connected_clusters=255, endpoint_slices=ENDPOINT_SLICES_ONLY))
    with Publisher(server) as publisher, Local(server.endpoint) as local:
        publisher.put((CONFIG_KEY, slices), *[(canary, b"now") for canary in SYNCED[:-1]])
        assert local.db.wait_initialized(Nodes, Identities, Backends, timeout=10)
        assert not local.db.snapshot()[Services].initialized
        assert local.row("services", CLUSTER).state != "synced"
        publisher.put((SYNCED[-1], b"now"))
        assert local.db.wait_initialized(*CARRIED, timeout=10)


def test_another_cluster_is_not_taken_for_ours(server: LocalEtcd):
    with Publisher(server) as publisher, Local(server.endpoint) as local:
        publisher.put((CONFIG_KEY, encode(ClusterConfig(2))))
        told = f"{CONFIG_KEY}: its id is 2, our own is 1"
        local.until(lambda s: local.row("nodes", CLUSTER, s).last_error == told)


def test_chosen_tables_only(server: LocalEtcd):
    with Publisher(server) as publisher, Local(server.endpoint, tables=("services",)) as local:
        service = (
            b'{"cluster":"cluster1","namespace":"n","name":"s","clusterID":1,'
            b'"backends":{"10.0.0.1":{"":{"Protocol":"TCP","Port":1}}}}'
        )
        publisher.put(("cilium/state/services/v1/cluster1/n/s", service), (CONFIG_KEY, OURS))
        publisher.put(*[(canary, b"now") for canary in SYNCED])
        snapshot = local.synced(CLUSTER)
        assert len(snapshot[Services]) == 1
        assert not snapshot[Backends]
        assert local.source.tables == (Services,)
