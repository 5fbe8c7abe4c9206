"""What a reader touches: with the users and roles that Cilium makes, on a real etcd that asks for certificates.

The server knows a user by the name in its certificate. A request outside of its role's rights is refused, and the
source would say so and never come to `synced`.
"""

from collections.abc import Iterator

import pytest

from ingest.etcd import PermissionDenied
from statedb.catalog import Backends, Endpoints, Identities, Nodes, Services
from statedb.catalog.wire.cluster_configs import ClusterConfig, encode

from .guarded import Guarded
from .publisher import CANARIES, CONFIG, LITERALS, Rig, cached


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path_factory.mktemp("guarded"))
    with guarded.etcd as etcd:
        etcd.start(guarded.root)
        with etcd.client(guarded.root) as client:
            for key, value in LITERALS.items():
                client.put(key.encode(), value)
                client.put(cached(key).encode(), value)
            for canary in CANARIES:
                client.put(canary.encode(), b"now")
                client.put(canary.replace("cilium/state", "cilium/cache").encode(), b"now")
            client.put(b"cilium/.heartbeat", b"now")
        guarded.users()
        yield guarded


def all_there(rig: Rig) -> list[int]:
    snapshot = rig.synced()
    return [len(snapshot[table]) for table in (Nodes, Identities, Endpoints, Services, Backends)]


def test_a_remote_user_may_not_read_what_a_reader_must_not_ask_for(guarded: Guarded):
    with guarded.client("remote") as client:
        for key in (
            b"cilium/cluster-config/cluster1",
            b"cilium/cache/x",
            b"cilium/.initlock/x",
            b"cilium/synced/other/x",
        ):
            with pytest.raises(PermissionDenied):
                client.get(key)
        with pytest.raises(PermissionDenied):
            list(client.list(b"cilium/cluster-config/"))


def test_a_remote_user_reads_the_state(guarded: Guarded):
    with guarded.client("root") as root:
        root.put(b"cilium/cluster-config/cluster3", CONFIG)
    with Rig(through=guarded.servers("remote")) as rig:
        assert all_there(rig) == [1, 1, 2, 1, 1]


def test_a_local_user_reads_the_cache(guarded: Guarded):
    with guarded.client("root") as root:
        config = ClusterConfig(3, True, cached=True, max_connected_clusters=255)
        root.put(b"cilium/cluster-config/cluster3", encode(config))
    with Rig(through=guarded.servers("local-cluster1")) as rig:
        assert all_there(rig) == [1, 1, 2, 1, 1]


def test_a_local_user_is_refused_the_state_and_told_which_right_it_lacks(guarded: Guarded):
    with guarded.client("root") as root:
        root.put(b"cilium/cluster-config/cluster3", CONFIG)
    with Rig(through=guarded.servers("local-cluster1")) as rig:
        told = "permission denied; the user needs the right to read cilium/state/nodes/v1/cluster3/"
        rig.until(lambda s: told in rig.row("nodes", snapshot=s).last_error)
        assert rig.row("nodes").state == "failed"
