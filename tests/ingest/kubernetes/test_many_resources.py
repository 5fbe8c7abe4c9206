"""Many resources of one server: a few threads follow them all, and none waits for another one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from ingest import KubernetesOptions, kubernetes
from ingest.kubernetes import ResourceOptions
from ingest.kubernetes.follow import Follower
from ingest.kubernetes.session import KubernetesSource
from statedb import Database
from statedb.catalog import Endpoints, Identities, Namespaces, Nodes, Policies
from statedb.testing.kubernetes import ApiServer

from ..kube_fake import PATHS, FakeApi
from ..kube_rig import KubeRig, cep, identity, namespace, node, policy
from .informing import running, state, until

BAD = ("CiliumNode", "CiliumIdentity", "CiliumEndpoint", "Service", "EndpointSlice")
"""The first resources of a source: more than the requests that are usually made at a time."""

GOOD = ("namespaces", "policies")
SERVER_THREADS = "process_request_thread"
"""In the names of the threads of the test's server, which has one for each connection."""


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as fake:
        yield fake


def threads_while_following(server: ApiServer, namespaces: list[str]) -> int:
    """How many threads there are when all watches are open, and follow what happens."""
    db = Database()
    chosen = ResourceOptions(resource="configmaps", table="maps", namespaces=tuple(namespaces))
    options = KubernetesOptions(server=server.url, retry_min_s=0.02)
    source = kubernetes.resources(db, chosen, options=options)
    (maps,) = source.tables
    with running(source):
        until(db, lambda s: state(s, "maps").state == "synced")
        for thread in threading.enumerate():
            if thread.name.endswith("requests"):
                thread.join(60)  # they end, because there is nothing to request
        count = len([thread for thread in threading.enumerate() if SERVER_THREADS not in thread.name])
        for name in namespaces:
            server.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": name}})
        until(db, lambda s: len(s[maps]) == len(namespaces))
        for name in namespaces:
            server.delete("configmaps", "m", namespace=name)
        until(db, lambda s: not s[maps])
    return count


def test_fifty_resources_need_at_most_four_threads_more_than_one():
    names = [f"shop-{number}" for number in range(50)]
    with ApiServer() as server:
        for name in names:
            server.create(namespace(name))
        one = threads_while_following(server, names[:1])
        assert threads_while_following(server, names) <= one + 4


def test_lists_that_hang_stop_no_other_resource(api: FakeApi):
    api.hold(*[("list", PATHS[kind]) for kind in BAD])
    with KubeRig(api.url, request_timeout_s=600.0) as rig:
        rig.until(lambda s: all(rig.of(table, s).state == "synced" for table in GOOD))
        assert rig.of("nodes").state == "connecting"
        api.put(namespace("shop"))
        rig.until(lambda s: len(s[Namespaces]) == 1)
        api.hold()
        rig.synced()


def test_watches_that_hang_stop_no_other_resource(api: FakeApi):
    with KubeRig(api.url, request_timeout_s=600.0) as rig:
        rig.synced()
        api.hold(*[("watch", PATHS[kind]) for kind in BAD])
        api.end_watches()
        rig.until(lambda s: rig.of("nodes", s).state == "stale")
        api.end_watches()
        api.put(policy("web"))
        api.put(namespace("shop"))
        rig.until(lambda s: len(s[Policies]) == len(s[Namespaces]) == 1)
        api.hold()
        rig.synced()


@pytest.mark.parametrize("part", ["line", "chunk"])
def test_a_part_of_an_event_stops_no_other_resource(api: FakeApi, part: str):
    with KubeRig(api.url) as rig:
        rig.synced()
        if part == "line":
            api.begin_line = b'{"type":"ADDED","object":{"metadata":{"na'
        else:
            api.begin_chunk = b"1f"
        api.put(cep("10.0.0.1"))
        rig.until(lambda s: len(s[Endpoints]) == 1)
        api.begin_line = api.begin_chunk = b""
        for number in range(100):
            api.put(node(f"node-{number}"))
            api.put(identity(70_000 + number))
        rig.until(lambda s: len(s[Nodes]) == len(s[Identities]) == 100)
        assert rig.of("endpoints").state == "synced"
        api.put(cep("10.0.0.2"))  # it does not continue what has begun, so that watch is broken
        rig.until(lambda s: len(s[Endpoints]) == 2)
        rig.synced()


def test_a_source_stops_while_everything_hangs(api: FakeApi):
    api.hold(*[("list", PATHS[kind]) for kind in BAD])
    with KubeRig(api.url, request_timeout_s=600.0) as rig:
        rig.until(lambda s: all(rig.of(table, s).state == "synced" for table in GOOD))
        rig.source.stop()
        assert rig.source.join(60)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("kubernetes ")]


@pytest.mark.parametrize("step", ["connect", "read"])
def test_an_unexpected_error_with_one_resource_ends_the_source_and_is_told(
    api: FakeApi, step: str, monkeypatch: pytest.MonkeyPatch
):
    api.put(cep("10.0.0.1"))
    with pytest.raises(AssertionError, match="the source has ended") as ended, KubeRig(api.url) as rig:
        rig.synced()

        def broken(*_: object) -> None:
            raise RuntimeError("a mistake of ours")

        monkeypatch.setattr(Follower, step, broken)
        api.end_watches()
        api.put(cep("10.0.0.2"))
        rig.until(lambda s: rig.row(s).state == "failed" and "a mistake of ours" in rig.row(s).last_error)
        assert rig.source.join(60)
    assert isinstance(ended.value.__cause__, RuntimeError)


def test_a_change_does_not_make_the_source_look_at_all_states(monkeypatch: pytest.MonkeyPatch):
    done = list[str]()
    gather, settle = KubernetesSource._gather, KubernetesSource._settle

    def gathered(source: KubernetesSource) -> bool:
        settles = gather(source)
        done.append("other" if settles else "changes")
        return settles

    def settled(source: KubernetesSource) -> None:
        done.append("settled")
        settle(source)

    monkeypatch.setattr(KubernetesSource, "_gather", gathered)
    monkeypatch.setattr(KubernetesSource, "_settle", settled)
    with ApiServer() as server:
        db = Database()
        source = kubernetes.resources(db, "configmaps", options=KubernetesOptions(server=server.url))
        (maps,) = source.tables
        assert isinstance(source, KubernetesSource)
        source._clock = lambda: 0.0  # no state is looked at because of the time
        with running(source):
            until(db, lambda s: state(s, "configmaps").state == "synced")
            for number in range(20):
                server.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m-{number}"}})
                until(db, lambda s, count=number + 1: len(s[maps]) == count)
    assert done.count("changes") >= 20
    assert ("changes", "settled") not in itertools.pairwise(done)
