"""The five scenarios of CFP-44774 with the real publisher, and what else can become of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.cfp44774.probes import Metrics, difference
from consumers.tables.ipcache import lookup
from consumers.tables.selectors import Selections
from statedb.catalog import Backends, Endpoints, Identities, Nodes, Policies, Services

from ..apiserver.objects import identity
from ..apiserver.server import ApiServer
from ..ingest.kube_rig import endpoint_slice, node, policy, service
from ..tcp_proxy import TcpProxy
from ..waiting import eventually
from .mesh import Mesh, Reader, Replica

pytestmark = pytest.mark.apiserver

_RESOURCES = ("ciliumnodes", "ciliumidentities", "ciliumendpoints", "services", "endpointslices")


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as one:
        one.start()
        yield one


@pytest.fixture
def mesh(server: ApiServer, tmp_path: Path) -> Iterator[Mesh]:
    with Mesh(server, tmp_path) as mesh:
        mesh.put(node("n1"), identity("70000"), service("web"), policy("p"))
        mesh.put(endpoint_slice("web-1", "web", ["10.0.0.1"]))
        mesh.pods(*range(1, 11))
        yield mesh


@pytest.fixture
def replicas(mesh: Mesh) -> list[Replica]:
    """Two that know nothing of each other, ready."""
    both = [mesh.replica().start() for _ in range(2)]
    for each in both:
        each.wait_ready()
    return both


@pytest.fixture
def agents(mesh: Mesh, replicas: list[Replica]) -> list[Reader]:
    """Three, with their tables and consumers right."""
    readers = [mesh.agent(*[each.etcd.endpoint for each in replicas]) for _ in range(3)]
    for reader in readers:
        reader.converge()
    return readers


def converge(agents: list[Reader]) -> None:
    for agent in agents:
        agent.converge()


def watches(mesh: Mesh) -> dict[str, float]:
    return {name: count for name, count in Metrics(mesh.server).watches().items() if name in _RESOURCES}


def test_agents_have_all_and_ask_the_api_server_for_policies_only(mesh: Mesh):
    quiet = watches(mesh)  # the server watches itself
    replicas = [mesh.replica().start() for _ in range(2)]
    for each in replicas:
        each.wait_ready()
    agents = [mesh.agent(*[each.etcd.endpoint for each in replicas]) for _ in range(3)]
    converge(agents)
    for agent in agents:
        snapshot = agent.until(lambda s: bool(s[Policies]) and bool(s[Selections]), "the policy")
        assert {len(snapshot[table]) for table in (Nodes, Identities, Services, Backends)} == {1}
        entry = lookup(snapshot, "10.0.0.7")
        assert entry is not None
        assert entry.identity == 70_000
    assert difference(watches(mesh), quiet) == dict.fromkeys(_RESOURCES, 2.0)  # one of each publisher


def test_publisher_restart(mesh: Mesh, replicas: list[Replica], agents: list[Reader]):
    """Killed; the cluster changes meanwhile; their etcds stay, and the stale keys in them go after the first sync."""
    for each in replicas:
        each.kill_publisher()
    mesh.pods_go(1, 2)
    mesh.pods(3, 11, identity=70_001)
    for each in replicas:
        each.start_publisher()
    converge(agents)
    for each in replicas:
        each.wait_ready()
        eventually(lambda: "cilium/state/ip/v1/default/10.0.0.1" not in each.written(), "a stale key")  # noqa: B023


def test_etcd_restart_with_empty_state(mesh: Mesh, replicas: list[Replica], agents: list[Reader]):
    for each in replicas:
        each.etcd.kill()
    for agent in agents:
        agent.until(lambda s: agent.row(s).state == "stale", "stale")  # noqa: B023
        assert len(agent.db.snapshot()[Endpoints]) == 10
    mesh.pods_go(1)
    mesh.pods(11)
    for each in replicas:
        each.empty()
    converge(agents)


def test_agent_restart(mesh: Mesh, replicas: list[Replica], agents: list[Reader]):
    """A new one knows nothing, and has everything when its tables are said to be initialized."""
    agents[0].stop()
    mesh.pods_go(1)
    mesh.pods(11)
    new = mesh.agent(*[each.etcd.endpoint for each in replicas])
    assert new.db.wait_initialized(Endpoints, timeout=60)
    assert len(new.db.snapshot()[Endpoints]) in (10, 11)  # a publisher may be a moment behind the API server
    converge([new, *agents[1:]])


def test_rolling_restart_of_replicas(mesh: Mesh, replicas: list[Replica], agents: list[Reader]):
    """Each pod in its turn, with an empty etcd, while pods come and go; the next when the last one is ready."""
    for number, each in enumerate([*replicas, *replicas], start=1):
        each.restart()
        mesh.pods_go(number)
        mesh.pods(10 + number)
        each.wait_ready()
    converge(agents)


def test_scale_up_of_replicas(mesh: Mesh):
    """One more behind the address that agents have, and connections come to it before it is filled."""
    first = mesh.replica().start()
    first.wait_ready()
    proxy = mesh.resources.enter_context(TcpProxy(first.etcd.endpoint))
    agents = [mesh.agent(proxy.endpoint) for _ in range(2)]
    converge(agents)
    added = mesh.replica()
    added.etcd.start()
    proxy.turn(added.etcd.endpoint)
    for agent in agents:
        agent.until(lambda s: "waiting for" in agent.row(s).last_error, "waiting for its publisher")  # noqa: B023
        assert len(agent.db.snapshot()[Endpoints]) == 10
    mesh.pods_go(1)
    added.start_publisher()
    converge(agents)


def test_agents_that_are_started_before_a_publisher_exists_wait_and_say_so(mesh: Mesh):
    replica = mesh.replica()
    early = mesh.agent(replica.etcd.endpoint)
    early.until(lambda s: early.row(s).state == "connecting" and early.row(s).last_error != "", "nobody there")
    replica.etcd.start()
    early.until(lambda s: "waiting for cilium/cluster-config" in early.row(s).last_error, "waiting for its publisher")
    assert not early.db.snapshot()[Endpoints].initialized
    replica.start_publisher()
    early.converge()


@pytest.mark.timeout(180)
def test_a_publisher_that_is_away_for_longer_than_its_leases_last_takes_nothing_with_it(
    server: ApiServer, tmp_path: Path
):
    """Its keys expire, the rows stay; what went meanwhile goes when it is back.

    Readers must know of its silence before the leases end, as they do with the defaults (120 s of 900).
    """
    publishing, reading = "heartbeat-s: 0.5, lease-time-s: 6", "heartbeat-timeout-s: 2"
    with Mesh(server, tmp_path, publishing=publishing, reading=reading) as mesh:
        mesh.pods(*range(1, 11))
        replica = mesh.replica().start()
        replica.wait_ready()
        agent = mesh.agent(replica.etcd.endpoint)
        agent.converge()
        replica.kill_publisher()
        mesh.pods_go(1)
        eventually(lambda: not any("/ip/" in key for key in replica.written()), "the end of the leases")
        agent.until(lambda s: agent.row(s).state == "stale", "stale")
        assert len(agent.db.snapshot()[Endpoints]) == 10
        agent.require_no_false_delete()
        assert not agent.deletions.now()
        replica.start_publisher()
        agent.converge()
        assert agent.deletions.now() == {"10.0.0.1"}


@pytest.mark.parametrize("away_s", [2.0, pytest.param(60.0, marks=[pytest.mark.stress, pytest.mark.timeout(300)])])
def test_a_publisher_is_killed_under_churn_and_started_again(
    mesh: Mesh, replicas: list[Replica], agents: list[Reader], away_s: float
):
    """The longer form prints what its return costs the API server."""
    last = 0

    def churn(seconds: float) -> None:
        nonlocal last
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            last += 1
            mesh.pods(100 + last)
            if last > 20:
                mesh.pods_go(80 + last)

    for each in replicas:
        each.kill_publisher()
    churn(away_s)
    before = Metrics(mesh.server)
    for each in replicas:
        each.start_publisher()
    for each in replicas:
        each.wait_ready()
    churn(1.0)
    converge(agents)

    def lists() -> dict[str, float]:
        told = difference(_streamed_lists(Metrics(mesh.server)), _streamed_lists(before))
        return {name: told.get(name, 0.0) for name in _RESOURCES}

    # What a publisher wrote before it was killed is still there when it has only begun to list.
    eventually(lambda: min(lists().values()) >= 2, "a list of each publisher")
    assert lists() == dict.fromkeys(_RESOURCES, 2.0)
    after = Metrics(mesh.server)
    cpu_s = after.cpu_s() - before.cpu_s()
    events = sum(difference(after.events(), before.events()).values())
    print(f"\naway {away_s:g} s, {last} pods came: lists {lists()}, {events:.0f} events, {cpu_s:.2f} s of CPU")


def _streamed_lists(metrics: Metrics) -> dict[str, float]:
    return metrics.total("apiserver_watch_list_duration_seconds_count", "resource")
