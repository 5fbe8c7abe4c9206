"""The kubernetes backend on a fake API server: what each table holds, and each fault of the protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ingest import InvalidOptions, OwnedElsewhere
from statedb.catalog import (
    Backends,
    EndpointKey,
    Endpoints,
    Identities,
    Namespaces,
    Nodes,
    Policies,
    Rejected,
    Services,
)

from ..kube_fake import PATHS, FakeApi
from ..kube_rig import KubeRig, cep, ces, clusterwide, endpoint_slice, identity, namespace, node, policy, service
from ..kvstore_rig import CLUSTER, Deletions

CEPS, NODES = PATHS["CiliumEndpoint"], PATHS["CiliumNode"]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as fake:
        yield fake


def put_one_of_each(api: FakeApi) -> None:
    for value in (
        node("n1"),
        identity(70_000),
        cep("10.0.0.1"),
        service("web"),
        endpoint_slice("web-1", "web", ["10.0.0.1", "10.0.0.2"]),
        namespace("shop"),
        policy("p"),
        clusterwide("c"),
    ):
        api.put(value)


def backends(rig: KubeRig, snapshot=None) -> list[str]:
    return [row.key.ip for row in (snapshot or rig.db.snapshot())[Backends].values()]


def test_every_kind_fills_its_table(api: FakeApi):
    put_one_of_each(api)
    with KubeRig(api.url) as rig:
        snapshot = rig.synced()
        assert [row.key.name for row in snapshot[Nodes].values()] == ["n1"]
        assert [row.labels for row in snapshot[Identities].values()] == [
            ("k8s:app=web", "k8s:io.kubernetes.pod.namespace=default")
        ]
        assert rig.endpoints(snapshot) == {"10.0.0.1": 70_000}
        assert [row.key.name for row in snapshot[Services].values()] == ["web"]
        assert backends(rig, snapshot) == ["10.0.0.1", "10.0.0.2"]
        assert [row.key.name for row in snapshot[Namespaces].values()] == ["shop"]
        assert [(row.key.kind, row.key.name) for row in snapshot[Policies].values()] == [
            ("CiliumClusterwideNetworkPolicy", "c"),
            ("CiliumNetworkPolicy", "p"),
        ]
        assert not snapshot[Rejected]
        assert all(snapshot[table].initialized for table in rig.source.tables)


def test_there_is_one_watch_for_each_resource_and_requests_are_counted(api: FakeApi):
    with KubeRig(api.url) as rig:
        rig.synced()
        paths = set(PATHS.values()) - {PATHS["CiliumEndpointSlice"]}
        assert {path: count for path, count in api.open_watches.items() if count} == dict.fromkeys(paths, 1)
        assert max(api.most_watches.values()) == 1
        assert rig.source.requests["list", "ciliumnodes.cilium.io"] == 2
        assert sum(rig.source.requests.values()) == sum(api.requests.values())


def test_the_tables_follow(api: FakeApi):
    with KubeRig(api.url) as rig:
        rig.synced()
        put_one_of_each(api)
        rig.until(lambda s: rig.endpoints(s) == {"10.0.0.1": 70_000} and len(s[Backends]) == 2)
        api.put(cep("10.0.0.1", 80_000))
        rig.until(lambda s: rig.endpoints(s) == {"10.0.0.1": 80_000})
        api.remove(cep("10.0.0.1"))
        api.remove(policy("p"))
        rig.until(lambda s: rig.endpoints(s) == {} and len(s[Policies]) == 1)


def test_slices_of_cilium_in_place_of_endpoints(api: FakeApi):
    api.put(cep("10.0.0.9"))
    api.put(ces("a", ["10.0.0.1", "10.0.0.2"]))
    with KubeRig(api.url, endpoint_slices=True) as rig, Deletions(rig.db) as deletions:
        assert rig.endpoints(rig.synced()) == {"10.0.0.1": 70_000, "10.0.0.2": 70_000}
        api.put(ces("b", ["10.0.0.2", "10.0.0.3"]))  # the address is in both for a moment
        api.put(ces("a", ["10.0.0.1"]))
        rig.until(lambda s: "10.0.0.3" in rig.endpoints(s))
        api.put(ces("c", ["10.0.0.4"]))
        snapshot = rig.until(lambda s: "10.0.0.4" in rig.endpoints(s))
        assert rig.endpoints(snapshot).keys() == {f"10.0.0.{n}" for n in (1, 2, 3, 4)}
        assert deletions.now() == set()
        api.remove(ces("b", []))
        rig.until(lambda s: rig.endpoints(s).keys() == {"10.0.0.1", "10.0.0.4"})
        assert api.requests["list", CEPS] == 0


def test_slices_count_while_their_service_is_there(api: FakeApi):
    api.put(endpoint_slice("web-1", "web", ["10.0.0.1"]))
    with KubeRig(api.url) as rig:
        snapshot = rig.synced()
        assert backends(rig, snapshot) == []
        api.put(service("web", shared=False))
        rig.until(lambda s: backends(rig, s) == ["10.0.0.1"] and not next(iter(s[Services].values())).shared)
        api.put(service("web"))
        rig.until(lambda s: backends(rig, s) == ["10.0.0.1"] and next(iter(s[Services].values())).shared)
        api.put(endpoint_slice("web-2", "web", ["10.0.0.2"]))
        rig.until(lambda s: backends(rig, s) == ["10.0.0.1", "10.0.0.2"])
        api.put(endpoint_slice("web-2", "other", ["10.0.0.2"]))
        rig.until(lambda s: backends(rig, s) == ["10.0.0.1"])
        api.put(service("other"))
        rig.until(lambda s: backends(rig, s) == ["10.0.0.2", "10.0.0.1"])  # other's, then web's
        api.remove(service("web"))
        rig.until(lambda s: backends(rig, s) == ["10.0.0.2"])
        api.remove(service("other"))
        rig.until(lambda s: backends(rig, s) == [] and not s[Services])


def test_a_bad_object_is_told_keeps_its_last_good_rows_and_stops_nobody(api: FakeApi):
    with KubeRig(api.url) as rig:
        rig.synced()
        api.put(cep("10.0.0.1"))
        api.put(cep("not an address", name="pod-10.0.0.1"))
        api.put(cep("10.0.0.2"))
        snapshot = rig.until(lambda s: len(s[Rejected]) == 1 and len(s[Endpoints]) == 2)
        (row,) = snapshot[Rejected].values()
        assert row.key.object == "ciliumendpoints/default/pod-10.0.0.1"
        assert "addressing[0].ipv4" in row.error
        api.put(cep("10.0.0.1"))
        rig.until(lambda s: not s[Rejected] and len(s[Endpoints]) == 2)


def test_a_bad_slice_keeps_its_backends_and_heals(api: FakeApi):
    api.put(service("web"))
    api.put(endpoint_slice("web-1", "web", ["10.0.0.1"]))
    with KubeRig(api.url) as rig:
        rig.synced()
        api.put(endpoint_slice("web-1", "web", ["nonsense"]))
        snapshot = rig.until(lambda s: len(s[Rejected]) == 1)
        assert next(iter(snapshot[Rejected].values())).key.table == "backends"
        assert backends(rig, snapshot) == ["10.0.0.1"]
        api.put(endpoint_slice("web-1", "web", ["10.0.0.2"]))
        rig.until(lambda s: not s[Rejected] and backends(rig, s) == ["10.0.0.2"])


def test_lists_come_in_pages_of_one_version(api: FakeApi):
    for number in range(25):
        api.put(cep(f"10.0.0.{number}"))
    with KubeRig(api.url, page_limit=10) as rig:
        assert len(rig.synced()[Endpoints]) == 25
        assert api.requests["list", CEPS] == 3


def test_an_expired_continuation_begins_the_list_again(api: FakeApi):
    for number in range(25):
        api.put(cep(f"10.0.0.{number}"))
    gone = b'{"kind":"Status","code":410,"reason":"Expired","message":"too old","metadata":{"continue":"inconsistent"}}'
    with KubeRig(api.url, page_limit=10, tables=("endpoints",)) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        api.cut()
        api.compact()
        api.freeze()
        before = api.requests["list", CEPS]
        api.remove(cep("10.0.0.3"))
        api.compact()
        threading.Thread(
            target=lambda: (
                api.wait_for_requests("list", CEPS, before + 1),
                api.fail("list", CEPS, status=410, body=gone),
            )
        ).start()
        api.thaw()
        rig.until(lambda s: len(s[Endpoints]) == 24 and rig.state(s) == "synced")
        assert deletions.now() == {"10.0.0.3"}


@pytest.mark.parametrize("by_status", [True, False])
def test_a_watch_that_begins_too_early_is_listed_anew(api: FakeApi, by_status: bool):
    api.gone_by_status = by_status
    for number in range(5):
        api.put(cep(f"10.0.0.{number}"))
    with KubeRig(api.url, tables=("endpoints",)) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        api.kill()
        api.remove(cep("10.0.0.0"))
        api.put(cep("10.0.0.9"))
        api.compact()
        api.start()
        rig.until(lambda s: "10.0.0.9" in rig.endpoints(s) and rig.state(s) == "synced")
        assert deletions.now() == {"10.0.0.0"}
        rig.until(lambda s: rig.row(s).relists == 2)


def test_a_watch_is_resumed_without_a_list_where_that_is_legal(api: FakeApi):
    with KubeRig(api.url, tables=("endpoints",)) as rig:
        rig.synced()
        api.put(cep("10.0.0.1"))
        rig.until(lambda s: len(s[Endpoints]) == 1)
        api.cut()
        api.put(cep("10.0.0.2"))
        rig.until(lambda s: len(s[Endpoints]) == 2 and rig.state(s) == "synced")
        assert api.requests["list", CEPS] == 1


def test_bookmarks_keep_the_place_in_history(api: FakeApi):
    with KubeRig(api.url, tables=("endpoints",)) as rig:
        rig.synced()
        api.put(node("elsewhere"))
        api.bookmark()
        api.put(cep("10.0.0.1"))  # so that the bookmark has been read when this is seen
        rig.until(lambda s: len(s[Endpoints]) == 1)
        api.bookmark()
        time.sleep(0.1)  # what is read leaves no trace to wait for; too short, and the list below tells on us
        api.compact()
        api.cut()
        api.put(cep("10.0.0.2"))
        rig.until(lambda s: len(s[Endpoints]) == 2 and rig.state(s) == "synced")
        assert api.requests["list", CEPS] == 1


def test_a_half_line_at_the_end_is_told_again(api: FakeApi):
    with KubeRig(api.url, tables=("endpoints",)) as rig:
        rig.synced()
        api.half_line(2)
        api.put(cep("10.0.0.1"))
        rig.until(lambda s: len(s[Endpoints]) == 1)
        assert api.requests["list", CEPS] == 1
        assert not rig.db.snapshot()[Rejected]


def test_half_a_list_is_none(api: FakeApi):
    for number in range(5):
        api.put(cep(f"10.0.0.{number}"))
    with KubeRig(api.url, tables=("endpoints",)) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        api.kill()
        api.compact()
        api.put(cep("10.0.0.9"))
        api.compact()
        api.half_answer(3)
        api.start()
        rig.until(lambda s: "10.0.0.9" in rig.endpoints(s))
        assert deletions.now() == set()


@pytest.mark.parametrize(
    "body", [b"{}", b'{"kind":"Status","metadata":{}}', b"<html>", b'{"kind":"XList","metadata":{}}']
)
def test_an_answer_that_is_no_list_deletes_nothing(api: FakeApi, body: bytes):
    api.put(cep("10.0.0.1"))
    with KubeRig(api.url, tables=("endpoints",)) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        api.kill()
        api.put(cep("10.0.0.2"))
        api.compact()
        api.fail("list", CEPS, status=200, body=body, times=3)
        api.start()
        rig.until(lambda s: len(s[Endpoints]) == 2 and rig.state(s) == "synced")
        assert deletions.now() == set()


def test_silence_is_a_dead_connection(api: FakeApi):
    with KubeRig(api.url, tables=("endpoints",), silence_s=0.3, request_timeout_s=0.3) as rig:
        rig.synced()
        api.freeze()
        row = rig.row(rig.until(lambda s: rig.state(s) == "stale"))
        assert "no answer in time" in row.last_error or "silent" in row.last_error
        api.put(cep("10.0.0.1"))
        api.thaw()
        rig.until(lambda s: len(s[Endpoints]) == 1 and rig.state(s) == "synced")
        assert api.requests["list", CEPS] == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("after", ["2", "date"])
def test_a_throttling_server_is_left_alone_as_long_as_it_wishes(api: FakeApi, status: int, after: str):
    # `sources` is written once a second, so a shorter pause may not be seen.
    started, pause_s = time.monotonic(), 2.0
    if after == "date":
        pause_s = 4.0  # whole seconds, and it is over at a time of the clock, however late the answer is read
        after = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + pause_s))
    api.fail("list", CEPS, status=status, headers={"Retry-After": after})
    with KubeRig(api.url, tables=("endpoints",), retry_max_s=0.1) as rig:
        rig.until(lambda s: "wishes to be left alone" in rig.row(s).last_error)
        rig.synced()
        # `retry_max_s` bounds our own pauses, not what the server wishes.
        assert pause_s - 1.1 <= time.monotonic() - started < pause_s + 10.0
        assert api.requests["list", CEPS] == 1 + 1


def test_a_server_that_closes_every_watch_is_not_stormed(api: FakeApi):
    with KubeRig(api.url, tables=("endpoints",), watch_timeout_s=1.0, retry_min_s=0.1, retry_max_s=1.0) as rig:
        rig.synced()
        api.fail("watch", CEPS, status=200, body=b"", times=1000)
        api.cut()
        before = api.requests["watch", CEPS]
        time.sleep(1.5)
        assert 1 <= api.requests["watch", CEPS] - before <= 12


def test_a_forbidden_resource_is_named_and_the_others_go_on(api: FakeApi):
    put_one_of_each(api)
    api.forbidden.add(("list", NODES))
    with KubeRig(api.url) as rig:
        snapshot = rig.until(lambda s: rig.of("nodes", s).state == "failed" and rig.state(s) == "synced")
        error = rig.of("nodes", snapshot).last_error
        assert "may not list ciliumnodes.cilium.io" in error
        assert "ClusterRole" in error
        api.forbidden.clear()
        rig.until(lambda s: len(s[Nodes]) == 1 and rig.of("nodes", s).state == "synced")


def test_a_missing_crd_is_waited_for(api: FakeApi):
    put_one_of_each(api)
    api.missing.add(NODES)
    with KubeRig(api.url) as rig:
        snapshot = rig.until(lambda s: "not served" in rig.of("nodes", s).last_error and rig.state(s) == "synced")
        assert rig.of("nodes", snapshot).state == "connecting"
        assert not snapshot[Nodes].initialized
        api.missing.clear()
        rig.until(lambda s: len(s[Nodes]) == 1 and rig.of("nodes", s).state == "synced" and s[Nodes].initialized)


def test_a_crd_that_goes_leaves_its_rows(api: FakeApi):
    api.put(node("n1"))
    with KubeRig(api.url, tables=("nodes",)) as rig:
        rig.synced()
        api.missing.add(NODES)
        api.cut()
        snapshot = rig.until(lambda s: "not served" in rig.of("nodes", s).last_error)
        assert rig.of("nodes", snapshot).state == "stale"
        assert len(snapshot[Nodes]) == 1
        api.missing.clear()
        rig.synced()


def test_credentials_are_renewed_once_and_then_the_refusal_is_told(api: FakeApi, tmp_path):
    token = tmp_path / "token"
    token.write_text("first-secret\n")
    api.tokens = {"first-secret"}
    with KubeRig(api.url, tables=("endpoints",), token_file=str(token)) as rig:
        rig.synced()
        token.write_text("second-secret")
        api.tokens = {"second-secret"}
        api.cut()
        api.put(cep("10.0.0.1"))
        rig.until(lambda s: len(s[Endpoints]) == 1 and rig.state(s) == "synced")
        api.tokens = {"third-secret"}
        api.cut()
        snapshot = rig.until(lambda s: rig.state(s) == "failed")
        assert "refuses our credentials" in rig.row(snapshot).last_error
        assert "secret" not in rig.row(snapshot).last_error
        assert len(snapshot[Endpoints]) == 1
        token.write_text("third-secret")
        rig.synced()


@pytest.mark.parametrize("streaming", ["offered", "refused", "failing", "ignored"])
def test_lists_come_as_streams_where_the_server_offers_them(streaming):
    with FakeApi(streaming=streaming) as api:
        for number in range(5):
            api.put(cep(f"10.0.0.{number}"))
        with KubeRig(api.url, tables=("endpoints",), request_timeout_s=0.5) as rig:
            snapshot = rig.synced()
            assert len(snapshot[Endpoints]) == 5
            asked = 0 if streaming == "offered" else 1
            assert api.requests["list", CEPS] == asked
            watches = api.requests["watch", CEPS]
            api.compact()
            api.put(cep("10.0.0.9"))
            api.compact()
            api.cut()
            rig.until(lambda s: rig.row(s).relists == 2 and rig.state(s) == "synced")
            streams = api.requests["watch", CEPS] - watches
            assert streams == 2  # the watch that is too old; then that after pages, or a streamed list, which goes on
            assert len(rig.db.snapshot()[Endpoints]) == 6


def test_a_restored_backup_deletes_nothing_until_the_operator_accepts(api: FakeApi):
    for number in range(5):
        api.put(cep(f"10.0.0.{number}"))
    backup = api.backup()
    api.put(cep("10.0.1.1"))
    api.put(cep("10.0.1.2"))
    with KubeRig(api.url, tables=("endpoints",)) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        api.restore(backup)
        snapshot = rig.until(lambda s: rig.row(s).withheld_deletes == 2)
        row = rig.row(rig.until(lambda s: "withholding 2 deletes" in rig.row(s).last_error))
        assert row.state == "stale"
        assert "resourceVersion was" in row.last_error
        assert len(snapshot[Endpoints]) == 7
        api.put(cep("10.0.2.1"))
        api.remove(cep("10.0.0.0"))
        rig.until(lambda s: "10.0.2.1" in rig.endpoints(s) and "10.0.0.0" not in rig.endpoints(s))
        assert deletions.now() == {"10.0.0.0"}  # it was seen to go
        rig.source.accept()
        rig.until(lambda s: rig.state(s) == "synced" and len(s[Endpoints]) == 5)
        assert deletions.now() == {"10.0.0.0", "10.0.1.1", "10.0.1.2"}


@pytest.mark.parametrize("revision", [50, 5000])
def test_another_cluster_deletes_nothing_and_what_comes_back_heals(api: FakeApi, revision: int):
    put_one_of_each(api)
    with KubeRig(api.url) as rig, Deletions(rig.db) as deletions:
        before = rig.synced()
        api.replace(revision=revision)
        api.put(identity(80_000))
        rig.until(lambda s: len(s[Identities]) == 2 and "kube-system had the UID" in rig.of("backends", s).last_error)
        snapshot = rig.until(lambda s: rig.of("backends", s).withheld_deletes == 2)
        for table in (Nodes, Endpoints, Services, Backends, Namespaces, Policies):
            assert list(snapshot[table].values()) == list(before[table].values())
        put_one_of_each(api)
        rig.until(lambda s: all(rig.of(t.name, s).state == "synced" for t in rig.source.tables))
        assert deletions.now() == set()
        assert all(rig.of(t.name).withheld_deletes == 0 for t in rig.source.tables)


def test_what_is_withheld_of_services_goes_when_accepted(api: FakeApi):
    put_one_of_each(api)
    with KubeRig(api.url, tables=("services", "backends")) as rig:
        rig.synced()
        api.replace()
        api.put(service("web"))  # its slice is missing
        rig.until(lambda s: rig.of("backends", s).withheld_deletes == 1 and rig.of("services", s).withheld_deletes == 0)
        assert backends(rig) == ["10.0.0.1", "10.0.0.2"]
        rig.source.accept()
        rig.until(lambda s: backends(rig, s) == [] and rig.of("backends", s).state == "synced")
        assert len(rig.db.snapshot()[Services]) == 1


def test_equal_objects_wake_nobody(api: FakeApi):
    put_one_of_each(api)
    with KubeRig(api.url) as rig:
        snapshot = rig.synced()
        watches = [snapshot[table].watch() for table in rig.source.tables]
        put_one_of_each(api)
        api.compact()
        api.cut()
        rig.until(lambda s: rig.row(s).relists == 2)
        rig.synced()
        assert not any(watch.tripped for watch in watches)


def test_a_source_stops_at_once_whatever_it_waits_for(api: FakeApi):
    api.put(cep("10.0.0.1"))
    for is_frozen in (False, True):
        rig = KubeRig(api.url, request_timeout_s=60.0)
        if is_frozen:
            api.freeze()
        with rig:
            if is_frozen:
                api.wait_for_requests("list", NODES, api.requests["list", NODES])
            else:
                rig.synced()
            started = time.monotonic()
        assert time.monotonic() - started < 2.0
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("kubernetes ")]


def test_nobody_listens(api: FakeApi):
    api.kill()
    with KubeRig(api.url, tables=("nodes",)) as rig:
        row = rig.until(lambda s: rig.of("nodes", s).last_error != "")
        assert "Connection refused" in rig.of("nodes", row).last_error
        assert rig.of("nodes").state == "connecting"
        api.start()
        api.put(node("n1"))
        rig.until(lambda s: len(s[Nodes]) == 1)


def test_two_sources_cannot_fill_one_table(api: FakeApi):
    with KubeRig(api.url, tables=("nodes", "policies")) as rig:
        second = KubeRig(api.url, tables=("policies",))
        from ingest import KubernetesOptions
        from ingest.kubernetes import open as open_kubernetes

        source = open_kubernetes(rig.db, CLUSTER, 1, KubernetesOptions(server=api.url, tables=("policies",)))
        with pytest.raises(OwnedElsewhere):
            source.start()
        del second


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"server": "10.0.0.1:6443"}, "server: must be a URL"),
        ({"server": "https://user:pass@h"}, "server: must hold neither user nor query"),
        ({"server": "http://h", "kubeconfig": "k"}, "server: give it or kubeconfig"),
        ({"server": "http://h", "token_file": "/nowhere/token"}, "token-file: /nowhere/token: No such file"),
        ({"server": "http://h", "ca_file": "/nowhere"}, "ca-file: server is not https"),
        ({"kubeconfig": "/nowhere/config"}, "kubeconfig: /nowhere/config: No such file"),
        ({"kubeconfig": "k", "token_file": "t"}, "token-file: belongs to server"),
        ({"server": "http://h", "tables": ("nods",)}, "tables: kubernetes carries no table 'nods'"),
        ({"server": "http://h", "tables": ()}, "tables: name at least one"),
    ],
)
def test_wrong_options_are_one_clear_line(options, problem):
    with pytest.raises(InvalidOptions, match=problem.replace("(", r"\(")) as caught:
        KubeRig(**options)
    assert "pass" not in str(caught.value)


def test_a_broken_kubeconfig_tells_no_secret(tmp_path):
    path = tmp_path / "config"
    for text in (
        "users: [{name: u, user: {token: s3cret, exec: {command: x}}}]\n",
        "apiVersion: v1\nclusters: []\ncontexts: [{name: c, context: {cluster: k, user: u}}]\ncurrent-context: c\n"
        "users: [{name: u, user: {token: s3cret}}]\n",
        "current-context: c\nclusters: [{name: k, cluster: {server: 'http://h'}}]\n"
        "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "users: [{name: u, user: {token: '', exec: {apiVersion: v1, command: s3cret, env: [{value: s3cret}]}}}]\n",
        "s3cret: [",
        "",
    ):
        path.write_text(text)
        with pytest.raises(InvalidOptions) as caught:
            KubeRig(kubeconfig=str(path))
        assert str(caught.value).startswith("kubeconfig: ")
        assert "s3cret" not in str(caught.value)


def test_a_gap_between_watches_is_closed_by_the_list(api: FakeApi):
    """The versions of the other cluster are ahead of ours: its UID is asked for after the watch stands."""
    api.put(cep("10.0.0.1"))
    with KubeRig(api.url, tables=("endpoints",)) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        api.replace(revision=100_000)  # ahead of ours: the watch stands, and would be silent about what is not there
        api.put(cep("10.0.0.2"))
        rig.until(lambda s: rig.row(s).withheld_deletes == 1 and "10.0.0.2" in rig.endpoints(s))
        assert EndpointKey(CLUSTER, "10.0.0.1") in rig.db.snapshot()[Endpoints]
        assert deletions.now() == set()


def test_credentials_of_an_exec_plugin_are_asked_for_anew(api: FakeApi, tmp_path):
    token, plugin = tmp_path / "token", tmp_path / "plugin"
    plugin.write_text(
        '#!/bin/sh\nprintf \'%s\' \'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",'
        ' "status": {"token": "\'; cat ' + str(token) + "; printf '%s' '\"}}'\n"
    )
    plugin.chmod(0o700)
    config = tmp_path / "config"
    config.write_text(
        f"current-context: c\nclusters: [{{name: k, cluster: {{server: '{api.url}'}}}}]\n"
        "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
        f"users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: '{plugin}'}}}}}}]\n"
    )
    token.write_text("first-secret")
    api.tokens = {"first-secret"}
    with KubeRig(kubeconfig=str(config), tables=("endpoints",)) as rig:
        rig.synced()
        token.write_text("second-secret")
        api.tokens = {"second-secret"}
        api.cut()
        api.put(cep("10.0.0.1"))
        rig.until(lambda s: len(s[Endpoints]) == 1 and rig.state(s) == "synced")
        plugin.write_text("#!/bin/sh\necho second-secret >&2; exit 3\n")
        api.tokens = set()
        api.cut()
        snapshot = rig.until(lambda s: rig.state(s) == "failed")
        assert "exec: process returned 3" in rig.row(snapshot).last_error
        assert "secret" not in rig.row(snapshot).last_error


def test_events_before_a_line_that_does_not_end_are_told(api: FakeApi):
    """A part of the next line must not hold back what is whole."""
    with KubeRig(api.url, tables=("endpoints",)) as rig:
        rig.synced()
        api.begin_line = b'{"type":"ADDED","object":{"metada'
        api.put(cep("10.0.0.1"))
        rig.until(lambda s: len(s[Endpoints]) == 1)
        api.begin_line = b""
        api.cut()
        rig.synced()


def test_a_line_that_is_no_event_is_listed_anew(api: FakeApi):
    api.put(cep("10.0.0.1"))
    with KubeRig(api.url, tables=("endpoints",)) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        api.begin_line = b'{"type":"ADDED","object":{"metadata":{"name":"x"},}}\n'
        api.put(cep("10.0.0.2"))
        api.wait_for_requests("list", CEPS, 2)
        api.begin_line = b""
        rig.until(lambda s: len(s[Endpoints]) == 2 and rig.state(s) == "synced")
        assert deletions.now() == set()
