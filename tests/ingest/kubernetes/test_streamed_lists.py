"""A streamed list goes on as the watch: one request for each resource, and nothing is lost between the two."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ingest import KubernetesOptions, kubernetes
from ingest.kubernetes.client import Client
from ingest.kubernetes.errors import ApiError, Broken, Endless, Invalid, Silent, Unavailable
from ingest.kubernetes.event_reader import EventReader
from ingest.kubernetes.follow import Follower
from ingest.kubernetes.lister import AGAIN_S, Lister
from ingest.kubernetes.messages import Interrupted, ListStarted, Message
from ingest.kubernetes.request import Request
from ingest.kubernetes.resource_spec import Resource
from ingest.kubernetes.streamed_list import Page, StreamedList
from ingest.kubernetes.watch import Watch
from statedb import Database
from statedb.catalog import Endpoints, Objects
from statedb.testing import kubernetes as testing

from ...apiserver.server import ApiServer
from ..kube_fake import PATHS, FakeApi
from ..kube_rig import KubeRig, cep, node
from .informing import at, config_map, new_namespace, options, running, state, until
from .test_ends_and_pauses import CEPS as RESOURCE
from .test_which_server import Alternating

CEPS = PATHS["CiliumEndpoint"]
REQUEST = Request("watch", "things", "/things")
END = {"k8s.io/initial-events-end": "true"}


class Pieces:
    """A stream whose bytes come in these pieces. After them it has ended, or, if ``hangs``, it is silent."""

    request = REQUEST
    server = "uid"

    def __init__(self, pieces: list[bytes], *, hangs: bool = False) -> None:
        self.is_closed = False
        self._pieces = pieces
        self._hangs = hangs

    @property
    def is_complete(self) -> bool:
        return not self._pieces and not self._hangs

    def wait(self, timeout_s: float) -> bool:
        return bool(self._pieces)

    def pieces(self) -> Iterator[list[bytes]]:
        if self._pieces:
            yield [self._pieces.pop(0)]

    def close(self) -> None:
        self.is_closed = True


def event(kind: str, name: str, annotations: Any = None) -> bytes:
    metadata = {"name": name, "resourceVersion": name, "annotations": annotations}
    return json.dumps({"type": kind, "object": {"metadata": metadata}}).encode() + b"\n"


def listed(stream: Any, **limits: Any) -> tuple[Watch, StreamedList]:
    watch = Watch(stream, 60.0)
    return watch, StreamedList(watch, "watch things", **{"silence_s": 60.0, "limit_s": 60.0, **limits})


@given(st.integers(0, 8), st.integers(0, 8), st.lists(st.integers(1, 400), max_size=30))
def test_the_list_ends_at_its_bookmark_and_the_watch_begins_there(before: int, after: int, cuts: list[int]):
    names = [str(number) for number in range(before + after)]
    lines = [event("ADDED" if place < before else "MODIFIED", name) for place, name in enumerate(names)]
    data = b"".join([*lines[:before], event("BOOKMARK", "", END), *lines[before:]])
    places = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    stream: Any = Pieces([data[a:b] for a, b in itertools.pairwise(places)])
    watch, beginning = listed(stream)
    assert [item.name for page in beginning.pages() for item in page.items] == names[:before]
    rest = [item.name for item in watch.read()]
    while not watch.has_ended:
        rest += [item.name for item in watch.read()]
    assert rest == names[before:]


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (Pieces([event("ADDED", "a")]), Broken),
        (Pieces([event("ADDED", "a"), event("BOOKMARK", "a")]), Broken),
        (Pieces([event("ADDED", "a")], hangs=True), Silent),
        (Pieces([event("ADDED", "a")] * 3, hangs=True), Endless),
    ],
    ids=["ended", "another bookmark", "silent", "endless"],
)
def test_a_streamed_list_without_an_end_is_an_error(stream: Any, error: type[ApiError]):
    times = iter(range(100))
    _, beginning = listed(stream, limit_s=1.5 if error is Endless else 60.0, clock=lambda: float(next(times)))
    with pytest.raises(error):
        list(beginning.pages())


class Changing:
    """A client of a server that answers requests for streams in turn: with a stream, or by refusing it."""

    def __init__(self, answers: list[Pieces | ApiError]) -> None:
        self._answers = answers

    def streamed(self, _: Resource) -> StreamedList:
        answer = self._answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return listed(answer)[1]

    def pages(self, _: Resource) -> Iterator[Page]:
        yield Page([], "1")


@pytest.mark.parametrize(
    "before",
    [Pieces([event("ADDED", "a")]), Pieces([event("BOOKMARK", "a")]), Invalid("no streams here"), Broken("no event")],
    ids=["ended", "another bookmark", "refused", "unreadable"],
)
def test_streams_are_requested_again_after_a_while_whatever_ended_one(before: Pieces | ApiError):
    good = [Pieces([event("BOOKMARK", "5", END)], hangs=True) for _ in range(2)]
    client: Any = Changing([before, *good])
    now = 0.0
    reader = EventReader(RESOURCE, "f")
    lister = Lister(
        RESOURCE,
        client,
        reader,
        streams=True,
        on_first_page=lambda: None,
        stopping=lambda: False,
        clock=lambda: now,
    )
    assert lister.list().watch is None
    now = AGAIN_S - 1
    assert lister.list().watch is None, "in pages, without another request for a stream"
    now = AGAIN_S
    for _ in range(2):
        assert lister.list().watch is not None


class Unidentified:
    """A client of a server that offers streamed lists, and does not answer when it is to identify itself."""

    def __init__(self, stream: Pieces) -> None:
        self._stream = stream

    def streamed(self, _: Resource) -> StreamedList:
        return listed(self._stream)[1]

    def identity(self) -> str:
        raise Unavailable("no answer")


def test_the_watch_of_a_list_that_is_not_taken_is_closed():
    stream, sent = Pieces([event("BOOKMARK", "5", END)], hangs=True), list[Message]()
    client: Any = Unidentified(stream)
    follower = Follower(RESOURCE, "f", client, KubernetesOptions(), sent.append, stopping=lambda: False)
    assert isinstance(follower.connect(), float)
    assert stream.is_closed
    assert [type(message) for message in sent] == [ListStarted, Interrupted]


def test_one_request_for_each_resource_on_a_server_in_the_process():
    with testing.ApiServer() as server:
        server.create({**config_map("m"), "metadata": {"name": "m", "namespace": "default"}})
        db = Database()
        source = kubernetes.resources(db, "configmaps", "secrets", options=KubernetesOptions(server=server.url))
        maps, _ = source.tables
        with running(source):
            until(db, lambda s: all(state(s, name).state == "synced" for name in ("configmaps", "secrets")))
            server.create({**config_map("n"), "metadata": {"name": "n", "namespace": "default"}})
            until(db, lambda s: len(s[maps]) == 2)
            asked = {key: count for key, count in server.requests.items() if key[1] in ("configmaps", "secrets")}
        assert {key: count for key, count in asked.items() if key[0] != "create"} == {
            ("watch", "configmaps"): 1,
            ("watch", "secrets"): 1,
        }


def test_one_request_for_each_resource_on_a_real_server(apiserver: ApiServer):
    namespace, rest = new_namespace(apiserver), apiserver.rest()
    rest.create(at(namespace), config_map("m"))
    db = Database()
    chosen = ("configmaps", "secrets", "pods", "deployments.apps")
    source = kubernetes.resources(db, *chosen, options=options(apiserver))
    maps: type[Objects] = source.tables[0]
    with running(source):
        until(db, lambda s: all(state(s, table.name).state == "synced" for table in source.tables))
        rest.create(at(namespace), config_map("n"))
        rest.delete(f"{at(namespace)}/m")
        until(db, lambda s: [key.name for key in s[maps] if key.namespace == namespace] == ["n"])
        assert {key: count for key, count in source.requests.items() if key[0] in ("list", "watch")} == {
            ("watch", name): 1 for name in chosen
        }


def test_changes_that_are_sent_while_the_server_behind_the_list_is_checked_are_not_lost(
    monkeypatch: pytest.MonkeyPatch,
):
    with FakeApi(streaming="offered") as api:
        api.put(cep("10.0.0.1"))
        identity = Client.identity

        def changed(client: Client) -> str:
            api.put(cep("10.0.0.2"))
            api.remove(cep("10.0.0.1"))
            return identity(client)

        monkeypatch.setattr(Client, "identity", changed)
        with KubeRig(api.url, tables=("endpoints",)) as rig:
            rig.until(lambda s: rig.state(s) == "synced" and rig.endpoints(s) == {"10.0.0.2": 70_000})
            assert (api.requests["watch", CEPS], api.requests["list", CEPS]) == (1, 0)


def test_a_list_of_another_server_than_the_one_that_is_asked_afterwards_is_not_taken():
    with FakeApi(streaming="offered") as known, FakeApi(streaming="offered") as other:
        other.uid = "uid-other"
        for api in (known, other):
            api.put(cep("10.0.0.1"))
        with Alternating(known.url) as proxy:
            proxy.targets = (known.url, other.url)
            with KubeRig(proxy.endpoint, tables=("endpoints",)) as rig:
                rig.until(lambda s: "different clusters answer at one address" in rig.row(s).last_error)
                assert not rig.endpoints()
                proxy.turn(known.url)
                rig.synced()
                other.put(cep("10.0.0.2"))
                known.put(cep("10.0.0.3"))
                rig.until(lambda s: rig.endpoints(s) == {"10.0.0.1": 70_000, "10.0.0.3": 70_000})


def test_a_source_stops_while_a_streamed_list_is_silent():
    with FakeApi(streaming="silent") as api:
        api.put(cep("10.0.0.1"))
        with KubeRig(api.url, tables=("endpoints",), request_timeout_s=600.0) as rig:
            api.wait_for_requests("watch", CEPS, 1)
            rig.source.stop()
            assert rig.source.join(60)


def test_a_cut_resumes_after_the_last_event_of_the_stream():
    with FakeApi(streaming="offered") as api:
        api.put(cep("10.0.0.1"))
        with KubeRig(api.url, tables=("endpoints",)) as rig:
            rig.synced()
            api.put(cep("10.0.0.2"))
            rig.until(lambda s: len(s[Endpoints]) == 2)
            api.put(node("elsewhere"))
            api.cut()
            api.put(cep("10.0.0.3"))
            rig.until(lambda s: len(s[Endpoints]) == 3 and rig.state(s) == "synced")
            assert rig.row().relists == 1
