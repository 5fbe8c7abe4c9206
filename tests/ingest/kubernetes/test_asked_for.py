"""Tasks that people ask for in the issues of Python clients, each on a real API server in at most 25 lines.

What is asked stands above each: the project, the number of the issue, and what its author could not do.
"""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import msgspec
import pytest

from consumers import reconcile
from ingest import kubernetes
from ingest.kubernetes import ResourceOptions
from statedb import Database, Snapshot, Table, UniqueIndex
from statedb.catalog import Object

from ...apiserver.rest import Refused, Rest
from ...apiserver.server import ApiServer
from ...tcp_proxy import TcpProxy
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


@pytest.fixture
def namespace(apiserver: ApiServer) -> str:
    return new_namespace(apiserver)


def in_namespace(name: str, *namespaces: str) -> ResourceOptions:
    return ResourceOptions(resource=name, namespaces=namespaces)


# kubernetes-client/python#868: a store in memory that is kept current, to be read at any time.
def test_a_local_store_that_is_always_current(apiserver: ApiServer, namespace: str):
    rest, db = apiserver.rest(), Database()
    source = kubernetes.resources(db, in_namespace("pods", namespace), options=options(apiserver))
    (pods,) = source.tables
    with running(source):
        for number in range(3):
            rest.create(at(namespace, "pods"), pod(f"p{number}", f"node-{number % 2}", labels={"app": "web"}))
        snapshot = until(db, lambda s: len(s[pods.by_label]["app=web"]) == 3)
        assert [row.key.name for row in snapshot[pods.indexes["by_node"]]["node-0"]] == ["p0", "p2"]


# kubernetes-client/python#124 and #728: the server ends a watch after some minutes, and the program's loop too.
def test_a_watch_that_never_ends(apiserver: ApiServer, namespace: str):
    rest, db = apiserver.rest(), Database()
    source = kubernetes.resources(db, in_namespace("cm", namespace), options=options(apiserver, watch_timeout_s=1.0))
    (maps,) = source.tables
    with running(source), db.changes(maps) as stream:
        for number in count():
            rest.create(at(namespace), config_map(f"m{number}"))
            while len(db.snapshot()[maps]) <= number:
                assert stream.next(timeout=30) is not None
            if source.requests["watch", "configmaps"] >= 4:
                break


# kubernetes-client/python#1148: the network goes silent, no error comes, and the thread is stuck forever.
def test_a_network_that_goes_silent(apiserver: ApiServer, namespace: str):
    rest, db = apiserver.rest(), Database()
    with TcpProxy(apiserver.url) as proxy:
        url = proxy.endpoint.replace("http://", "https://")
        quick = kubernetes.KubernetesOptions(
            kubeconfig=str(apiserver.kubeconfig(url=url)), silence_s=1.0, request_timeout_s=1.0, retry_max_s=0.2
        )
        source = kubernetes.resources(db, in_namespace("cm", namespace), options=quick)
        (maps,) = source.tables
        with running(source):
            until(db, lambda s: state(s, "cm").state == "synced")
            proxy.freeze()
            until(db, lambda s: state(s, "cm").state == "stale")
            rest.create(at(namespace), config_map("meanwhile"))
            proxy.mend()
            until(db, lambda s: s[maps.by_namespace][namespace] and state(s, "cm").state == "synced")


