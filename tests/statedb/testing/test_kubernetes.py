"""The API server in the process: it answers as the real one, and our sources, writers and operators work with it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import pytest

from consumers import reconcile
from ingest import KubernetesOptions, kubernetes
from statedb import Database
from statedb.catalog import ObjectKey, SourceKey, Sources
from statedb.testing.kubernetes import ApiServer, Refusal

from ...apiserver.server import ADMIN, ApiServer as RealApiServer
from ...ingest.kubernetes.informing import running, until
from .conversations import ALL, Talk, config_map, definition

SOON = 30.0


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


def options(server: ApiServer, **more: Any) -> KubernetesOptions:
    return KubernetesOptions(server=server.url, **{"retry_min_s": 0.02, "retry_max_s": 0.2, **more})


# -- beside the real one -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conversation", ALL, ids=[each.__name__ for each in ALL])
def test_it_answers_as_the_real_one(
    server: ApiServer, apiserver: RealApiServer, conversation: Callable[[Talk, str], None]
):
    namespace = f"talk-{secrets.token_hex(4)}"
    apiserver.create_namespace(namespace)
    server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    real = Talk(apiserver.url, ca=str(apiserver.ca), token=apiserver.token(ADMIN))
    ours = Talk(server.url)
    conversation(real, namespace)
    conversation(ours, namespace)
    assert len(ours.record) == len(real.record) > 5
    for said, expected in zip(ours.record, real.record):
        assert said == expected


# -- our own programs ----------------------------------------------------------------------------------------------


def test_a_source_fills_a_table_and_follows(server: ApiServer):
    server.create(config_map("a", {"x": "1"}))
    db = Database()
    source = kubernetes.resources(db, "cm", options=options(server))
    (maps,) = source.tables
    with running(source):
        assert db.wait_initialized(maps, timeout=SOON)
        server.apply(config_map("a", {"x": "2"}))
        server.create(config_map("b", namespace="kube-system"))
        until(db, lambda s: [row.at("data") for row in s[maps].values()] == [{"x": "2"}, None])
        server.delete("configmaps", "a")
        until(db, lambda s: [key.name for key in s[maps]] == ["b"])
    assert server.requests["watch", "configmaps"] >= 1


@pytest.mark.parametrize("streams", [True, False])
def test_a_source_outlives_every_fault(server: ApiServer, streams: bool):
    server.streams_lists = streams
    db = Database()
    source = kubernetes.resources(db, "cm", options=options(server))
    (maps,) = source.tables

    def names() -> set[str]:
        return {key.name for key in db.snapshot()[maps]}

    def forgotten() -> None:
        server.stop()
        server.create(config_map("while-away"))
        server.forget_history()
        server.start()

    def refused() -> None:
        server.fail("watch", status=429, times=2, retry_after_s=0)
        server.fail("list", status=503, times=2)
        server.cut()

    faults = [server.cut, server.end_watches, forgotten, refused, server.send_bookmarks]
    with running(source):
        for number, fault in enumerate(faults):
            fault()
            server.create(config_map(f"map-{number}"))
            until(db, lambda s, name=f"map-{number}": name in {key.name for key in s[maps]})
        assert names() == {"while-away", *(f"map-{number}" for number in range(len(faults)))}
        until(db, lambda s: s[Sources][SourceKey("default", "cm")].state == "synced")


def test_only_metadata_selectors_and_namespaces(server: ApiServer):
    server.create(config_map("a", {"x": "1"}, labels={"app": "web"}))
    server.create(config_map("b", labels={"app": "dns"}))
    server.create(config_map("c", labels={"app": "web"}, namespace="kube-system"))
    db = Database()
    chosen = kubernetes.ResourceOptions(resource="cm", namespaces=("default",), labels="app=web", only="metadata")
    source = kubernetes.resources(db, chosen, options=options(server))
    (maps,) = source.tables
    with running(source):
        assert db.wait_initialized(maps, timeout=SOON)
        assert [(row.key.name, row.rest) for row in db.snapshot()[maps].values()] == [("a", "{}")]


class Pages:
    """An operator: each Page has a ConfigMap."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def update(self, snapshot: Any, page: Any) -> None:
        if page.deleting:
            self.writer.remove_finalizer("widgets.example.org", page, "example.org/page")
            return
        self.writer.add_finalizer("widgets.example.org", page, "example.org/page")
        owner = self.writer.owner("widgets.example.org", page)
        metadata = {"name": page.key.name, "namespace": page.key.namespace, "ownerReferences": [owner]}
        value = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": page.at("spec")}
        self.writer.apply(value)
        self.writer.set_status("widgets.example.org", page, {"observedGeneration": page.generation})
        self.writer.event("widgets.example.org", page, "Written", "its page is there")

    def delete(self, snapshot: Any, page: Any) -> None: ...

    def prune(self, snapshot: Any, pages: Any) -> None: ...


