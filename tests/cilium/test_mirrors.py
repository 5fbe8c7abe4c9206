"""kvstoremesh and our mesh cache, chains of programs, and Cilium's own look at our etcd."""

from __future__ import annotations

import subprocess
from pathlib import Path

from consumers.etcd.publisher import PublisherOptions, open_publisher
from ingest import ClusterMeshOptions, KubernetesOptions
from ingest.clustermesh import open as open_clustermesh
from ingest.etcd import Client, parse_endpoint
from ingest.kubernetes import open as open_kubernetes
from statedb import Database
from statedb.catalog import TABLES

from ..apiserver.server import ApiServer
from ..consumers.etcd.test_meshcache import Cacher
from ..ingest.clustermesh.publisher import Rig
from . import binary
from .comparing import differing, held
from .conftest import Etcds, Published, Say
from .peers import CLUSTER, CLUSTER_ID, WAIT_S, KvstoreMesh, etcd_config
from .readers import LOCAL, LOCAL_ID, CiliumReader, eventually, ours, require_equal_rows


def test_kvstoremesh_and_our_mesh_cache_hold_the_same(published: Published, etcds: Etcds, tmp_path: Path, say: Say):
    """Of the real writer's etcd; and readers of either cache have equal rows."""
    real, mine = etcds(), etcds()
    remotes = tmp_path / "remotes"
    remotes.mkdir()
    (remotes / CLUSTER).write_text(f"endpoints: ['{published.real.endpoint}']\n")
    peer = KvstoreMesh(tmp_path / "real", real, remotes, cluster=LOCAL, cluster_id=LOCAL_ID)
    cacher = Cacher(tmp_path / "ours", mine).names(CLUSTER, published.real)
    with peer, cacher:
        peer.wait_ready()
        assert cacher.cache.wait_ready(WAIT_S)
        eventually(lambda: differing(held(real), held(mine)), lambda found: not found, "equal caches")
        say(f"kvstoremesh and the mesh cache: {len(held(real))} keys compared")
        for etcd in (real, mine):
            with CiliumReader(tmp_path / etcd.endpoint[-5:], etcd) as reader, Rig(etcd.endpoint) as rig:
                state = reader.wait_ready()
                rows = require_equal_rows(reader.rows(state), ours(rig.synced()))
        say(f"two readers of a cache: {rows} rows compared")


def test_nothing_is_lost_on_the_way(published: Published, odd: ApiServer, etcds: Etcds, tmp_path: Path, say: Say):
    """The real writer -> our agent -> our publisher -> Cilium's reader, which has the rows of the first etcd."""
    behind = etcds()
    endpoint = parse_endpoint(behind.endpoint)
    db = Database(*TABLES)
    sources = [
        open_clustermesh(db, CLUSTER, CLUSTER_ID, ClusterMeshOptions(endpoints=(published.real.endpoint,))),
        open_kubernetes(
            db, CLUSTER, CLUSTER_ID, KubernetesOptions(kubeconfig=str(odd.kubeconfig()), tables=("namespaces",))
        ),
    ]
    options = PublisherOptions(export="services", heartbeat_s=1.0)
    publisher = open_publisher(db, CLUSTER, CLUSTER_ID, lambda: Client(endpoint, timeout_s=10.0), options)
    for each in (*sources, publisher):
        each.start()
    try:
        assert publisher.wait_ready(WAIT_S), publisher.health
        first, last = CiliumReader(tmp_path / "a", published.real), CiliumReader(tmp_path / "b", behind)
        with first, last:
            rows = require_equal_rows(first.rows(first.wait_ready()), last.rows(last.wait_ready()))
        say(f"real writer, our agent, our publisher, Cilium's reader: {rows} rows compared")
    finally:
        for each in (publisher, *sources):
            each.stop()
            assert each.join(30)


def test_ciliums_own_look_at_our_etcd_finds_nothing_wrong(published: Published, tmp_path: Path):
    command = [str(binary.find(binary.APISERVER)), "clustermesh-dbg", "troubleshoot", "--timeout=30s"]
    said = []
    for etcd in (published.real, published.ours):
        file = etcd_config(tmp_path, etcd)
        found = subprocess.run([*command, f"--etcd-config={file}"], capture_output=True, text=True, timeout=60)
        assert found.returncode == 0, found.stderr
        assert "❌" not in found.stdout
        said.append(found.stdout.replace(etcd.endpoint, "ENDPOINT").splitlines())
    assert [line.partition(":")[0] for line in said[0]] == [line.partition(":")[0] for line in said[1]]