# kubernetes-client/python#571: wait until a deployment has rolled out.
def test_wait_for_a_rollout(apiserver: ApiServer, namespace: str):
    rest, db, path = apiserver.rest(), Database(), f"/apis/apps/v1/namespaces/{namespace}/deployments"
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod("x")["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    deployment = rest.create(path, {"metadata": {"name": "web"}, "spec": spec})
    source = kubernetes.resources(db, in_namespace("deploy", namespace), options=options(apiserver))
    (deployments,) = source.tables

    def rolled_out(row: Object) -> bool:
        status, wanted = row.at("status", default={}), row.at("spec", "replicas")
        return status.get("observedGeneration") == row.generation and status.get("availableReplicas") == wanted

    with running(source):
        until(db, lambda s: s[deployments])
        assert not any(map(rolled_out, db.snapshot()[deployments].values()))
        status = {
            "observedGeneration": 1,
            "replicas": 2,
            "readyReplicas": 2,
            "availableReplicas": 2,
            "updatedReplicas": 2,
        }
        rest.replace(f"{path}/web/status", {**deployment, "status": status})
        until(db, lambda s: all(map(rolled_out, s[deployments].values())))


# kubernetes-client/python#863: kubectl wait --for=condition=ready pod -l app=web.
def test_wait_for_a_condition_of_pods_by_label(apiserver: ApiServer, namespace: str):
    rest, db = apiserver.rest(), Database()
    for name in ("a", "b"):
        rest.create(at(namespace, "pods"), pod(name, "node-1", labels={"app": "web"}))
    chosen = ResourceOptions(resource="pods", namespaces=(namespace,), labels="app=web", keep=("status.conditions",))
    source = kubernetes.resources(db, chosen, options=options(apiserver))
    (pods,) = source.tables

    def ready(row: Object) -> bool:
        return any(each["type"] == "Ready" for each in row.at("status", "conditions", default=()) or ())

    with running(source):
        until(db, lambda s: len(s[pods]) == 2)
        for name in ("a", "b"):
            held = rest.get(f"{at(namespace, 'pods')}/{name}")
            held["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
            rest.replace(f"{at(namespace, 'pods')}/{name}/status", held)
        until(db, lambda s: all(map(ready, s[pods].values())))


# kubernetes-client/python#1888: kubectl wait --for=condition=complete job/foo, without a poll.
def test_wait_for_one_job(apiserver: ApiServer, namespace: str):
    rest, db, path = apiserver.rest(), Database(), f"/apis/batch/v1/namespaces/{namespace}/jobs"
    chosen = ResourceOptions(resource="jobs", namespaces=(namespace,), fields="metadata.name=foo")
    source = kubernetes.resources(db, chosen, options=options(apiserver))
    (jobs,) = source.tables
    spec = {"template": {"spec": {**pod("x")["spec"], "restartPolicy": "Never"}}}
    with running(source):
        for name in ("bar", "foo"):
            job = rest.create(path, {"metadata": {"name": name}, "spec": spec})
        until(db, lambda s: s[jobs])
        watch, now = db.snapshot()[jobs].watch(), job["metadata"]["creationTimestamp"]
        done = [{"type": each, "status": "True"} for each in ("SuccessCriteriaMet", "Complete")]
        status = {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": done}
        rest.replace(f"{path}/foo/status", {**job, "status": {**status, "uncountedTerminatedPods": {}}})
        assert watch.wait(timeout=30)
        until(
            db,
            lambda s: [c["type"] for r in s[jobs].values() for c in r.at("status", "conditions")][1:] == ["Complete"],
        )


# kubernetes-client/python#1536 and kr8s-org/kr8s#256: a CRD that was installed after the client began is not found.
def test_a_crd_that_is_installed_later(apiserver: ApiServer, namespace: str):
    rest, db, group = apiserver.rest(), Database(), f"{namespace}.example.org"
    source = kubernetes.resources(db, f"widget.{group}", options=options(apiserver))
    (widgets,) = source.tables
    with running(source):
        until(db, lambda s: "waiting for its CRD" in state(s, "widget").last_error)
        rest.create(CRDS, widgets_crd(group))
        widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "a"}}
        create_served(rest, f"/apis/{group}/v1/namespaces/{namespace}/widgets", widget)
        until(db, lambda s: [key.name for key in s[widgets]] == ["a"])
    rest.delete(f"{CRDS}/widgets.{group}")


# kr8s-org/kr8s#726: the running pods and what they request, without hundreds of megabytes for whole objects.
def test_sums_over_many_pods_in_little_memory(apiserver: ApiServer, namespace: str):
    rest, db = apiserver.rest(), Database()
    for number in range(4):
        one = pod(f"p{number}", f"node-{number % 2}")
        one["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2"}}
        rest.create(at(namespace, "pods"), one)
    path = "spec.containers[*].resources.requests"
    chosen = ResourceOptions(resource="pods", namespaces=(namespace,), keep=(path, "spec.nodeName"))
    source = kubernetes.resources(db, chosen, options=options(apiserver))
    (pods,) = source.tables
    with running(source):
        snapshot = until(db, lambda s: len(s[pods]) == 4)
        cores: Counter[str] = Counter()
        for row in snapshot[pods].values():
            spec = row.at("spec")
            cores[spec["nodeName"]] += int(spec["containers"][0]["resources"]["requests"]["cpu"])
        assert cores == {"node-0": 4, "node-1": 4}
        assert all(len(row.rest) < 200 for row in snapshot[pods].values())


# ansible-collections/kubernetes.core#1022, apache/airflow#36092: labels of large objects, without the objects.
def test_metadata_alone(apiserver: ApiServer, namespace: str):
    apiserver.rest().create(at(namespace), config_map("large", data={"blob": "x" * 100_000}, labels={"app": "web"}))
    db = Database()
    source = kubernetes.resources(
        db, ResourceOptions(resource="cm", namespaces=(namespace,), only="metadata"), options=options(apiserver)
    )
    (maps,) = source.tables
    with running(source):
        (row,) = until(db, lambda s: s[maps])[maps].values()
        assert (row.key.name, row.label("app"), row.rest) == ("large", "web", "{}")


