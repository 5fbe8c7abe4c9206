"""Three ways in which writers fail. Cilium's reader loses the rows of the cluster, ours keeps them and says `stale`.

Both read the same etcd in the same run. In the end, with the writer back, both have its rows again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest.etcd.local import LocalEtcd

from ..apiserver.server import ApiServer
from ..ingest.clustermesh.publisher import Publisher, Rig, beating
from ..ingest.kvstore_rig import Deletions
from .conftest import Etcds, Published, Say
from .peers import CLUSTER, SHORTEST_LEASE_S, ClusterMesh, KvstoreMesh
from .readers import LOCAL, LOCAL_ID, CiliumReader, eventually, ours, require_equal_rows

LEASE = f"--kvstore-lease-ttl={SHORTEST_LEASE_S}s"
WAITS = pytest.mark.parametrize("waits", [False, pytest.param(True, marks=pytest.mark.stress)])
"""Whether leases end by themselves; Cilium's programs take none below 25 seconds."""


class Readers:
    """Cilium's reader and ours on one etcd."""

    def __init__(self, cilium: CiliumReader, rig: Rig, deletions: Deletions) -> None:
        self._cilium = cilium
        self._rig = rig
        self._deletions = deletions
        self.rows = require_equal_rows(cilium.rows(cilium.wait_ready()), ours(rig.synced()))

    def ours_warns(self) -> None:
        """Ours is in order, and says that keys will expire before anybody notices that their writer is silent."""
        warning = f"its writer's leases last {SHORTEST_LEASE_S} s, less than heartbeat-timeout-s"
        self._rig.until(lambda s: warning in self._rig.row(snapshot=s).last_error, "the warning")
        assert self._rig.row().state == "synced"

    def cilium_loses_all(self) -> int:
        """Until Cilium's reader has none of the addresses; how many rows it had lost then."""
        state = eventually(self._cilium.state, lambda state: not state["ips"], "Cilium's loss")
        return self.rows - sum(map(len, self._cilium.rows(state).values()))

    def ours_keeps_all(self) -> str:
        """Ours says that it is stale, and has every row; what it says."""
        snapshot = self._rig.until(lambda s: self._rig.row(snapshot=s).state == "stale", "stale")
        assert sum(map(len, ours(snapshot).values())) == self.rows
        assert self._deletions.now() == set()
        return self._rig.row(snapshot=snapshot).last_error

    def converge(self) -> None:
        """The writer is back: both have all rows, ours says `synced`, and never lost one."""
        self._rig.synced()
        state = eventually(
            self._cilium.state, lambda state: sum(map(len, self._cilium.rows(state).values())) == self.rows, "all rows"
        )
        assert require_equal_rows(self._cilium.rows(state), ours(self._rig.synced())) == self.rows
        assert self._deletions.now() == set()


def end_leases(etcd: LocalEtcd, *, waits: bool) -> None:
    """Every lease under a key of the dead writer ends: by itself in its time, or at once, which looks the same."""
    if not waits:
        with etcd.client() as client:
            for lease in {kv.lease for page in client.list(b"cilium/") for kv in page.kvs if kv.lease}:
                client.revoke(lease)


def tell(say: Say, scene: str, both: Readers, lost: int, said: str) -> None:
    say(f"{scene}: Cilium's reader lost {lost} of {both.rows} rows, ours none, and said: {said}")


@contextmanager
def readers(directory: Path, etcd: LocalEtcd, **options: Any) -> Iterator[Readers]:
    with (
        CiliumReader(directory, etcd) as cilium,
        Rig(etcd.endpoint, **options) as rig,
        Deletions(rig.db) as deletions,
    ):
        yield Readers(cilium, rig, deletions)


@WAITS
def test_a_mirror_dies_beside_a_living_writer(
    waits: bool, published: Published, etcds: Etcds, tmp_path: Path, say: Say
):
    """kvstoremesh is gone for longer than its leases; the heartbeat beside it goes on."""
    cache = etcds()
    remotes = tmp_path / "remotes"
    remotes.mkdir()
    (remotes / CLUSTER).write_text(f"endpoints: ['{published.real.endpoint}']\n")
    mirror = KvstoreMesh(tmp_path / "mirror", cache, remotes, LEASE, cluster=LOCAL, cluster_id=LOCAL_ID)
    with Publisher(cache) as living, beating(living, 0.5), mirror:
        mirror.wait_ready()
        with readers(tmp_path / "readers", cache) as both:
            mirror.kill()
            end_leases(cache, waits=waits)
            lost = both.cilium_loses_all()
            said = both.ours_keeps_all()
            mirror.start()
            both.converge()
    tell(say, "a mirror dead beside a living writer", both, lost, said)


@WAITS
def test_a_writer_dies_before_its_first_heartbeat(waits: bool, odd: ApiServer, etcds: Etcds, tmp_path: Path, say: Say):
    """The real one beats a minute after its start at first."""
    etcd = etcds()
    writer = ClusterMesh(tmp_path / "writer", odd, etcd, LEASE)
    with writer:
        writer.wait_ready()
        with readers(tmp_path / "readers", etcd) as both:
            both.ours_warns()
            writer.kill()
            with etcd.client() as client:
                assert client.get(b"cilium/.heartbeat").kv is None
            end_leases(etcd, waits=waits)
            lost = both.cilium_loses_all()
            said = both.ours_keeps_all()
            writer.start()
            both.converge()
    tell(say, "a writer dead before its heartbeat", both, lost, said)


@pytest.mark.stress
def test_a_writer_is_away_for_longer_than_its_leases(odd: ApiServer, etcds: Etcds, tmp_path: Path, say: Say):
    """The real one, after its first heartbeat."""
    etcd = etcds()
    writer = ClusterMesh(tmp_path / "writer", odd, etcd, LEASE)
    with writer:
        writer.wait_ready()
        with readers(tmp_path / "readers", etcd) as both, etcd.client() as client:
            eventually(lambda: client.get(b"cilium/.heartbeat").kv, lambda kv: kv is not None, "the first heartbeat")
            writer.kill()
            lost = both.cilium_loses_all()
            said = both.ours_keeps_all()
            writer.start()
            both.converge()
    tell(say, "a writer away longer than its leases", both, lost, said)
