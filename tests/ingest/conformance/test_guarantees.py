"""The guarantees of ingest, each for all four backends at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ingest.etcd.local import LocalEtcd
from statedb import Snapshot
from statedb.catalog import Endpoint, EndpointKey, Endpoints, Nodes

from ..clusters import CLUSTER, name_of
from ..kube_rig import cep, node
from ..kvstore_rig import Deletions
from .everywhere import CARRIED, WAIT_S, Everywhere

REMOTE = Endpoint(EndpointKey("another-cluster", "10.9.9.9"), 1234)


@pytest.fixture
def everywhere(etcd: LocalEtcd, tmp_path: Path) -> Iterator[Everywhere]:
    cluster = Everywhere(etcd, tmp_path, endpoint_slices=False)
    for last in range(1, 6):
        cluster.put(cep(f"10.0.0.{last}"))
    with cluster:
        for db in cluster.databases.values():
            assert db.wait_initialized(*CARRIED, timeout=WAIT_S)
        yield cluster


def endpoints(snapshot: Snapshot) -> int:
    return sum(key.cluster == CLUSTER for key in snapshot[Endpoints])


def outage(cluster: Everywhere) -> None:
    """All connections are lost, history is forgotten meanwhile: whoever comes back has to list."""
    cluster.proxy.cut()
    cluster.api.kill()
    cluster.client.put(b"elsewhere", b"")
    cluster.client.compact(cluster.client.put(b"elsewhere", b"").revision)
    cluster.api.start()
    cluster.api.compact()
    cluster.proxy.mend()


def await_node(cluster: Everywhere, name: str) -> None:
    """All have come as far as here."""
    cluster.put(node(name))
    cluster.until_all(lambda _, snapshot: any(key.name == name for key in snapshot[Nodes]), lambda of: f"{of}: {name}")


def test_owned(everywhere: Everywhere):
    """A source removes only its own rows."""
    for db in everywhere.databases.values():
        with db.write(Endpoints) as txn:
            txn[Endpoints].insert(REMOTE)
    for name in list(everywhere.objects):
        everywhere.remove(name)
    everywhere.until_all(lambda _, snapshot: not endpoints(snapshot), lambda name: f"{name}: rows are left")
    for db in everywhere.databases.values():
        assert list(db.snapshot()[Endpoints].values()) == [REMOTE]


def test_quiet(everywhere: Everywhere):
    """Equal rows wake nobody, neither in events nor in lists."""
    watches = {name: db.snapshot()[Endpoints].watch() for name, db in everywhere.databases.items()}
    everywhere.put(cep("10.0.0.1"))
    await_node(everywhere, "first")
    outage(everywhere)
    await_node(everywhere, "second")
    assert [name for name, watch in watches.items() if watch.tripped] == []


def test_no_false_deletes(everywhere: Everywhere):
    """No outage takes a row away that is still there; what went meanwhile goes."""
    with ExitStack() as stack:
        deletions = {name: stack.enter_context(Deletions(db)) for name, db in everywhere.databases.items()}
        outage(everywhere)
        await_node(everywhere, "first")
        everywhere.proxy.cut()
        everywhere.remove(name_of(cep("10.0.0.1")))
        everywhere.put(cep("10.0.0.9"))
        everywhere.client.compact(everywhere.client.put(b"elsewhere", b"").revision)
        everywhere.api.compact()
        everywhere.proxy.mend()
        everywhere.until_all(
            lambda _, s: {key.ip for key in s[Endpoints]} == {f"10.0.0.{last}" for last in (2, 3, 4, 5, 9)},
            lambda name: f"{name} has not converged",
        )
        assert {name: seen.now() for name, seen in deletions.items()} == {name: {"10.0.0.1"} for name in deletions}


def test_initialized(etcd: LocalEtcd, tmp_path: Path):
    """A table is initialized by the first full list: with all rows, and never before."""
    cluster = Everywhere(etcd, tmp_path, endpoint_slices=False)
    for last in range(1, 51):
        cluster.put(cep(f"10.0.0.{last}"))
    streams = {name: db.changes(Endpoints) for name, db in cluster.databases.items()}
    cluster.proxy.cut()
    with cluster:
        cluster.proxy.mend()
        for name, stream in streams.items():
            for batch in stream:
                assert batch.initialized == (endpoints(batch.snapshot) == 50), name
                if batch.initialized:
                    break
