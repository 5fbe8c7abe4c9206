"""A second cluster, read from its own etcd and from the mesh cache: the same tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from consumers.tables.ipcache import lookup
from ingest.etcd.local import LocalEtcd
from statedb import Snapshot, WatchSet
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import Backends, Endpoints, Identities, Nodes, Services, Sources

from ..ingest.clustermesh.publisher import replica
from ..ingest.kube_rig import cep, endpoint_slice, identity, namespace, node, service

TABLES = (Nodes, Identities, Endpoints, Services, Backends)
SECOND = 2 << 16
HTTP = "http: {listen: '127.0.0.1:0'}\n"


@pytest.fixture
def etcds() -> Iterator[tuple[LocalEtcd, LocalEtcd]]:
    """That of the second cluster, and that of the first cluster's cache."""
    with replica() as own, replica() as cache:
        own.start()
        cache.start()
        yield own, cache


def rows(snapshot: Snapshot) -> dict[str, list[Any]]:
    return {table.name: [row for row in snapshot[table].values() if row.key.cluster == "cluster2"] for table in TABLES}


def until(agent: Agent, holds: Any, what: str) -> Snapshot:
    while not holds(snapshot := agent.db.snapshot()):
        watches = [snapshot[table].watch() for table in agent.db.tables]
        assert WatchSet(*watches).wait(30), (what, list(snapshot[Sources].values()))
    return snapshot


def write(directory: Path, *values: dict[str, Any]) -> None:
    directory.mkdir(exist_ok=True)
    for value in values:
        (directory / f"{value['kind']}-{value['metadata']['name']}.json").write_text(json.dumps(value))


def second_cluster(directory: Path, etcd: LocalEtcd) -> Agent:
    """Its clustermesh-apiserver, which has its state from files."""
    return Agent(
        parse_config(
            f"cluster: {{name: cluster2, id: 2}}\ningest: {{manifests: {{directory: '{directory}', rescan-s: 0.05}}}}\n"
            f"consumers: [publisher: {{etcd: {{endpoints: ['{etcd.endpoint}']}}, heartbeat-s: 1}}]\n" + HTTP
        )
    )


def named(directory: Path, etcd: LocalEtcd) -> Path:
    directory.mkdir()
    (directory / "cluster2").write_text(f"endpoints: ['{etcd.endpoint}']\n")
    return directory


def first_cluster(own: Path, clusters: Path, consumers: str) -> Agent:
    own.mkdir(exist_ok=True)
    return Agent(
        parse_config(
            f"cluster: {{name: cluster1, id: 1}}\ningest: {{manifests: {{directory: '{own}'}}}}\n"
            f"remote-clusters: {{directory: '{clusters}', rescan-s: 0.05, retry-max-s: 0.2}}\n"
            f"consumers: [{consumers}]\n" + HTTP
        )
    )


def test_a_second_cluster_through_its_own_etcd_and_through_the_cache(
    etcds: tuple[LocalEtcd, LocalEtcd], tmp_path: Path
):
    own, cache = etcds
    files = tmp_path / "second"
    write(files, namespace("default"), node("n2"), service("web"))
    labels = identity(SECOND + 1)["security-labels"] | {"k8s:io.cilium.k8s.policy.cluster": "cluster2"}
    write(files, {**identity(SECOND + 1), "security-labels": labels})
    write(files, endpoint_slice("web-1", "web", ["10.2.0.1"]), *[cep(f"10.2.0.{n}", SECOND + 1) for n in range(1, 6)])
    mine = tmp_path / "first"
    with ExitStack() as stack:
        direct = stack.enter_context(first_cluster(mine, named(tmp_path / "direct", own), "ipcache"))
        cached = stack.enter_context(first_cluster(mine, named(tmp_path / "cached", cache), "ipcache"))
        meshcache = f"meshcache: {{etcd: {{endpoints: ['{cache.endpoint}']}}, heartbeat-s: 1}}"
        stack.enter_context(first_cluster(mine, named(tmp_path / "origin", own), meshcache))
        publisher = stack.enter_context(second_cluster(files, own))
        for agent in (direct, cached):
            until(agent, lambda s: len(rows(s)["endpoints"]) == 5 and len(rows(s)["backends"]) == 1, "all of cluster2")
            snapshot = until(agent, lambda s: lookup(s, "10.2.0.5") is not None, "an answer of the ipcache")
            entry = lookup(snapshot, "10.2.0.5")
            assert entry is not None
            assert (entry.cluster, entry.identity) == ("cluster2", SECOND + 1)
        (files / "CiliumEndpoint-pod-10.2.0.1.json").unlink()
        write(files, cep("10.2.0.9", SECOND + 1))
        wanted = {f"10.2.0.{n}" for n in (2, 3, 4, 5, 9)}
        for agent in (publisher, direct, cached):
            until(agent, lambda s: {row.key.ip for row in rows(s)["endpoints"]} == wanted, "the changes")
        assert rows(direct.db.snapshot()) == rows(cached.db.snapshot())
        assert {name: len(held) for name, held in rows(direct.db.snapshot()).items()} == {
            "nodes": 1,
            "identities": 1,
            "endpoints": 5,
            "services": 1,
            "backends": 1,
        }
