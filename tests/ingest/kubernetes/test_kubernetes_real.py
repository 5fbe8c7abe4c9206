"""The kubernetes backend on a real API server: every kind, and what happens to servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from statedb import Snapshot
from statedb.catalog import Backends, Endpoints, Identities, Namespaces, Nodes, Policies, Rejected, Services

from ...apiserver.server import READER, ApiServer
from ...tcp_proxy import TcpProxy
from ..kube_real import put, remove
from ..kube_rig import KubeRig, cep, ces, clusterwide, endpoint_slice, identity, node, policy, service
from ..kvstore_rig import Deletions

pytestmark = pytest.mark.apiserver


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as one:
        one.start()
        yield one


ONE_OF_EACH = (
    node("n1"),
    identity(70_000),
    cep("10.0.0.1"),
    service("web"),
    endpoint_slice("web-1", "web", ["10.0.0.1", "10.0.0.2"]),
    policy("p"),
    clusterwide("c"),
)


def put_one_of_each(server: ApiServer) -> None:
    for value in ONE_OF_EACH:
        put(server, value)


@pytest.mark.parametrize("streaming", [True, False])
def test_every_kind_fills_its_table_and_the_tables_follow(server: ApiServer, streaming: bool):
    put_one_of_each(server)
    with KubeRig(kubeconfig=str(server.kubeconfig()), streaming_lists=streaming, page_limit=2) as rig:
        snapshot = rig.synced()
        assert (("list", "ciliumnodes.cilium.io") in rig.source.requests) is not streaming
        assert not snapshot[Rejected]
        assert [row.key.name for row in snapshot[Nodes].values()] == ["n1"]
        assert [row.key.id for row in snapshot[Identities].values()] == [70_000]
        assert rig.endpoints(snapshot) == {"10.0.0.1": 70_000}
        assert [row.key.name for row in snapshot[Services].values()] == ["kubernetes", "web"]
        assert backends_of_web(snapshot) == ["10.0.0.1", "10.0.0.2"]
        assert {row.key.kind for row in snapshot[Policies].values()} == {
            "CiliumNetworkPolicy",
            "CiliumClusterwideNetworkPolicy",
        }
        assert "kube-system" in [row.key.name for row in snapshot[Namespaces].values()]
        put(server, cep("10.0.0.1", 80_000))
        put(server, endpoint_slice("web-1", "web", ["10.0.0.3"]))
        remove(server, service("web"))
        server.create_namespace("shop")
        rig.until(
            lambda s: (
                rig.endpoints(s) == {"10.0.0.1": 80_000}
                and [key.name for key in s[Services]] == ["kubernetes"]
                and not backends_of_web(s)
                and len(s[Namespaces]) == len(snapshot[Namespaces]) + 1
            )
        )
        put(server, service("web"))
        rig.until(lambda s: backends_of_web(s) == ["10.0.0.3"])
        for value in ONE_OF_EACH:
            remove(server, value)
        rig.until(lambda s: not any(s[t] for t in (Nodes, Identities, Endpoints, Policies)) and not backends_of_web(s))


def backends_of_web(snapshot: Snapshot) -> list[str]:
    return [key.ip for key in snapshot[Backends] if key.service == "web"]


def test_an_endpoint_moves_between_slices(server: ApiServer):
    put(server, ces("a", ["10.0.0.1", "10.0.0.2"]))
    with KubeRig(kubeconfig=str(server.kubeconfig()), endpoint_slices=True) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        put(server, ces("b", ["10.0.0.2"]))
        put(server, ces("a", ["10.0.0.1"]))
        put(server, ces("c", ["10.0.0.3"]))
        rig.until(lambda s: rig.endpoints(s).keys() == {"10.0.0.1", "10.0.0.2", "10.0.0.3"})
        assert deletions.now() == set()
        remove(server, ces("b", []))
        rig.until(lambda s: rig.endpoints(s).keys() == {"10.0.0.1", "10.0.0.3"})


def test_killed_and_started_again_it_deletes_nothing_but_what_went(server: ApiServer):
    for number in range(20):
        put(server, cep(f"10.0.0.{number}"))
    with KubeRig(kubeconfig=str(server.kubeconfig()), page_limit=7) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        for round_ in range(3):
            server.kill()
            rig.until(lambda s: rig.state(s) == "stale")
            server.start()
            remove(server, cep(f"10.0.0.{round_}"))
            put(server, cep(f"10.0.1.{round_}"))
            rig.until(lambda s, n=round_: f"10.0.1.{n}" in rig.endpoints(s) and f"10.0.0.{n}" not in rig.endpoints(s))
        rig.synced()
        assert deletions.now() == {f"10.0.0.{number}" for number in range(3)}
        assert len(rig.db.snapshot()[Endpoints]) == 20


def test_what_went_while_we_were_cut_off_and_history_was_forgotten(server: ApiServer):
    with TcpProxy(server.url) as proxy:
        put(server, cep("10.0.0.1"))
        put(server, cep("10.0.0.2"))
        url = proxy.endpoint.replace("http://", "https://")
        with KubeRig(kubeconfig=str(server.kubeconfig(url=url))) as rig, Deletions(rig.db) as deletions:
            rig.synced()
            proxy.cut()
            rig.until(lambda s: rig.state(s) == "stale")
            remove(server, cep("10.0.0.1"))
            put(server, cep("10.0.0.3"))
            server.kill()
            server.compact()
            server.start()
            proxy.mend()
            rig.until(lambda s: rig.endpoints(s).keys() == {"10.0.0.2", "10.0.0.3"} and rig.state(s) == "synced")
            assert deletions.now() == {"10.0.0.1"}


def test_a_quiet_resource_is_synced_soon_after_a_cut(server: ApiServer):
    """Nothing happens to nodes; other objects are written, so that the newest version is not the one we know."""
    put(server, node("a"))
    with TcpProxy(server.url) as proxy:
        url = proxy.endpoint.replace("http://", "https://")
        with KubeRig(kubeconfig=str(server.kubeconfig(url=url)), tables=("nodes",)) as rig:
            rig.synced()
            proxy.cut()
            rig.until(lambda s: rig.of("nodes", s).state == "stale")
            server.create_namespace("meanwhile")
            proxy.mend()
            mended_at = time.monotonic()
            rig.until(lambda s: rig.of("nodes", s).state == "synced")
            assert time.monotonic() - mended_at < 30  # of the minute that an ordinary bookmark takes
            assert rig.of("nodes").relists <= 2  # the second where the bookmark comes too late, on a busy machine
    server.delete_namespace("meanwhile")


def test_started_again_empty_it_deletes_nothing_until_the_operator_accepts(server: ApiServer):
    put_one_of_each(server)
    with KubeRig(kubeconfig=str(server.kubeconfig())) as rig, Deletions(rig.db) as deletions:
        before = rig.synced()
        server.restart_empty()
        put(server, identity(80_000))
        rig.until(lambda s: len(s[Identities]) == 2)
        snapshot = rig.until(lambda s: rig.of("backends", s).withheld_deletes > 0 and "UID" in rig.row(s).last_error)
        for table in (Nodes, Endpoints, Services, Backends, Policies):
            assert list(snapshot[table].values()) == list(before[table].values())
        assert deletions.now() == set()
        rig.until(lambda s: all(rig.of(t.name, s).state in ("synced", "stale") for t in rig.source.tables))
        rig.source.accept()
        rig.until(
            lambda s: (
                not s[Endpoints]
                and [key.name for key in s[Services]] == ["kubernetes"]
                and not backends_of_web(s)
                and len(s[Identities]) == 1
            )
        )
        rig.synced()


def test_a_missing_crd_is_waited_for(server: ApiServer):
    server.remove_crd("ciliumnodes")
    with KubeRig(kubeconfig=str(server.kubeconfig())) as rig:
        rig.until(lambda s: rig.state(s) == "synced" and "not served" in rig.of("nodes", s).last_error)
        server.install_crds("ciliumnodes")
        put(server, node("n1"))
        rig.until(lambda s: len(s[Nodes]) == 1)
        rig.synced()


def test_rights_are_what_the_documentation_says(server: ApiServer):
    with KubeRig(kubeconfig=str(server.kubeconfig(READER)), tables=("nodes", "identities")) as rig:
        rig.until(lambda s: all("may not" in rig.of(t, s).last_error for t in ("nodes", "identities")))
        assert rig.of("nodes").state == "failed"
        verbs = ["list", "watch"]
        server.grant(READER, [{"apiGroups": ["cilium.io"], "resources": ["ciliumnodes"], "verbs": verbs}])
        rig.until(lambda s: rig.of("nodes", s).state == "synced" and rig.of("identities", s).state == "failed")
        assert (
            "list ciliumidentities.cilium.io" in rig.of("identities").last_error
            or "watch" in rig.of("identities").last_error
        )


def test_the_rights_in_the_documentation_are_enough(server: ApiServer):
    text = (Path(__file__).parents[3] / "docs" / "kubernetes.md").read_text()
    role = yaml.safe_load(text.partition("## Rights")[2].split("```")[1].removeprefix("yaml"))
    server.grant(READER, role["rules"])
    put_one_of_each(server)
    for endpoint_slices in (False, True):
        with KubeRig(kubeconfig=str(server.kubeconfig(READER)), endpoint_slices=endpoint_slices) as rig:
            snapshot = rig.synced()
            assert len(snapshot[Policies]) == 2
            server.restart_empty()
            server.grant(READER, role["rules"])
            rig.until(lambda s: "kube-system had the UID" in rig.of("nodes", s).last_error)
        put_one_of_each(server)


def test_a_token_that_ends_is_told_and_its_successor_taken(server: ApiServer, tmp_path):
    token = tmp_path / "token"
    token.write_text("wrong")
    config = server.kubeconfig()
    right = next(line.split(":")[1].strip() for line in config.read_text().splitlines() if "token:" in line)
    with KubeRig(server.url, ca_file=str(server.ca), token_file=str(token), tables=("nodes",)) as rig:
        rig.until(lambda s: rig.of("nodes", s).state == "failed" and "credentials" in rig.of("nodes", s).last_error)
        token.write_text(right)
        rig.synced()
        assert right not in str(list(rig.db.snapshot()[Rejected].values()))


def test_lists_come_in_pages_where_the_store_cannot_stream():
    with ApiServer(old_etcd=True) as server:
        server.start()
        put_one_of_each(server)
        with KubeRig(kubeconfig=str(server.kubeconfig())) as rig:
            snapshot = rig.synced()
            assert len(snapshot[Policies]) == 2
            assert rig.endpoints(snapshot) == {"10.0.0.1": 70_000}


def test_a_frozen_server_is_noticed_and_stopping_does_not_wait_for_it(server: ApiServer):
    """One table: in a quiet cluster each is synced for a second only, so several may never be synced together."""
    one = {"tables": ("endpoints",), "silence_s": 1.0, "request_timeout_s": 1.0}
    with KubeRig(kubeconfig=str(server.kubeconfig()), **one) as rig:
        rig.synced()
        server.freeze()
        try:
            rig.until(lambda s: rig.state(s) == "stale")
        finally:
            rig.source.stop()
            ended = rig.source.join(2)
            server.thaw()
        assert ended
