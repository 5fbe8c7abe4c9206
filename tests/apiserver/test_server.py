"""What a real API server does: the facts that a Kubernetes client is built on (docs/kubernetes-test-server.md).

Where one of them fails after a new release was pinned, the document and the ingester want a look as well.
"""

from __future__ import annotations

import http.client
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from . import objects
from .rest import Refused
from .server import READER, ApiServer, NotStarted, cilium_crds, collection

CUT = (http.client.IncompleteRead, ConnectionError)
"""What a client sees of a watch whose server died."""

STREAMING = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
END = {"k8s.io/initial-events-end": "true"}


@pytest.fixture(scope="module")
def own_server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def own(own_server: ApiServer) -> ApiServer:
    """A server that the test may kill; it runs, has the CRDs, and no objects that these tests make."""
    if own_server.is_running:
        own_server.install_crds()
    else:
        own_server.start()
    for path in (objects.IDENTITIES, objects.NODES):
        own_server.rest().delete(path)
    return own_server


@pytest.fixture
def identities(own: ApiServer) -> ApiServer:
    """Nine identities are there."""
    for number in range(1, 10):
        own.rest().create(objects.IDENTITIES, objects.identity(str(number)))
    return own


def version_of(server: ApiServer) -> str:
    return server.rest().get(objects.IDENTITIES, limit="1")["metadata"]["resourceVersion"]


def relabel(server: ApiServer, name: str, app: str) -> None:
    what = server.rest().get(f"{objects.IDENTITIES}/{name}")
    what["security-labels"]["k8s:app"] = app
    server.rest().replace(f"{objects.IDENTITIES}/{name}", what)


