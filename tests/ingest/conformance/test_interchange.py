"""Interchange: one history of one cluster through all four backends, and their tables are equal row for row."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, settings, strategies as st

from ingest import ManifestsOptions
from ingest.etcd.local import LocalEtcd
from ingest.manifests import open as open_manifests
from statedb import Database
from statedb.catalog import TABLES, Rejected
from statedb.catalog.wire import keys

from ..clusters import (
    CLUSTER,
    Object,
    cilium_endpoints,
    cilium_identities,
    cilium_nodes,
    clusters,
    endpoint_slices,
    kubernetes_services,
    name_of,
    write_directory,
)
from ..kube_rig import ces, node
from .everywhere import CARRIED, Everywhere, Rows, as_told_by, rows

slices_of_cilium = st.builds(
    ces,
    st.sampled_from(["ces-a", "ces-b", "ces-c"]),
    st.lists(st.integers(1, 20).map(lambda last: f"10.1.0.{last}"), max_size=4, unique=True),
    st.sampled_from([65_700, 70_000]),
)
common = cilium_nodes | cilium_identities | kubernetes_services | endpoint_slices
faults = st.sampled_from(["cut", "mend", "compact", "restart", "half_line"]).map(lambda fault: (fault, None))
bad = st.tuples(st.just("spoil"), st.sampled_from(["a", "b"]))
others = st.one_of(
    st.tuples(st.just("remove"), st.integers(0, 30)),
    st.tuples(st.just("rename"), st.integers(0, 30)),
    bad,
    st.just(("settle", None)),
    faults,
)


def history(objects: Any, *more: Any) -> Any:
    put = st.tuples(st.just("put"), objects)
    return st.lists(st.one_of(put, put, put, others, *more), min_size=3, max_size=15)


def compute_all(values: list[Object]) -> Rows:
    """What a source that begins now makes of them."""
    with tempfile.TemporaryDirectory() as directory:
        write_directory(values, Path(directory))
        db = Database(*TABLES)
        source = open_manifests(db, CLUSTER, 1, ManifestsOptions(directory=directory))
        source.start()
        try:
            assert db.wait_initialized(*CARRIED, timeout=30)
            assert not db.snapshot()[Rejected]
            return rows(db.snapshot())
        finally:
            source.stop()
            assert source.join(10)


class Story:
    """Carries out a history, and says what the tables must be."""

    def __init__(self, cluster: Everywhere) -> None:
        self.cluster = cluster
        self._bad: set[tuple[str, str, str]] = set()
        self._names = 0

    def play(self, step: str, what: Any) -> None:
        cluster = self.cluster
        match step:
            case "put" if name_of(what) not in self._bad:
                cluster.put(what)
            case "remove" | "rename" | "move" if cluster.objects:
                names = sorted(cluster.objects)
                self._change(step, names[what % len(names)])
            case "spoil" if ("CiliumNode", "", what) not in self._bad:
                self._spoil(what)
            case "settle":
                self.settle()
            case "cut":
                cluster.proxy.cut()
                cluster.api.cut()
            case "mend":
                cluster.proxy.mend()
            case "compact":
                cluster.client.compact(cluster.client.put(b"elsewhere", b"").revision)
                cluster.api.compact()
            case "restart":
                cluster.api.kill()
                cluster.api.start()
            case "half_line":
                cluster.api.half_line()

    def _change(self, step: str, name: tuple[str, str, str]) -> None:
        cluster = self.cluster
        value = cluster.objects[name]
        if step == "remove":
            cluster.remove(name)
            self._bad.discard(name)
        elif step == "rename" and name not in self._bad:
            cluster.remove(name)
            self._names += 1
            new = str(80_000 + self._names) if value["kind"] == "CiliumIdentity" else f"new-{self._names}"
            cluster.put({**value, "metadata": {**value["metadata"], "name": new}})
        elif step == "move" and value["kind"] == "CiliumEndpointSlice" and value["endpoints"]:
            self._names += 1
            others = [each for each in cluster.objects.values() if each["kind"] == "CiliumEndpointSlice"]
            target = next((each for each in others if name_of(each) != name), ces(f"ces-new-{self._names}", []))
            first, *rest = value["endpoints"]
            cluster.move(
                {**value, "endpoints": rest},
                {**target, "endpoints": [*target["endpoints"], first]},
                new_first=bool(self._names % 2),
            )

    def _spoil(self, what: str) -> None:
        name = ("CiliumNode", "", what)
        if name not in self.cluster.objects:
            self.cluster.put(node(what))
        self.settle()  # the last good one has been seen by all: else there is none that they could agree on
        self._bad.add(name)
        self.cluster.spoil(name, {**node(what), "spec": []}, f"{keys.NODES}/{CLUSTER}/{what}")

    def settle(self) -> None:
        cluster = self.cluster
        cluster.proxy.mend()
        wanted = compute_all(list(cluster.objects.values()))

        def difference(name: str) -> str:
            found, own = rows(cluster.databases[name].snapshot()), as_told_by(name, wanted)
            return f"{name}: {[(table, found[table], own[table]) for table in found if found[table] != own[table]]}"

        cluster.until_all(lambda name, snapshot: rows(snapshot) == as_told_by(name, wanted), difference)


def told(etcd: LocalEtcd, first: list[Object], steps: list[tuple[str, Any]], *, endpoint_slices: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        cluster = Everywhere(etcd, Path(directory), endpoint_slices=endpoint_slices)
        story = Story(cluster)
        for value in first:
            cluster.put(value)
        with cluster:
            for db in cluster.databases.values():
                assert db.wait_initialized(*CARRIED, timeout=30)
            for step, what in steps:
                story.play(step, what)
            story.settle()
            for db in cluster.databases.values():
                db.check()


# A failure is told as it was found: on real servers each try to make it smaller waits for its whole time.
_SETTINGS = settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_SETTINGS
@given(clusters, history(common | cilium_endpoints))
@example([node("db")], [("remove", 0), ("compact", None), ("settle", None)])  # deleted, and compacted before it is told
def test_interchange(etcd: LocalEtcd, first: list[Object], steps: list[tuple[str, Any]]):
    told(etcd, first, steps, endpoint_slices=False)


@_SETTINGS
@given(
    st.lists(slices_of_cilium, max_size=3),
    history(common | slices_of_cilium, st.tuples(st.just("move"), st.integers(0, 30))),
)
def test_interchange_with_slices_of_endpoints(etcd: LocalEtcd, first: list[Object], steps: list[tuple[str, Any]]):
    told(etcd, first, steps, endpoint_slices=True)