def test_an_operator_in_one_process_with_its_api_server(server: ApiServer):
    server.create(definition("example.org"))
    widget = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"x": "1"}}
    server.create(widget)
    db = Database()
    source = kubernetes.resources(db, "widgets.example.org", options=options(server))
    (pages,) = source.tables
    with kubernetes.writer("pages", options(server)) as writer, running(source):
        server.fail("patch", "configmaps", status=409)
        with reconcile(db, pages, Pages(writer), name="pages", workers=2, retry_min_s=0.01):
            until(db, lambda s: [row.at("status") for row in s[pages].values()] == [{"observedGeneration": 1}])
            assert server.get("configmaps", "a")["data"] == {"x": "1"}
            server.apply({**widget, "spec": {"x": "2"}})
            until(db, lambda s: [row.at("status") for row in s[pages].values()] == [{"observedGeneration": 2}])
            assert server.get("configmaps", "a")["data"] == {"x": "2"}
            server.delete("widgets", "a")
            until(db, lambda s: not s[pages])
    assert {each["reason"] for each in server.list("events")} == {"Written"}
    with pytest.raises(Refusal, match="not found"):
        server.get("widgets", "a")


def test_elections_and_views_of_own_writes(server: ApiServer):
    db = Database()
    source = kubernetes.resources(db, "cm", options=options(server))
    (maps,) = source.tables
    with kubernetes.writer("tests", options(server)) as writer, running(source):
        written = writer.apply(config_map("a", {"x": "1"}, namespace="default"))
        assert kubernetes.wait_seen(db, maps, written, timeout=SOON)
        assert ObjectKey("default", "default", "a") in db.snapshot()[maps]


# -- what users touch ----------------------------------------------------------------------------------------------


def test_a_kubeconfig_for_other_clients_and_discovery_in_both_forms(server: ApiServer, tmp_path: Any):
    file = server.write_kubeconfig(tmp_path / "config")
    db = Database()
    source = kubernetes.resources(db, "deploy", options=KubernetesOptions(kubeconfig=file))
    with running(source):
        assert db.wait_initialized(*source.tables, timeout=SOON)

    def get(path: str) -> Any:
        with urlopen(f"{server.url}{path}") as answer:
            return json.loads(answer.read())

    assert get("/version")["gitVersion"].startswith("v1.")
    assert get("/api") == {"kind": "APIVersions", "versions": ["v1"]}
    assert "apps" in [group["name"] for group in get("/apis")["groups"]]
    names = [each["name"] for each in get("/apis/apps/v1")["resources"]]
    assert names[:2] == ["deployments", "deployments/status"]


def test_objects_outlive_a_stop_and_the_port_stays(server: ApiServer):
    server.create(config_map("a"))
    url = server.url
    server.stop()
    server.stop()
    server.start()
    server.start()
    assert server.url == url
    assert [each["metadata"]["name"] for each in server.list("configmaps")] == ["a"]


def test_what_is_not_served_says_so(server: ApiServer):
    with pytest.raises(Refusal, match=r"Widget of example\.org/v1 is not served") as refused:
        server.create({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "a"}})
    assert refused.value.status == 404
