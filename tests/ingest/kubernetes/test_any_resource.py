"""Any resource of a real API server as a table, found by its name as kubectl finds it."""

from __future__ import annotations

import msgspec
import pytest

from ingest import InvalidOptions, KubernetesOptions, OwnedElsewhere, kubernetes
from ingest.kubernetes import ResourceOptions
from statedb import Database, Table, UniqueIndex
from statedb.catalog import Nodes, ObjectKey, Objects, Rejected, objects_table

from ...apiserver.server import READER, ApiServer
from .informing import (
    CRDS,
    at,
    config_map,
    create_served,
    new_namespace,
    options,
    pod,
    running,
    state,
    until,
    widgets_crd,
)


class Settings(Table[str, "Setting"], name="settings"):
    primary = UniqueIndex[str, "Setting"](lambda setting: setting.name)


class Setting(msgspec.Struct, frozen=True, gc=False):
    name: str
    size: int


class _Map(msgspec.Struct):
    class _Metadata(msgspec.Struct):
        name: str

    metadata: _Metadata
    data: dict[str, str] = {}


def setting(value: bytes) -> list[Setting]:
    decoded = msgspec.json.decode(value, type=_Map)
    return [Setting(decoded.metadata.name, int(decoded.data["size"]))]


def test_rows_as_they_are(apiserver: ApiServer):
    rest, namespace = apiserver.rest(), new_namespace(apiserver)
    owner = rest.create(at(namespace), config_map("owner"))["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner, "controller": True}
    labels, annotations = {"app": "web", "tier": "front"}, {"a/b": "c"}
    more = {"labels": labels, "annotations": annotations, "ownerReferences": [reference], "finalizers": ["a.b/c"]}
    created = rest.create(at(namespace, "pods"), pod("web-1", "node-1", **more))
    db = Database()
    chosen = ResourceOptions(
        resource="po", table="pods", namespaces=(namespace,), index={"image": "spec.containers[*].image"}
    )
    source = kubernetes.resources(db, chosen, "deployments.apps", options=options(apiserver))
    pods, deployments = source.tables
    assert [table.name for table in source.tables] == ["pods", "deployments"]
    with running(source):
        assert db.wait_initialized(pods, deployments, timeout=40)
        snapshot = db.snapshot()
        row = snapshot[pods][ObjectKey("default", namespace, "web-1")]
        assert (row.uid, row.version) == (created["metadata"]["uid"], created["metadata"]["resourceVersion"])
        assert (dict(row.labels), dict(row.annotations), row.finalizers) == (labels, annotations, ("a.b/c",))
        assert [(each.name, each.uid, each.controller) for each in row.owners] == [("owner", owner, True)]
        assert row.value() == {"spec": created["spec"], "status": created["status"]}
        assert row.at("spec", "nodeName") == "node-1"
        assert row.label("app") == "web"
        for index, key in (
            ("by_namespace", namespace),
            ("by_label", "app=web"),
            ("by_owner", owner),
            ("by_node", "node-1"),
            ("by_image", "side:2"),
        ):
            assert list(snapshot[pods.indexes[index]][key]) == [row]
        rest.call("DELETE", f"{at(namespace, 'pods')}/web-1", query={"gracePeriodSeconds": "0"})
        until(db, lambda s: s[pods][row.key].deleting)
        released = {**created, "metadata": {**created["metadata"], "resourceVersion": None, "finalizers": []}}
        rest.replace(f"{at(namespace, 'pods')}/web-1", released)
        until(db, lambda s: not s[pods])


def test_a_list_and_a_watch_give_equal_rows(apiserver: ApiServer):
    rest, namespace = apiserver.rest(), new_namespace(apiserver)
    db = Database()
    listed = ResourceOptions(resource="cm", namespaces=(namespace,))
    with running(kubernetes.resources(db, listed, options=options(apiserver))):
        (table,) = [each for each in db.tables if each.name == "cm"]
        assert db.wait_initialized(table, timeout=40)
        rest.create(at(namespace), config_map("a", data={"x": "é"}))
        watched = list(until(db, lambda s: s[table])[table].values())
    again = Database()
    with running(kubernetes.resources(again, listed, options=options(apiserver, streaming_lists=False))):
        assert again.wait_initialized(table, timeout=40)
        assert list(again.snapshot()[table].values()) == watched


def test_a_typed_row_of_ones_own_by_namespace_and_label(apiserver: ApiServer):
    rest = apiserver.rest()
    first, second, third = (new_namespace(apiserver) for _ in range(3))
    for namespace in (first, second, third):
        rest.create(at(namespace), config_map(f"{namespace}-web", data={"size": "1"}, labels={"app": "web"}))
        rest.create(at(namespace), config_map(f"{namespace}-db", data={"size": "1"}, labels={"app": "db"}))
    rest.create(at(first), config_map("bad", data={"size": "many"}, labels={"app": "web"}))
    db = Database()
    source = kubernetes.resource(
        db, "configmaps", Settings, setting, options(apiserver), namespaces=[first, second], labels="app=web"
    )
    with running(source):
        assert db.wait_initialized(Settings, timeout=40)
        snapshot = until(db, lambda s: state(s, "settings").state == "synced")
        assert set(snapshot[Settings]) == {f"{first}-web", f"{second}-web"}
        assert [row.error for row in snapshot[Rejected].values()] == [
            "ValueError: invalid literal for int() with base 10: 'many'"
        ]
        relabelled = config_map(f"{first}-web", data={"size": "1"}, labels={"app": "cache"})
        rest.replace(f"{at(first)}/{first}-web", relabelled)
        until(db, lambda s: set(s[Settings]) == {f"{second}-web"})


@pytest.mark.parametrize("streaming", [True, False])
def test_metadata_only_and_fields(apiserver: ApiServer, streaming: bool):
    rest, namespace = apiserver.rest(), new_namespace(apiserver)
    rest.create(at(namespace), config_map("a", data={"secret": "value"}, labels={"app": "web"}))
    rest.create(at(namespace), config_map("b"))
    db = Database()
    chosen = ResourceOptions(resource="configmaps", namespaces=(namespace,), fields="metadata.name=a", only="metadata")
    source = kubernetes.resources(db, chosen, options=options(apiserver, streaming_lists=streaming))
    (table,) = source.tables
    with running(source):
        snapshot = until(db, lambda s: state(s, "configmaps").state == "synced")
        (row,) = snapshot[table].values()
        assert (row.key.name, row.label("app"), row.rest) == ("a", "web", "{}")
        rest.replace(f"{at(namespace)}/a", config_map("a", data={"other": "value"}, labels={"app": "changed"}))
        snapshot = until(db, lambda s: s[table.by_label]["app=changed"])
        assert snapshot[table][row.key].rest == "{}"


def test_rights_for_the_namespaces_of_the_list_suffice(apiserver: ApiServer):
    mine, other = new_namespace(apiserver), new_namespace(apiserver)
    apiserver.rest().create(at(mine), config_map("a", data={"size": "1"}))
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{mine}"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}
    apiserver.rest().create(f"{rbac}/roles", {"metadata": {"name": "reads"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "reads"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": READER}],
    }
    apiserver.rest().create(f"{rbac}/rolebindings", binding)
    for namespaces, wanted in (([mine], "synced"), ([mine, other], "failed")):
        db = Database()
        source = kubernetes.resource(
            db, "configmaps", Settings, setting, options(apiserver, READER), namespaces=namespaces
        )
        with running(source):
            snapshot = until(db, lambda s, wanted=wanted: state(s, "settings").state == wanted and s[Settings])
            assert list(snapshot[Settings]) == ["a"]


def test_a_crd_that_appears_later_and_then_with_another_version(apiserver: ApiServer):
    rest, namespace = apiserver.rest(), new_namespace(apiserver)
    group = f"{namespace}.example.org"
    db = Database()
    source = kubernetes.resources(db, f"wi.{group}", "configmaps", options=options(apiserver))
    widgets, maps = source.tables
    assert widgets.name == "wi"
    with running(source):
        assert db.wait_initialized(maps, timeout=40)
        until(db, lambda s: "waiting for its CRD" in state(s, "wi").last_error)
        crd = rest.create(CRDS, widgets_crd(group, ("v1alpha1",)))
        widget = {"apiVersion": f"{group}/v1alpha1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"size": 1}}
        create_served(rest, f"/apis/{group}/v1alpha1/namespaces/{namespace}/widgets", widget)
        until(db, lambda s: [row.at("spec", "size") for row in s[widgets].values()] == [1])
        rest.delete(f"{CRDS}/{crd['metadata']['name']}")
        until(db, lambda s: "waiting for its CRD" in state(s, "wi").last_error)
        source.accept()  # a watch that ends with its CRD may not tell what went with it, and then rows stay
        until(db, lambda s: not s[widgets])
        create_served(rest, CRDS, widgets_crd(group, ("v1",)))
        widget = {**widget, "apiVersion": f"{group}/v1", "spec": {"size": 2}}
        create_served(rest, f"/apis/{group}/v1/namespaces/{namespace}/widgets", widget)
        until(db, lambda s: [row.at("spec", "size") for row in s[widgets].values()] == [2])
        rest.delete(f"{CRDS}/{crd['metadata']['name']}")


def test_several_sources_fill_one_table_each_its_cluster(apiserver: ApiServer):
    rest, first, second = apiserver.rest(), new_namespace(apiserver), new_namespace(apiserver)
    db = Database()
    chosen = {
        cluster: ResourceOptions(resource="configmaps", namespaces=(namespace,))
        for cluster, namespace in (("a", first), ("b", second))
    }
    a, b = (
        kubernetes.resources(db, each, options=options(apiserver), cluster=cluster) for cluster, each in chosen.items()
    )
    assert a.tables == b.tables
    (table,) = a.tables
    for namespace in (first, second):
        rest.create(at(namespace), config_map("x"))
    with running(b):
        with running(a):
            until(db, lambda s: [key.cluster for key in s[table]] == ["a", "b"])
        rest.delete(f"{at(second)}/x")
        until(db, lambda s: [key.cluster for key in s[table]] == ["a"])
    assert state(db.snapshot(), "configmaps", "a").state == "absent"


def test_two_namespaces_into_one_table_and_each_source_deletes_only_what_it_owns(apiserver: ApiServer):
    rest, namespaces = apiserver.rest(), [new_namespace(apiserver) for _ in range(2)]
    db = Database()
    sources = []
    for namespace in namespaces:
        for n in range(2):
            rest.create(at(namespace), config_map(f"{namespace}-{n}", data={"size": "1"}, labels={"app": "web"}))
        sources.append(
            kubernetes.resource(
                db,
                "configmaps",
                Settings,
                setting,
                options(apiserver),
                namespaces=[namespace],
                labels="app=web",
                cluster=namespace,
                owns=lambda row, namespace=namespace: row.name.startswith(namespace),
            )
        )
    a, b = namespaces
    everything = {f"{namespace}-{n}" for namespace in namespaces for n in range(2)}
    with running(sources[0]):
        until(db, lambda s: set(s[Settings]) == {f"{a}-0", f"{a}-1"})
        with running(sources[1]):
            until(db, lambda s: set(s[Settings]) == everything and s[Settings].initialized)
            rest.delete(f"{at(b)}/{b}-0")
            until(db, lambda s: set(s[Settings]) == everything - {f"{b}-0"})
            rest.create(at(a), config_map(f"{b}-9", data={"size": "1"}, labels={"app": "web"}))
            snapshot = until(db, lambda s: len(s[Rejected]))
            (row,) = snapshot[Rejected].values()
            assert row.key.cluster == a
            assert "'owns' leaves to another source" in row.error
        with pytest.raises(OwnedElsewhere, match="nothing says whose rows are whose"):
            kubernetes.resource(db, "configmaps", Settings, setting, options(apiserver), cluster="third").start()
    assert set(db.snapshot()[Settings]) == everything - {f"{b}-0"}


@pytest.mark.stress  # starting two servers takes half a minute; test_kubernetes_real.py has the short form
@pytest.mark.apiserver
def test_a_server_started_again_empty_takes_no_row_away():
    with ApiServer() as server:
        server.start()
        server.rest().create(at("default"), config_map("a"))
        db = Database()
        source = kubernetes.resources(
            db, ResourceOptions(resource="configmaps", namespaces=("default",)), options=options(server)
        )
        (table,) = source.tables
        with running(source):
            until(db, lambda s: "a" in [key.name for key in s[table]] and state(s, "configmaps").state == "synced")
            server.restart_empty()
            snapshot = until(db, lambda s: state(s, "configmaps").withheld_deletes)
            assert "a" in [key.name for key in snapshot[table]]
            source.accept()
            until(db, lambda s: "a" not in [key.name for key in s[table]])


def test_bad_resource_does_not_stop_the_others(apiserver: ApiServer):
    db = Database()
    chosen = (ResourceOptions(resource="nodes", table="k8s-nodes", namespaces=("default",)), "bindings", "namespaces")
    source = kubernetes.resources(db, *chosen, options=options(apiserver))
    with running(source):
        snapshot = until(
            db,
            lambda s: (
                state(s, "namespaces").state == "synced"
                and state(s, "k8s-nodes").state == state(s, "bindings").state == "failed"
            ),
        )
        assert "leave namespaces out" in state(snapshot, "k8s-nodes").last_error
        assert "not to watch" in state(snapshot, "bindings").last_error


def test_mistakes_are_told_at_once_with_the_remedy():
    here = KubernetesOptions(server="http://127.0.0.1:1")
    with pytest.raises(InvalidOptions, match="option table"):
        kubernetes.resources(Database(), "events", "events.events.k8s.io", options=here)
    with pytest.raises(InvalidOptions, match="another table"):
        kubernetes.resources(Database(Nodes), "nodes", options=here)
    with pytest.raises(InvalidOptions, match="at least one"):
        kubernetes.resources(Database(), options=here)
    with pytest.raises(InvalidOptions, match="is not a path"):
        kubernetes.resources(Database(), ResourceOptions(resource="pods", drop=("a..b",)), options=here)
    with pytest.raises(InvalidOptions, match="standard index"):
        kubernetes.resources(Database(), ResourceOptions(resource="pods", index={"label": "spec"}), options=here)
    with pytest.raises(InvalidOptions, match="give a list"):
        kubernetes.resource(Database(), "pods", Settings, setting, here, namespaces="shop")


def test_the_table_of_equal_options_is_one():
    assert objects_table("pods", ("by_node",)) is objects_table("pods", ("by_node",))
    assert list(objects_table("pods", ("by_node",)).indexes) == [*Objects.indexes, "by_node"]