def refusal(call: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


def names(events: Any, kind: str) -> list[str]:
    return [event["object"]["metadata"]["name"] for event in events if event["type"] == kind]


def test_the_crds_have_the_names_that_cilium_gives_them():
    got = {
        spec["names"]["kind"]: (
            f"{spec['group']}/{spec['versions'][0]['name']}",
            spec["scope"],
            spec["names"]["shortNames"],
        )
        for spec in (crd["spec"] for crd in cilium_crds())
    }
    assert got == {
        "CiliumIdentity": ("cilium.io/v2", "Cluster", ["ciliumid"]),
        "CiliumNode": ("cilium.io/v2", "Cluster", ["cn", "ciliumn"]),
        "CiliumEndpoint": ("cilium.io/v2", "Namespaced", ["cep", "ciliumep"]),
        "CiliumEndpointSlice": ("cilium.io/v2alpha1", "Cluster", ["ces"]),
        "CiliumNetworkPolicy": ("cilium.io/v2", "Namespaced", ["cnp", "ciliumnp"]),
        "CiliumClusterwideNetworkPolicy": ("cilium.io/v2", "Cluster", ["ccnp"]),
    }


@pytest.mark.parametrize(
    ("path", "written", "changed"),
    [
        (objects.IDENTITIES, objects.identity("4711"), objects.identity("4711", "db")),
        (objects.NODES, objects.node("node-1"), objects.node("node-1", "172.18.0.9")),
        (objects.ENDPOINTS, objects.endpoint("pod-1"), objects.endpoint("pod-1", "10.244.2.99")),
        (objects.SLICES, objects.endpoint_slice("ces-1", "a", "b"), objects.endpoint_slice("ces-1", "b")),
        (objects.POLICIES, objects.policy("p"), objects.policy("p", "db")),
        (objects.CLUSTERWIDE, objects.clusterwide_policy("cp"), objects.clusterwide_policy("cp", "db")),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_every_kind_is_stored_whole_listed_and_watched(
    apiserver: ApiServer, path: str, written: dict[str, Any], changed: dict[str, Any]
):
    rest, everywhere = apiserver.rest(), path.replace("/namespaces/default", "")
    assert everywhere in map(collection, cilium_crds())
    before = rest.get(everywhere)["metadata"]["resourceVersion"]
    stored = rest.create(path, written)
    rest.replace(f"{path}/{stored['metadata']['name']}", changed | {"metadata": stored["metadata"]})
    (listed,) = rest.get(everywhere)["items"]
    assert {**listed, "metadata": None} == {**changed, "metadata": None}  # no field was dropped
    rest.delete(f"{path}/{stored['metadata']['name']}")
    events = list(itertools.islice(rest.watch(everywhere, resourceVersion=before), 3))
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))  # a deletion has a version of its own
    assert events[0]["object"] == stored
    assert {**events[2]["object"], "metadata": None} == {**changed, "metadata": None}


def test_an_object_that_the_schema_does_not_allow_is_refused(apiserver: ApiServer):
    wrong = objects.identity("4712") | {"security-labels": {"k8s:app": 5}}
    error = refusal(lambda: apiserver.rest().create(objects.IDENTITIES, wrong))
    assert (error.status, error.said["reason"]) == (422, "Invalid")


def test_all_pages_of_a_list_have_the_version_of_the_first(identities: ApiServer):
    rest = identities.rest()
    first = rest.get(objects.IDENTITIES, limit="4")
    relabel(identities, "9", "changed meanwhile")
    second = rest.get(objects.IDENTITIES, limit="4", **{"continue": first["metadata"]["continue"]})
    third = rest.get(objects.IDENTITIES, limit="4", **{"continue": second["metadata"]["continue"]})
    assert [page["metadata"].get("remainingItemCount") for page in (first, second, third)] == [5, 1, None]
    assert not third["metadata"].get("continue")
    assert len({page["metadata"]["resourceVersion"] for page in (first, second, third)}) == 1
    found = [each["security-labels"]["k8s:app"] for page in (first, second, third) for each in page["items"]]
    assert found == ["web"] * 9


def test_a_restarted_server_does_not_know_old_versions(identities: ApiServer):
    """Its cache begins at the restart: whoever asks for more is told 410, in the answer or inside the stream."""
    first = identities.rest().get(objects.IDENTITIES, limit="4")
    relabel(identities, "1", "changed")
    identities.compact()
    identities.kill()
    identities.start()
    rest, token = identities.rest(), {"continue": first["metadata"]["continue"]}
    error = refusal(lambda: rest.get(objects.IDENTITIES, limit="4", **token))
    assert (error.status, error.said["reason"]) == (410, "Expired")
    (event,) = rest.watch(objects.IDENTITIES, resourceVersion=first["metadata"]["resourceVersion"])
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    # The token that comes with the 410 gives the rest of the list, of another version.
    rest_of_it = rest.get(objects.IDENTITIES, limit="9", **{"continue": error.said["metadata"]["continue"]})
    assert [each["metadata"]["name"] for each in rest_of_it["items"]] == ["5", "6", "7", "8", "9"]
    assert rest_of_it["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]


@pytest.mark.apiserver
def test_without_its_cache_the_server_says_410_after_a_compaction():
    with ApiServer(arguments=["--watch-cache=false"]) as server:
        server.start()
        for number in range(1, 5):
            server.rest().create(objects.IDENTITIES, objects.identity(str(number)))
        first = server.rest().get(objects.IDENTITIES, limit="2")
        for app in ("changed", "again"):  # of the first event after it the server wants to know the object before
            relabel(server, "1", app)
        server.compact()
        token = {"continue": first["metadata"]["continue"]}
        assert refusal(lambda: server.rest().get(objects.IDENTITIES, **token)).status == 410
        old = {"resourceVersion": first["metadata"]["resourceVersion"]}
        (event,) = server.rest().watch(objects.IDENTITIES, **old)
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_a_bookmark_tells_of_later_revisions_before_a_watch_ends(identities: ApiServer):
    watch = identities.rest().watch(
        objects.IDENTITIES, resourceVersion=version_of(identities), allowWatchBookmarks="true", timeoutSeconds="4"
    )
    relabel(identities, "1", "changed")
    assert next(watch)["type"] == "MODIFIED"
    identities.rest().create(objects.NODES, objects.node("another-kind"))
    newest = version_of(identities)  # a list lets the server's cache learn how far the etcd is
    *_, last = watch
    assert last == {
        "type": "BOOKMARK",
        "object": {"apiVersion": "cilium.io/v2", "kind": "CiliumIdentity", "metadata": {"resourceVersion": newest}},
    }


@pytest.mark.parametrize("query", [STREAMING, {"allowWatchBookmarks": "true"}], ids=["asked for", "no version named"])
def test_a_streaming_list_ends_with_a_bookmark_that_says_so(identities: ApiServer, query: dict[str, str]):
    events = list(itertools.islice(identities.rest().watch(objects.IDENTITIES, **query), 10))
    assert names(events[:9], "ADDED") == [str(number) for number in range(1, 10)]
    assert events[9]["type"] == "BOOKMARK"
    assert events[9]["object"]["metadata"]["annotations"] == END


@pytest.mark.apiserver
def test_before_an_old_etcd_a_streaming_list_is_refused_inside_the_stream():
    """Also where none was asked for: a watch with bookmarks that names no version is one."""
    with ApiServer(old_etcd=True) as server:
        server.start()
        for query in (STREAMING, {"allowWatchBookmarks": "true"}):
            (event,) = server.rest().watch(objects.IDENTITIES, **query)
            assert (event["type"], event["object"]["code"]) == ("ERROR", 500)
            assert "RequestWatchProgress" in event["object"]["message"]


@pytest.mark.parametrize(
    ("end", "seen"), [(ApiServer.kill, CUT), (ApiServer.stop, StopIteration)], ids=["killed: cut", "stopped: ended"]
)
def test_a_server_comes_back_with_its_port_and_its_objects(identities: ApiServer, end: Any, seen: Any):
    version = version_of(identities)
    watch = identities.rest().watch(objects.IDENTITIES, resourceVersion=version)
    relabel(identities, "1", "changed")
    assert next(watch)["type"] == "MODIFIED"
    end(identities)
    with pytest.raises(seen):
        next(watch)
    with pytest.raises(ConnectionRefusedError):
        identities.rest().get("/readyz")
    identities.start()
    assert len(identities.rest().get(objects.IDENTITIES)["items"]) == 9
    relabel(identities, "2", "changed again")
    watch = identities.rest().watch(objects.IDENTITIES, resourceVersion=version, timeoutSeconds="1")
    assert next(watch)["object"]["code"] == 410  # its memory begins at the restart


def test_a_server_restarted_empty_is_silent_to_those_who_know_higher_versions(identities: ApiServer):
    for turn in range(20):
        relabel(identities, "1", str(turn))
    old = version_of(identities)
    identities.restart_empty()
    assert identities.rest().get(objects.IDENTITIES)["items"] == []
    assert int(version_of(identities)) < int(old)
    identities.rest().create(objects.IDENTITIES, objects.identity("unseen"))
    assert list(identities.rest().watch(objects.IDENTITIES, resourceVersion=old, timeoutSeconds="2")) == []
    known = {"resourceVersion": old, "resourceVersionMatch": "NotOlderThan", "limit": "1"}
    error = refusal(lambda: identities.rest().get(objects.IDENTITIES, **known))
    assert (error.status, error.said["details"]["causes"][0]["reason"]) == (504, "ResourceVersionTooLarge")


def test_a_frozen_server_keeps_connections_and_does_not_answer(own: ApiServer):
    watch = own.rest().watch(objects.IDENTITIES, resourceVersion=version_of(own), wait_s=3.0)
    own.rest().create(objects.IDENTITIES, objects.identity("1"))
    assert next(watch)["type"] == "ADDED"
    own.freeze()
    with pytest.raises(TimeoutError):
        next(watch)
    own.thaw()
    assert len(own.rest().get(objects.IDENTITIES)["items"]) == 1


def test_who_has_no_right_is_told_which(own: ApiServer):
    reader = own.rest(READER)
    error = refusal(lambda: reader.get(objects.NODES))
    assert (error.status, error.said["reason"]) == (403, "Forbidden")
    assert 'User "reader" cannot list resource "ciliumnodes" in API group "cilium.io"' in error.said["message"]
    own.grant(READER, [{"apiGroups": ["cilium.io"], "resources": ["ciliumnodes"], "verbs": ["list"]}])
    assert reader.get(objects.NODES)["items"] == []
    error = refusal(lambda: next(reader.watch(objects.NODES)))
    assert "cannot watch" in error.said["message"]
    own.grant(READER, [])
    assert refusal(lambda: reader.get(objects.NODES)).status == 403


def test_a_token_that_nobody_knows_is_refused_and_one_without_rights_too(own: ApiServer):
    assert refusal(lambda: own.rest(token="nobody's").get(objects.NODES)).status == 401
    assert refusal(lambda: own.rest(token=own.service_account_token("robot")).get(objects.NODES)).status == 403


def test_a_removed_crd_takes_its_objects_along_and_ends_its_watches(identities: ApiServer):
    watch = identities.rest().watch(objects.IDENTITIES, resourceVersion=version_of(identities))
    identities.remove_crd("ciliumidentities")
    assert names(watch, "DELETED") == [str(number) for number in range(1, 10)]  # and the stream ends, without an error
    error = refusal(lambda: identities.rest().get(objects.IDENTITIES))
    assert (error.status, error.said) == (404, "404 page not found\n")
    identities.install_crds("ciliumidentities")
    assert identities.rest().get(objects.IDENTITIES)["items"] == []


@pytest.mark.apiserver
def test_crds_come_when_they_are_wanted():
    with ApiServer(crds=False) as server:
        server.start()
        assert refusal(lambda: server.rest().get(objects.NODES)).status == 404
        server.install_crds("ciliumnodes")
        assert server.rest().get(objects.NODES)["items"] == []
        assert refusal(lambda: server.rest().get(objects.IDENTITIES)).status == 404


def test_namespaces_come_and_go(apiserver: ApiServer):
    apiserver.create_namespace("passing", {"clustermesh.cilium.io/global": "true"})
    assert "passing" in {each["metadata"]["name"] for each in apiserver.rest().get("/api/v1/namespaces")["items"]}
    apiserver.delete_namespace("passing")
    assert refusal(lambda: apiserver.rest().get("/api/v1/namespaces/passing")).status == 404


def test_a_kubeconfig_names_server_certificate_and_token(apiserver: ApiServer):
    text = apiserver.kubeconfig(READER, url="https://127.0.0.1:1").read_text()
    assert "server: https://127.0.0.1:1\n" in text
    assert f"certificate-authority: {apiserver.ca}\n" in text
    assert "token: " in text


@pytest.mark.apiserver
def test_a_server_that_does_not_start_shows_its_log():
    with (
        ApiServer(arguments=["--no-such-flag"]) as server,
        pytest.raises(NotStarted, match="unknown flag: --no-such-flag"),
    ):
        server.start()
