"""From an API server through an etcd into another agent, by configuration at both ends: the same rows."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ingest.etcd.local import LocalEtcd
from statedb import Database, Snapshot
from statedb.agent import Agent, ConfigError, StartError
from statedb.agent.client.remote import Remote
from statedb.agent.process.config import parse_config
from statedb.catalog import SourceKey, Sources, kinds
from statedb.testing.kubernetes import ApiServer

from ...apiserver.server import ApiServer as RealApiServer
from ...ingest.kubernetes.informing import new_namespace, pod, until
from ...waiting import eventually
from .conftest import ROOT

HTTP = "http: {listen: '127.0.0.1:0'}"
RESOURCES = "resources: [pods, {resource: deployments.apps, index: {replicas: spec.replicas}}]"
IN_NAMESPACE = (
    "resources: [{{resource: pods, namespaces: [{0}]}}, "
    "{{resource: deployments.apps, namespaces: [{0}], index: {{replicas: spec.replicas}}}}]"
)
READ = "[pods, {table: deployments, index: [replicas]}]"


@pytest.fixture
def etcd() -> Iterator[LocalEtcd]:
    with LocalEtcd() as server:
        server.start()
        yield server


def publishing(etcd: LocalEtcd, kubernetes: str) -> Agent:
    target = f"etcd: {{endpoints: ['{etcd.endpoint}']}}, retry-min-s: 0.02, heartbeat-s: 0.2"
    return Agent(
        parse_config(
            f"ingest: {{kubernetes: {{{kubernetes}}}}}\n"
            f"consumers: [publish: {{tables: [pods, deployments], {target}}}]\n{HTTP}"
        )
    )


def reading(etcd: LocalEtcd, tables: str = READ) -> Agent:
    options = f"endpoints: ['{etcd.endpoint}'], retry-min-s: 0.02, retry-max-s: 0.2"
    return Agent(parse_config(f"ingest: {{etcd: {{tables: {tables}, {options}}}}}\n{HTTP}"))


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def names(db: Database, table: str) -> set[str]:
    return {row.key.name for row in db.snapshot()[db.table(table)].values()}


def equal(first: Agent, second: Agent, *tables: str) -> None:
    """Wait until the tables of both hold the same rows."""

    def same(_: Snapshot) -> bool:
        return all(rows(first.db, name) == rows(second.db, name) for name in tables)

    until(second.db, same)


def rows(db: Database, table: str) -> dict[Any, Any]:
    return dict(db.snapshot()[db.table(table)])


def synced(agent: Agent, *tables: str) -> None:
    def holds(snapshot: Snapshot) -> bool:
        found = [snapshot[Sources].get(SourceKey("default", name)) for name in tables]
        return all(row is not None and row.state == "synced" for row in found)

    until(agent.db, holds)


def fan_out(etcd: LocalEtcd, kubernetes: str, create: Callable[..., None], remove: Callable[[str], None]) -> None:
    create("pods", pod("web-1", "node-1"))
    create("deployments", deployment("web"))
    with reading(etcd) as reader:
        with publishing(etcd, kubernetes) as writer:
            assert reader.wait_synced(40)
            assert {"web-1"} <= names(reader.db, "pods")
            pods, deployments = reader.db.table("pods"), reader.db.table("deployments")
            snapshot = reader.db.snapshot()
            assert [row.key.name for row in snapshot[pods.by_node]["node-1"]] == ["web-1"]
            assert "web" in [row.key.name for row in snapshot[deployments.by_replicas]["2"]]
            create("pods", pod("web-2", "node-2"))
            remove("web-1")
            until(reader.db, lambda _: names(reader.db, "pods") & {"web-1", "web-2"} == {"web-2"})
            equal(writer, reader, "pods", "deployments")
            published(writer)
        end_of_leases(etcd)
        until(
            reader.db,
            lambda s: "waiting for tables/.synced/pods" in s[Sources][SourceKey("default", "pods")].last_error,
        )
        assert "web-2" in names(reader.db, "pods")
        with publishing(etcd, kubernetes) as writer:
            assert writer.wait_synced(40)
            synced(reader, "pods", "deployments")
            equal(writer, reader, "pods", "deployments")


def published(agent: Agent) -> None:
    """All is written, and the agent says so in each place."""
    remote = Remote(agent.address)

    def told() -> dict[str, Any]:
        (consumer,) = remote.json("/consumers")["consumers"]
        return consumer

    eventually(lambda: told()["health"] == "OK")
    assert (told()["consumer"], told()["ready"], told()["reads"]) == ("publish", True, ["pods", "deployments"])
    assert remote.probe("/readyz")["status"] == "ready"
    keys = next(line for line in metrics(agent).splitlines() if line.startswith("statedb_writer_keys{"))
    assert float(keys.split()[-1]) == len(rows(agent.db, "pods")) + len(rows(agent.db, "deployments")) + 4


def end_of_leases(etcd: LocalEtcd) -> None:
    with etcd.client() as client:
        for lease in {kv.lease for page in client.list(b"tables/") for kv in page.kvs}:
            client.revoke(lease)


def metrics(agent: Agent) -> str:
    with urllib.request.urlopen(f"{agent.address}/metrics", timeout=30) as answer:
        return answer.read().decode()


def test_by_configuration_from_a_server_of_the_tests(etcd: LocalEtcd):
    with ApiServer() as api:
        fan_out(
            etcd,
            f"server: '{api.url}', {RESOURCES}",
            lambda _, value: api.create(value),
            lambda name: api.delete("pods", name),
        )


@pytest.mark.apiserver
def test_by_configuration_from_a_real_server(etcd: LocalEtcd, apiserver: RealApiServer):
    rest = apiserver.rest()
    namespace = new_namespace(apiserver)
    at = {"pods": f"/api/v1/namespaces/{namespace}/pods"}
    at["deployments"] = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    try:
        fan_out(
            etcd,
            f"kubeconfig: '{apiserver.kubeconfig()}', {IN_NAMESPACE.format(namespace)}",
            lambda plural, value: rest.create(at[plural], value),
            lambda name: rest.delete(f"{at['pods']}/{name}?gracePeriodSeconds=0"),
        )
    finally:
        rest.delete(f"{at['deployments']}/web")  # other tests of this server look at all of them


CATALOG = ("nodes", "identities", "endpoints", "services", "backends", "namespaces", "policies")


def test_tables_of_the_catalog_have_their_own_types(etcd: LocalEtcd):
    tables = f"[{', '.join(CATALOG)}]"
    where = f"endpoints: ['{etcd.endpoint}']"
    cluster = "cluster: {name: c1, id: 1}"
    first = parse_config(
        f"{cluster}\ningest: {{manifests: {{directory: '{ROOT / 'examples' / 'cluster'}'}}}}\n"
        f"consumers: [publish: {{tables: {tables}, prefix: mine/, etcd: {{{where}}}}}, ipcache]\n{HTTP}"
    )
    second = parse_config(
        f"{cluster}\ningest: {{etcd: {{tables: {tables}, prefix: mine/, {where}}}}}\nconsumers: [ipcache]\n{HTTP}"
    )
    assert second.ingest[0].tables == CATALOG
    with Agent(first) as writer, Agent(second) as reader:
        assert reader.wait_synced(40)
        equal(writer, reader, *CATALOG, "ipcache")
        assert rows(reader.db, "nodes")


def test_typed_rows_are_published_and_read(etcd: LocalEtcd):
    where = f"endpoints: ['{etcd.endpoint}']"
    with ApiServer() as server:
        server.create(
            {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}, "spec": {"podCIDRs": ["10.0.0.0/8"]}}
        )
        resources = "[{resource: nodes, typed: true, table: kube-nodes}]"
        first = parse_config(
            f"ingest: {{kubernetes: {{server: '{server.url}', resources: {resources}}}}}\n"
            f"consumers: [publish: {{tables: [kube-nodes], prefix: typed/, etcd: {{{where}}}}}]\n{HTTP}"
        )
        second = parse_config(
            f"ingest: {{etcd: {{tables: [{{table: kube-nodes, rows-of: nodes}}], prefix: typed/, {where}}}}}\n{HTTP}"
        )
        with Agent(first) as writer, Agent(second) as reader:
            assert reader.wait_synced(40)
            equal(writer, reader, "kube-nodes")
            (row,) = rows(reader.db, "kube-nodes").values()
            assert isinstance(row, kinds.Node)
            assert row.spec.pod_cidrs == ("10.0.0.0/8",)
            (told,) = Remote(reader.address).table("kube-nodes").rows()
            assert told.row["spec"]["podCIDRs"] == ["10.0.0.0/8"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "consumers: [publish: {tables: [pods, deploy], etcd: {endpoints: ['http://e:1']}}]",
            "consumers[0]: 'publish' needs the table deploy, which no source fills; there are deployments, pods",
        ),
        ("consumers: [publish: {tables: [], etcd: {endpoints: ['http://e:1']}}]", "consumers[0].publish.tables: "),
        (
            "consumers: [publish: {etcd: {endpoints: ['http://e:1']}}]",
            "consumers[0].publish.tables: is missing; add it",
        ),
        (
            "consumers: [publish: {tables: [pods], etcd: {endpoints: ['http://u:p@e:1']}}]",
            "consumers[0].publish.etcd.endpoints[0]: an address must not contain a user; use username and password-",
        ),
    ],
)
def test_mistakes_of_the_publishing_end(text: str, problem: str):
    with pytest.raises(ConfigError) as caught:
        parse_config(f"ingest: {{kubernetes: {{server: 'http://k:1', {RESOURCES}}}}}\n{text}")
    (told,) = caught.value.problems
    assert told.startswith(problem)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("tables: []", "ingest.etcd.tables: "),
        ("tables: [pods, pods]", "ingest.etcd: tables: pods is named twice; name it once"),
        ("tables: [sources]", "ingest.etcd: tables: 'sources' is a table of the agent's own; nobody publishes it"),
        ("tables: [Pods]", "ingest.etcd: tables: Pods: table name 'Pods'"),
        ("tables: [{table: nodes, index: [zone]}]", "ingest.etcd: tables: nodes: a table of the catalog has its own"),
        ("tables: [{table: pods, index: [label]}]", "ingest.etcd: tables: pods: index: 'label' cannot be the name"),
        ("tables: [{table: w, rows-of: widgets}]", "ingest.etcd: tables: w: rows-of: widgets has no typed rows; those"),
        ("tables: [{table: pods, rows-of: po, index: [zone]}]", "ingest.etcd: tables: pods: typed rows have indexes"),
        ("tables: [{table: nodes, rows-of: nodes}]", "ingest.etcd: tables: the catalog has a table 'nodes' already"),
        ("tables: [{tabel: pods}]", "ingest.etcd.tables[0]: unknown field 'tabel'"),
        ("tables: [pods], prefix: mine", "ingest.etcd: prefix: 'mine' must end with a slash"),
        ("endpoint: x, tables: [pods]", "ingest.etcd.endpoint: unknown field"),
    ],
)
def test_mistakes_of_the_reading_end(options: str, problem: str):
    with pytest.raises(ConfigError) as caught:
        parse_config(f"ingest: {{etcd: {{endpoints: ['http://e:1'], {options}}}}}")
    assert any(each.startswith(problem) for each in caught.value.problems), caught.value.problems


def test_a_table_has_one_source():
    kubernetes = "kubernetes: {server: 'http://k:1', resources: [pods]}"
    with pytest.raises(ConfigError, match="backends 'kubernetes' and 'etcd' both claim table pods"):
        parse_config(f"ingest: {{{kubernetes}, etcd: {{endpoints: ['http://e:1'], tables: [pods]}}}}")
    with pytest.raises(ConfigError, match="consumer 'ipcache' has a table 'ipcache' already"):
        parse_config(
            "ingest: {kubernetes: {server: 'http://k:1', tables: [nodes, endpoints], "
            "resources: [{resource: pods, table: ipcache}]}}\nconsumers: [ipcache]"
        )


def test_a_prefix_of_the_publishing_end_ends_with_a_slash():
    text = f"ingest: {{kubernetes: {{server: 'http://k:1', resources: [pods]}}}}\n{HTTP}\n"
    options = "{tables: [pods], prefix: mine, etcd: {endpoints: ['http://e:1']}}"
    with pytest.raises(StartError, match=r"consumers\.publish\.prefix: 'mine' must end with a slash"):
        Agent(parse_config(f"{text}consumers: [publish: {options}]"))


def test_the_configurations_of_the_page_are_good():
    page = (ROOT / "docs" / "how-to" / "fan-out.md").read_text()
    publisher, reader = map(parse_config, re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    assert reader.ingest[0].tables == publisher.consumers[0].options.tables == ("pods", "deployments")
