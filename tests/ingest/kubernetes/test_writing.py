"""Writing to a real API server, and the operator of examples/operator."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumers import Again, reconcile
from ingest import InvalidOptions, kubernetes
from ingest.kubernetes.errors import Absent, ApiError, Conflict, Invalid, Missing
from ingest.kubernetes.writing import Writer
from statedb import Database, Snapshot
from statedb.catalog import Object, ObjectKey
from statedb.catalog.objects import Objects

from ...apiserver.server import ApiServer
from .informing import CRDS, at, config_map, create_served, new_namespace, options, running, until

EXAMPLE = Path(__file__).parents[3] / "examples" / "operator"


@pytest.fixture
def writer(apiserver: ApiServer) -> Iterator[Writer]:
    with kubernetes.writer("tests", options(apiserver)) as writer:
        yield writer


def named(namespace: str, name: str, data: dict[str, str], **metadata: Any) -> dict[str, Any]:
    return config_map(name, data=data, namespace=namespace, **metadata)


def test_apply_owns_fields_and_takes_back_those_it_leaves_out(apiserver: ApiServer, writer: Writer):
    namespace = new_namespace(apiserver)
    writer.apply(named(namespace, "a", {"x": "1", "y": "1"}))
    assert writer.apply(named(namespace, "a", {"x": "2"}))["data"] == {"x": "2"}
    with kubernetes.writer("others", options(apiserver)) as other:
        assert other.apply(named(namespace, "a", {"z": "1"}))["data"] == {"x": "2", "z": "1"}
        with pytest.raises(Conflict, match='conflict with "tests"'):
            other.apply(named(namespace, "a", {"x": "3"}), force=False)
        assert other.apply(named(namespace, "a", {"x": "3"}))["data"] == {"x": "3"}


def test_objects_are_created_patched_replaced_and_removed(apiserver: ApiServer, writer: Writer):
    key = ObjectKey("any", new_namespace(apiserver), "a")
    with pytest.raises(Absent, match="get configmaps a: there is no such object"):
        writer.get("cm", key)
    created = writer.create(named(key.namespace, "a", {"x": "1"}))
    with pytest.raises(Conflict):
        writer.create(named(key.namespace, "a", {"x": "1"}))
    assert writer.patch("cm", key, {"data": {"x": None, "y": "2"}})["data"] == {"y": "2"}
    with pytest.raises(Conflict):
        writer.replace({**created, "data": {}})
    with pytest.raises(Conflict):
        writer.delete("cm", Object(key, uid="of-another"))
    writer.delete("cm", Object(key, uid=created["metadata"]["uid"]))
    writer.delete("cm", key)
    with pytest.raises(Missing, match="or is configmaps meant"):
        writer.get("confgmaps", key)
    with pytest.raises(InvalidOptions, match="apiVersion and kind"):
        writer.apply({"metadata": {"name": "a"}})
    with pytest.raises(Invalid):
        writer.apply(named(key.namespace, "UPPER", {}))


def test_finalizers_owners_and_events(apiserver: ApiServer, writer: Writer):
    namespace = new_namespace(apiserver)
    held = writer.create(named(namespace, "a", {}))["metadata"]
    row = Object(ObjectKey("c", namespace, "a"), uid=held["uid"])
    for _ in range(2):
        writer.add_finalizer("cm", row, "example.org/one")
    writer.add_finalizer("cm", row, "example.org/two")
    assert writer.get("cm", row)["metadata"]["finalizers"] == ["example.org/one", "example.org/two"]
    writer.delete("cm", row)
    writer.add_finalizer("cm", row, "example.org/late")  # it is going: nothing is written
    for name in ("one", "two", "two"):
        writer.remove_finalizer("cm", row, f"example.org/{name}")
    with pytest.raises(Absent):
        writer.get("cm", row)
    assert writer.owner("cm", row)["uid"] == row.uid
    writer.event("cm", row, "Went", "it is gone", type_="Warning")
    (event,) = apiserver.rest().get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
    assert (event["reason"], event["note"], event["regarding"]["name"]) == ("Went", "it is gone", "a")


def test_who_writes_can_wait_until_the_table_has_it(apiserver: ApiServer, writer: Writer):
    namespace, db = new_namespace(apiserver), Database()
    chosen = kubernetes.ResourceOptions(resource="cm", namespaces=(namespace,))
    source = kubernetes.resources(db, chosen, options=options(apiserver))
    (maps,) = source.tables
    written = writer.apply(named(namespace, "a", {"x": "1"}))
    assert not kubernetes.wait_seen(db, maps, written, timeout=0)
    with running(source):
        for number in range(20):
            written = writer.apply(named(namespace, "a", {"x": str(number)}))
            assert kubernetes.wait_seen(db, maps, written, timeout=30)
            assert db.snapshot()[maps][ObjectKey("default", namespace, "a")].at("data") == {"x": str(number)}
        other = {"metadata": {**written["metadata"], "name": "of-nobody"}}
        assert not kubernetes.wait_seen(db, maps, other, timeout=0.01)


class Counters:
    """Each ConfigMap "of-*" has as many children as its data says; one a call, and each call sees what was written."""

    def __init__(self, writer: Writer, table: type[Objects]) -> None:
        self.writer = writer
        self.table = table

    def update(self, snapshot: Snapshot, row: Object) -> Again | None:
        if not row.key.name.startswith("of-"):
            return None
        there = len(snapshot[self.table.by_owner][row.uid])
        if there >= int(row.at("data", "wanted")):
            return None
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": row.key.name, "uid": row.uid}
        metadata = {"generateName": "child-", "namespace": row.key.namespace, "ownerReferences": [reference]}
        written = self.writer.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        return Again(after_s=0.0, view=kubernetes.seen(self.table, written))

    def delete(self, snapshot: Snapshot, row: Object) -> None: ...

    def prune(self, snapshot: Snapshot, rows: object) -> None: ...


def test_a_controller_that_awaits_its_own_writes_creates_nothing_twice(apiserver: ApiServer, writer: Writer):
    namespace, db, rest = new_namespace(apiserver), Database(), apiserver.rest()
    chosen = kubernetes.ResourceOptions(resource="cm", namespaces=(namespace,))
    children = kubernetes.ResourceOptions(resource="cm", namespaces=(namespace,), table="children")
    source = kubernetes.resources(db, chosen, children, options=options(apiserver))
    parents, maps = source.tables
    for number in range(4):
        writer.apply(named(namespace, f"of-{number}", {"wanted": str(number)}))
    also = {maps: kubernetes.owners_of("ConfigMap")}
    counters = Counters(writer, maps)
    with running(source), reconcile(db, parents, counters, name="counters", workers=3, also=also):

        def counts(snapshot: Snapshot) -> list[int]:
            rows = [row for row in snapshot[parents].values() if row.key.name.startswith("of-")]
            return [len(snapshot[maps.by_owner][row.uid]) for row in rows]

        until(db, lambda s: counts(s) == [0, 1, 2, 3])
        (gone, *_) = [row for row in db.snapshot()[maps].values() if row.key.name.startswith("child-")]
        rest.delete(f"{at(namespace)}/{gone.key.name}")
        until(db, lambda s: gone.key not in s[maps] and counts(s) == [0, 1, 2, 3])
    names = [each["metadata"]["name"] for each in rest.get(at(namespace))["items"]]
    assert len([name for name in names if name.startswith("child-")]) == 6


def test_a_closed_writer_says_so(apiserver: ApiServer):
    writer = kubernetes.writer("tests", options(apiserver))
    writer.close()
    with pytest.raises(ApiError):
        writer.get("cm", ObjectKey("", "default", "a"))


def test_the_operator_of_the_examples(apiserver: ApiServer, writer: Writer):
    rest, namespace, db = apiserver.rest(), new_namespace(apiserver), Database()
    assert len((EXAMPLE / "operator.py").read_text().splitlines()) <= 40
    example = runpy.run_path(str(EXAMPLE / "operator.py"))
    rest.create(CRDS, yaml.safe_load((EXAMPLE / "crd.yaml").read_text()))
    chosen = [
        kubernetes.ResourceOptions(resource=name, namespaces=(namespace,)) for name in (example["RESOURCE"], "cm")
    ]
    source = kubernetes.resources(db, *chosen, options=options(apiserver))
    sites, maps = source.tables
    path = f"/apis/example.org/v1/namespaces/{namespace}/websites"
    site = {"apiVersion": "example.org/v1", "kind": "Website", "metadata": {"name": "a"}, "spec": {"html": "one"}}
    with running(source), reconcile(db, sites, example["Websites"](writer), name="websites", retry_max_s=0.2):
        uid = create_served(rest, path, site)["metadata"]["uid"]
        snapshot = until(db, lambda s: any(row.at("status", "ready") for row in s[sites].values()) and s[maps])
        (page,) = snapshot[maps.by_owner][uid]
        assert (page.key.name, page.at("data")) == ("page-of-a", {"index.html": "one"})
        held = rest.get(f"{path}/a")
        rest.replace(f"{path}/a", {**held, "spec": {"html": "two"}})
        until(db, lambda s: [row.at("status", "observedGeneration") for row in s[sites].values()] == [2])
        rest.delete(f"{path}/a")
        until(db, lambda s: not s[sites])
    rest.delete(f"{CRDS}/websites.example.org")
