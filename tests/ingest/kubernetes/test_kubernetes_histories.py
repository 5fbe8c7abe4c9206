"""Whatever happens to a cluster and its API server: the tables are those that manifests of the same objects give."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings, strategies as st

from ingest import ManifestsOptions
from ingest.kubernetes import client, follow
from ingest.manifests import open as open_manifests
from statedb import Database, Snapshot
from statedb.catalog import TABLES, Namespaces, Rejected

from ..clusters import (
    Object,
    cilium_endpoints,
    cilium_identities,
    cilium_nodes,
    clusters,
    endpoint_slices,
    kubernetes_services,
    without_conflicts,
    write_directory,
)
from ..kube_fake import FakeApi
from ..kube_rig import KubeRig, clusterwide, identity, namespace, node, policy
from ..kvstore_rig import CLUSTER

natives = st.sampled_from([namespace("shop"), namespace("default"), policy("p"), policy("p", "shop"), clusterwide("c")])
objects = cilium_nodes | cilium_identities | cilium_endpoints | kubernetes_services | endpoint_slices | natives

steps = st.one_of(
    st.tuples(st.just("put"), objects),
    st.tuples(st.just("put"), objects),
    st.tuples(st.just("remove"), st.integers(0, 30)),
    st.tuples(st.sampled_from(["cut", "compact", "bookmark", "half_line", "half_answer", "kill", "sync"]), st.just(0)),
)


@pytest.fixture(scope="module", autouse=True)
def _brief_watches_of_a_second() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "BRIEF_S", 1.0)
        patch.setattr(follow, "BRIEF_S", 1.0)
        yield


def through_manifests(values: list[Object]) -> dict[str, list[Any]]:
    with tempfile.TemporaryDirectory() as directory:
        write_directory(values, Path(directory))
        db = Database(*TABLES)
        source = open_manifests(db, CLUSTER, 1, ManifestsOptions(directory=directory))
        source.start()
        try:
            assert db.wait_initialized(*source.tables, timeout=30)
            snapshot = db.snapshot()
            assume(not snapshot[Rejected])
            return rows(snapshot, source.tables)
        finally:
            source.stop()
            assert source.join(10)


def rows(snapshot: Snapshot, tables: Any) -> dict[str, list[Any]]:
    return {table.name: list(snapshot[table].values()) for table in tables}


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(clusters, st.lists(steps, max_size=15), st.sampled_from(["offered", "refused"]), st.integers(1, 4))
@example([identity(70_000)], [("sync", 0), ("put", node("n")), ("half_answer", 0), ("cut", 0)], "refused", 1)
def test_tables_after_any_history_are_those_of_manifests(
    first: list[Object], history: list[tuple[str, Any]], streaming: Any, page_limit: int
):
    with FakeApi(streaming=streaming) as api:
        for value in first:
            api.put(value)
        with KubeRig(api.url, page_limit=page_limit) as rig:
            for step, what in history:
                if step == "put":
                    api.put(what)
                elif step == "remove":
                    held = api.objects()
                    if held:
                        api.remove(held[what % len(held)])
                elif step == "kill":
                    api.kill()
                    api.start()
                elif step == "sync":
                    rig.synced()
                else:
                    getattr(api, step)()
            for value in api.objects():  # two claims on one address: who holds it depends on who came first
                if value not in without_conflicts(api.objects()):
                    api.remove(value)
            wanted = through_manifests([_bare(value) for value in api.objects()])
            tables = rig.source.tables
            rig.until(lambda s: rows(s, tables) == wanted, "the tables of manifests")
            rig.synced()
            rig.db.check()


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    clusters.filter(bool),
    st.lists(
        st.sampled_from(["cut", "kill", "compact", "half_answer", "half_line", "replace", "ahead", "restore"]),
        max_size=5,
    ),
    st.sampled_from(["offered", "refused"]),
)
def test_no_fault_of_the_server_deletes_a_row(first: list[Object], faults: list[str], streaming: Any):
    with FakeApi(streaming=streaming) as api:
        backup = api.backup()
        api.revision += 100  # what else happens in a cluster: a restored one needs a while to overtake what we know
        for value in first:
            api.put(value)
        with KubeRig(api.url, page_limit=2) as rig:
            before = rig.synced()
            streams = [rig.db.changes(table) for table in rig.source.tables]
            for fault in faults:
                if fault == "kill":
                    api.kill()
                    api.start()
                elif fault == "replace":
                    api.replace()
                elif fault == "ahead":
                    api.replace(revision=api.revision + 1000)
                elif fault == "restore":
                    api.restore(backup)
                else:
                    getattr(api, fault)()
            marker = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "seen-last"}}
            api.put(marker)
            rig.until(lambda s: any(key.name == "seen-last" for key in s[Namespaces]))
            rig.until(lambda s: all(rig.of(t.name, s).state in ("synced", "stale") for t in rig.source.tables))
            after = rig.db.snapshot()
            for table, stream in zip(rig.source.tables, streams, strict=True):
                assert set(before[table].keys()) <= set(after[table].keys())
                while batch := stream.next(timeout=0):
                    assert not [change for change in batch if change.deleted]
                stream.close()


def _bare(value: Object) -> Object:
    metadata = {name: each for name, each in value["metadata"].items() if name not in ("resourceVersion", "uid")}
    return value | {"metadata": metadata}
