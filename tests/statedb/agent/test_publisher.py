"""The offloaded mode of CFP-44774 by configuration: API server -> publisher -> etcd in ClusterMesh layout -> agents."""

from collections.abc import Iterator

import pytest

from ingest.etcd.local import LocalEtcd
from statedb import WatchSet
from statedb.agent.errors import ConfigError, StartError
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import Backends, EndpointKey, Endpoints, Identities, Nodes, Policies, Services

from ...ingest.clustermesh.publisher import replica
from ...ingest.kube_fake import FakeApi
from ...ingest.kube_rig import cep, endpoint_slice, identity, namespace, node, policy, service
from ...ingest.kvstore_rig import Deletions
from .conftest import WAIT_S

OFFLOADED = (Nodes, Identities, Endpoints, Services, Backends)
POLICIES = {"ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"}
HEAD = "cluster: {name: cluster1, id: 1}\nhttp: {listen: '127.0.0.1:0'}\n"


@pytest.fixture
def etcd() -> Iterator[LocalEtcd]:
    with replica() as server:
        server.start()
        yield server


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as server:
        for value in (namespace("default"), node("n1"), identity(70_000), cep("10.0.0.1"), cep("10.0.0.2")):
            server.put(value)
        for value in (service("web"), endpoint_slice("web-1", "web", ["10.0.0.1"]), policy("p")):
            server.put(value)
        yield server


def publishing(api: FakeApi, etcd: LocalEtcd) -> Agent:
    """A clustermesh-apiserver."""
    options = f"{{etcd: {{endpoints: ['{etcd.endpoint}']}}, heartbeat-s: 0.5}}"
    return Agent(
        parse_config(f"{HEAD}ingest: {{kubernetes: {{server: '{api.url}'}}}}\nconsumers: [publisher: {options}]")
    )


def reading(api: FakeApi, etcd: LocalEtcd) -> Agent:
    """An agent that reads nothing of the API server but the policies."""
    mesh = f"clustermesh: {{endpoints: ['{etcd.endpoint}'], retry-min-s: 0.02, retry-max-s: 0.1}}"
    policies = f"kubernetes: {{server: '{api.url}', tables: [policies]}}"
    return Agent(parse_config(f"{HEAD}ingest: {{{mesh}, {policies}}}\nconsumers: [ipcache, selectors]"))


def keys(agent: Agent) -> list[list[object]]:
    snapshot = agent.db.snapshot()
    return [list(snapshot[table].keys()) for table in OFFLOADED]


def until_equal(agent: Agent, other: Agent) -> None:
    while keys(agent) != keys(other):
        views = [each.db.snapshot()[table] for each in (agent, other) for table in OFFLOADED]
        watches = [view.watch() for view in views]
        if keys(agent) != keys(other):
            assert WatchSet(*watches).wait(WAIT_S), (keys(agent), keys(other))


def asked(api: FakeApi) -> set[str]:
    return {path.rpartition("/")[2] for verb, path in api.requests if verb in ("list", "watch")}


def test_an_agent_that_is_started_before_the_publisher_waits_and_asks_the_api_server_for_policies_only(
    api: FakeApi, etcd: LocalEtcd
):
    with reading(api, etcd) as agent:
        assert agent.db.wait_initialized(Policies, timeout=WAIT_S)
        assert not agent.wait_synced(0)
        assert asked(api) == POLICIES
        with publishing(api, etcd) as publisher:
            assert agent.wait_synced(WAIT_S)
            until_equal(agent, publisher)
            assert len(agent.db.snapshot()[Endpoints]) == 2
            offloaded = {
                path: most for path, most in api.most_watches.items() if path.rpartition("/")[2] not in POLICIES
            }
            assert len(offloaded) == 6  # nodes, identities, endpoints, services, slices, namespaces
            assert set(offloaded.values()) == {1}  # the publisher's


def test_while_the_publisher_is_restarted_under_churn_no_consumer_sees_a_false_delete(api: FakeApi, etcd: LocalEtcd):
    with reading(api, etcd) as agent, Deletions(agent.db) as deletions:
        with publishing(api, etcd) as publisher:
            assert agent.wait_synced(WAIT_S)
            until_equal(agent, publisher)
        for last in range(10, 60):
            api.put(cep(f"10.0.0.{last}"))
        api.remove(cep("10.0.0.2"))
        with publishing(api, etcd) as publisher:
            assert publisher.wait_synced(WAIT_S)
            until_equal(agent, publisher)
        assert EndpointKey("cluster1", "10.0.0.59") in agent.db.snapshot()[Endpoints]
        assert deletions.now() == {"10.0.0.2"}


@pytest.mark.parametrize(("cluster", "most"), [("{name: c}", 255), ("{name: c, id: 300}", 255), ("{name: c}", 511)])
def test_a_cluster_that_is_published_has_an_id_of_the_mesh(cluster: str, most: int):
    options = f"{{etcd: {{endpoints: ['http://127.0.0.1:1']}}, max-connected-clusters: {most}}}"
    text = f"cluster: {cluster}\ningest: {{manifests: {{directory: d}}}}\nconsumers: [publisher: {options}]"
    with pytest.raises(StartError, match=f"a published cluster needs one from 1 to {most}"), Agent(parse_config(text)):
        pass


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("consumers: [publisher]", "consumers[0].publisher.etcd: is missing"),
        (
            "consumers: [publisher: {etcd: {endpoints: ['http://u:p@e:1']}}]",
            "consumers[0].publisher.etcd.endpoints[0]: an address must not contain a user",
        ),
        ("consumers: [meshcache: {etcd: {endpoints: ['http://e:1']}}]", "consumers[0]: 'meshcache' is about remote"),
    ],
)
def test_each_mistake_has_its_line(text: str, told: str):
    with pytest.raises(ConfigError) as caught:
        parse_config("cluster: {name: c, id: 1}\ningest: {manifests: {directory: d}}\n" + text)
    (problem,) = caught.value.problems
    assert problem.startswith(told)
    assert "u:p" not in problem
