"""Consumers by configuration: what they derive is shown as any table; one without a source is refused."""

# ruff: noqa: E501 - the lines are quoted as they are printed

from pathlib import Path

import pytest

from consumers.tables.ipcache import HOST, IPCache
from consumers.tables.routes import Routes
from statedb.agent.cli.local_commands import check
from statedb.agent.errors import ConfigError
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import NodeKey

from .conftest import config_text, node, put
from .test_http import request

WAIT_S = 60.0
MANIFESTS = "ingest: {manifests: {directory: d}}\n"
KVSTORE = "ingest: {kvstore: {endpoints: ['http://e:1']}}\n"


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "/etc/statedb")
    return caught.value.problems


def test_consumers_are_names_or_names_with_options():
    config = parse_config(MANIFESTS + "consumers: [routes, {ipcache: {local-node: n1}}, selectors: , loadbalancer: {}]")
    assert [each.kind for each in config.consumers] == ["routes", "ipcache", "selectors", "loadbalancer"]
    assert config.consumers[1].options.local_node == "n1"
    assert parse_config(MANIFESTS).consumers == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("consumers: ipcache", "consumers: must be a list of ipcache, routes, loadbalancer, selectors"),
        ("consumers: [routs]", "consumers[0]: unknown consumer; did you mean 'routes'? known are ipcache, routes"),
        ("consumers: [routes, routes]", "consumers[1]: 'routes' is named twice; name it once"),
        ("consumers: [1]", "consumers[0]: must be a name, or one name with its options"),
        ("consumers: [{routes: {}, ipcache: {}}]", "consumers[0]: must be a name, or one name with its options"),
        ("consumers: [ipcache: {local-nod: x}]", "consumers[0].ipcache.local-nod: unknown field; did you mean"),
        ("consumers: [ipcache: {local-node: 1}]", "consumers[0].ipcache.local-node: must be text, not a whole number"),
    ],
)
def test_each_mistake_has_its_line(text: str, told: str):
    (problem,) = problems(MANIFESTS + text)
    assert problem.startswith(told)


def test_a_consumer_of_a_table_that_no_source_fills_is_refused():
    assert problems(KVSTORE + "consumers: [selectors]") == (
        "consumers[0]: 'selectors' needs the table policies, which no source fills; under 'ingest' add manifests: {tables: [policies]} (or kubernetes, etcd), or remove the consumer",
    )
    parse_config(
        "ingest: {kvstore: {endpoints: ['http://e:1']}, kubernetes: {tables: [policies]}}\nconsumers: [selectors]"
    )


def test_an_agent_runs_them_and_shows_what_they_derive(manifests: Path):
    put(manifests, "all.yaml", node("a", 1), node("b", 2))
    text = config_text(manifests) + "consumers: [routes, ipcache: {local-node: a}, selectors, loadbalancer]\n"
    with Agent(parse_config(text)) as agent:
        assert agent.db.wait_initialized(Routes, IPCache, timeout=WAIT_S)
        assert agent.db.snapshot()[Routes]["10.244.2.0/24"].node == NodeKey("c1", "b")
        _, answer = request(agent, "/tables/ipcache?index=by_network&key=172.18.0.1")
        assert [row["identity"] for row in answer["rows"]] == [HOST]
        wait_ready(agent)
        _, answer = request(agent, "/consumers")
        assert answer["consumers"] == [
            {
                "consumer": name,
                "ready": True,
                "queue": 0,
                "set_aside": 0,
                "health": "OK",
                "reads": reads,
                "fills": fills,
            }
            for name, reads, fills in (
                ("routes", ["nodes"], ["routes"]),
                ("ipcache", ["nodes", "endpoints"], ["ipcache"]),
                ("selectors", ["identities", "policies"], ["selector-uses", "selections"]),
                ("loadbalancer", ["services", "backends"], ["loadbalancer"]),
            )
        ]
        put(manifests, "all.yaml", node("a", 1))
        while "10.244.2.0/24" in (snapshot := agent.db.snapshot())[Routes]:
            assert snapshot[Routes].watch().wait(WAIT_S)
    assert [each.health for each in agent.consumers] == ["ended"] * 4


def test_readiness_waits_for_consumers_and_a_crashed_one_is_no_health(manifests: Path):
    with Agent(parse_config(config_text(manifests) + "consumers: [routes]\n")) as agent:
        wait_ready(agent)
        (routes,) = agent.consumers
        routes.stop()
        assert routes.join(WAIT_S)
        (part,) = routes._parts  # type: ignore[attr-defined]
        part.crash = ValueError("as if by a bug")
        assert request(agent, "/healthz") == (
            503,
            {"status": "failed", "error": "consumer routes ended: ValueError('as if by a bug')"},
        )


def test_until_tables_are_there_consumers_are_not_ready(tmp_path: Path):
    with Agent(parse_config(config_text(tmp_path / "away") + "consumers: [routes]\n")) as agent:
        status, answer = request(agent, "/readyz")
        assert status == 503
        assert {"consumer": "routes", "state": "waiting until initialized: nodes"} in answer["missing"]


def test_check_says_who_reads_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "agent.yaml"
    path.write_text(config_text(tmp_path) + "consumers: [routes]\n")
    check(str(path))
    assert "routes        nodes" in capsys.readouterr().out


def wait_ready(agent: Agent) -> None:
    """Consumers have an event each, in the tables: look whenever one of those is initialized."""
    tables = [part.target for each in agent.consumers for part in each._parts]  # type: ignore[attr-defined]
    assert agent.db.wait_initialized(*tables, timeout=WAIT_S)
    assert request(agent, "/readyz") == (200, {"status": "ready", "stale": []})
