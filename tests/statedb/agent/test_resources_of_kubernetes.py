"""Any resource of an API server by configuration: the agent serves it like every table."""

from __future__ import annotations

from pathlib import Path

import pytest

from statedb.agent import Agent, ConfigError
from statedb.agent.client.remote import Remote
from statedb.agent.process.config import parse_config
from statedb.catalog import ObjectKey

from ...apiserver.server import ApiServer
from ...ingest.kubernetes.informing import state, until


def config(resources: str, more: str = "", kubeconfig: Path | str = "nowhere") -> str:
    text = f"ingest: {{kubernetes: {{kubeconfig: '{kubeconfig}', resources: {resources}{more}}}}}"
    return f"{text}\nhttp: {{listen: '127.0.0.1:0'}}"


def test_resources_are_served_like_any_table(apiserver: ApiServer):
    name = "served-by-an-agent"
    labels = {"app": "served"}
    settings = {"metadata": {"name": name, "labels": labels}, "data": {"password": "x", "user": "y"}}
    path = "/api/v1/namespaces/default/configmaps"
    apiserver.rest().create(path, settings)
    resources = (
        "[deploy.apps, {resource: cm, table: maps, namespaces: [default], labels: app=served, drop: [data.password]}]"
    )
    with Agent(parse_config(config(resources, kubeconfig=apiserver.kubeconfig()))) as agent:
        assert agent.wait_synced(40)
        remote = Remote(agent.address)
        (entry,) = remote.table("maps").list("by_label", "app=served")
        assert entry.row["key"] == {"cluster": "default", "namespace": "default", "name": name}
        assert entry.row["rest"] == '{"data":{"user":"y"}}'
        assert remote.table("deploy").rows() == ()
        (maps,) = [table for table in agent.db.tables if table.name == "maps"]
        typed = remote.table(maps).get("default", "default", name)
        assert typed is not None
        assert typed.row == agent.db.snapshot()[maps][ObjectKey("default", "default", name)]
        until(agent.db, lambda s: state(s, "maps").state == state(s, "deploy").state == "synced")
        states = {row.row["key"]["table"]: row.row["state"] for row in remote.table("sources").rows()}
        assert (states["maps"], states["deploy"], states["nodes"]) == ("synced", "synced", "absent")
    apiserver.rest().delete(f"{path}/{name}")


def test_resources_beside_tables_of_the_catalog():
    found = parse_config(config("[pods]", ", tables: [nodes]")).ingest[0].tables
    assert found == ("nodes", "pods")
    assert parse_config(config("[pods]")).ingest[0].tables == ("pods",)


@pytest.mark.parametrize(
    ("resources", "problem"),
    [
        ("[nodes]", "ingest.kubernetes.resources: the catalog has a table 'nodes' already"),
        ("[pods, pods.v1]", "resources: pods and pods.v1 both fill table 'pods'"),
        ("[{resource: pods, index: {node name: spec.nodeName}}]", "cannot be the name of an index"),
        ("[{resource: pods, namespace: shop}]", "ingest.kubernetes.resources[0]: unknown field 'namespace'"),
        ("[{resource: pods, only: names}]", "ingest.kubernetes.resources[0].only: Invalid enum value 'names'"),
        ("[]", "ingest.kubernetes.resources: the list is empty"),
        ("[{resource: a-resource-with-a-name-that-is-too-long}]", "name another one by the option table"),
    ],
)
def test_mistakes_are_told_before_anything_starts(resources: str, problem: str):
    with pytest.raises(ConfigError) as caught:
        parse_config(config(resources))
    assert any(each.startswith("ingest.kubernetes") and problem in each for each in caught.value.problems), (
        caught.value.problems
    )