# kubernetes/kubernetes#97831, nolar/kopf#988: several namespaces, neither one nor all, as one list.
def test_several_namespaces_as_one(apiserver: ApiServer):
    first, second, other = (new_namespace(apiserver) for _ in range(3))
    for namespace in (first, second, other):
        apiserver.rest().create(at(namespace), config_map("settings"))
    db = Database()
    source = kubernetes.resources(
        db, ResourceOptions(resource="cm", namespaces=(first, second)), options=options(apiserver)
    )
    (maps,) = source.tables
    with running(source):
        snapshot = until(db, lambda s: state(s, "cm").state == "synced")
        assert {key.namespace for key in snapshot[maps]} == {first, second}


# kubernetes-client/python#174: the same event comes twice, for a list and a watch overlap.
def test_no_change_comes_twice(apiserver: ApiServer, namespace: str):
    rest, db, seen = apiserver.rest(), Database(), list[tuple[str, str]]()
    created = [rest.create(at(namespace), config_map(f"m{number}")) for number in range(5)]
    source = kubernetes.resources(db, in_namespace("cm", namespace), options=options(apiserver))
    (maps,) = source.tables
    with running(source), db.changes(maps) as stream:
        created += [rest.create(at(namespace), config_map(f"n{number}")) for number in range(5)]
        while len(seen) < 10:
            seen += [(change.row.key.name, change.row.version) for change in stream.next(timeout=30)]
        assert stream.next(timeout=0) is None
    assert sorted(seen) == sorted((each["metadata"]["name"], each["metadata"]["resourceVersion"]) for each in created)


class Copies:
    """What the controller does: the maps of a namespace, made equal to rows."""

    def __init__(self, rest: Rest, namespace: str) -> None:
        self.rest, self.path = rest, at(namespace)

    def update(self, snapshot: Snapshot, row: Copy) -> None:
        try:
            self.rest.create(self.path, config_map(row.name, data=row.data))
        except Refused:
            self.rest.replace(f"{self.path}/{row.name}", config_map(row.name, data=row.data))

    def delete(self, snapshot: Snapshot, row: Copy) -> None:
        self.rest.delete(f"{self.path}/{row.name}")

    def prune(self, snapshot: Snapshot, rows: Iterable[Copy]) -> None:
        for name in {each["metadata"]["name"] for each in self.rest.get(self.path)["items"]} - {r.name for r in rows}:
            self.rest.delete(f"{self.path}/{name}")


class Wanted(Table[str, "Copy"], name="wanted"):
    primary = UniqueIndex[str, "Copy"](lambda copy: copy.name)


class Copy(msgspec.Struct, frozen=True):
    name: str
    data: dict[str, str]


def wanted(value: bytes) -> list[Copy]:
    held = msgspec.json.decode(value)
    return [Copy(held["metadata"]["name"], held.get("data", {}))]


# kubernetes-client/python#334: an example of a controller. This one keeps copies of labelled maps in another namespace.
def test_a_controller(apiserver: ApiServer, namespace: str):
    rest, db, target = apiserver.rest(), Database(), new_namespace(apiserver)
    source = kubernetes.resource(
        db, "configmaps", Wanted, wanted, options(apiserver), namespaces=[namespace], labels="copy=yes"
    )
    copies = kubernetes.resources(
        db, ResourceOptions(resource="cm", namespaces=(target,)), options=options(apiserver), cluster="copies"
    )
    (maps,) = copies.tables

    def copied(expected: dict[str, dict[str, str]]) -> None:
        until(db, lambda s: {row.key.name: row.at("data") for row in s[maps].values()} == expected)

    with running(source, copies):
        with reconcile(db, Wanted, Copies(rest, target), name="copies"):
            rest.create(at(namespace), config_map("a", data={"x": "1"}, labels={"copy": "yes"}))
            copied({"a": {"x": "1"}})
            rest.replace(f"{at(namespace)}/a", config_map("a", data={"x": "2"}, labels={"copy": "yes"}))
            copied({"a": {"x": "2"}})
            rest.delete(f"{at(namespace)}/a")
            copied({})


def test_each_takes_25_lines_at_most():
    tree = ast.parse(Path(inspect.getfile(wanted)).read_text())
    sizes = {each.name: each.end_lineno - each.lineno + 1 for each in tree.body if isinstance(each, ast.FunctionDef)}
    assert max(size for name, size in sizes.items() if name.startswith("test_")) <= 25
