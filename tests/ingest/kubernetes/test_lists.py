"""Lists that are large, that fall silent or never end; answers that close their connection."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from ingest import KubernetesOptions
from ingest.inbox import Inbox
from ingest.kubernetes import client as client_module
from ingest.kubernetes.client import Client
from ingest.kubernetes.errors import Broken, TooLarge
from ingest.kubernetes.resource_spec import Resource
from statedb.catalog import Endpoints, Nodes

from ..kube_fake import PATHS, FakeApi
from ..kube_rig import KubeRig, cep, node

CEPS, NODES = PATHS["CiliumEndpoint"], PATHS["CiliumNode"]
CEP = Resource("cilium.io", "v2", "ciliumendpoints", (Endpoints,), lambda _: ())


@pytest.mark.parametrize("streaming", ["endless", "silent"])
def test_a_streamed_list_that_does_not_come_is_told_and_asked_for_in_pages(streaming, caplog: pytest.LogCaptureFixture):
    with FakeApi(streaming=streaming) as api:
        api.put(cep("10.0.0.1"))
        options = {"request_timeout_s": 0.3, "watch_timeout_s": 1.0}
        with KubeRig(api.url, tables=("endpoints",), **options) as rig:
            assert rig.endpoints(rig.synced()) == {"10.0.0.1": 70_000}
            told = [record.getMessage() for record in caplog.records if "asking for pages" in record.getMessage()]
            assert len(told) == 1
            assert "watch ciliumendpoints.cilium.io" in told[0]
            api.streaming = "offered"
            lists = api.requests["list", CEPS]
            api.put(node("elsewhere"))
            api.compact()
            api.cut()
            rig.until(lambda s: rig.row(s).relists == 2 and rig.state(s) == "synced")
            assert api.requests["list", CEPS] == lists, "the next list is asked for as a stream again"


def test_one_resource_without_streams_does_not_turn_them_off_for_others():
    with FakeApi(streaming="failing") as api:
        api.put(node("n1"))
        with KubeRig(api.url, tables=("nodes", "endpoints")) as rig:
            rig.synced()
            api.streaming = "offered"
            assert api.requests["list", CEPS] == api.requests["list", NODES] == 1


class Pages:
    """An `Api` that holds objects of some size, and answers with at most so many bytes."""

    def __init__(self, objects: int, size: int) -> None:
        self._values = [
            {"metadata": {"name": f"n{n}", "resourceVersion": "7"}, "padding": "x" * size} for n in range(objects)
        ]
        self.limits: list[int] = []
        self.bytes_max = 0

    def read(self, request: Any, kind: Any, *, bytes_max: int, clock: Callable[[], float]) -> tuple[Any, str | None]:
        parameters: Mapping[str, str] = request.parameters
        limit, start = int(parameters["limit"]), int(parameters.get("continue", "0"))
        self.limits.append(limit)
        metadata = {"resourceVersion": "9"}
        if start + limit < len(self._values):
            metadata["continue"] = str(start + limit)
        page = {"kind": "XList", "metadata": metadata, "items": self._values[start : start + limit]}
        data = json.dumps(page).encode()
        if len(data) > bytes_max:
            raise TooLarge("too large")
        self.bytes_max = max(self.bytes_max, len(data))
        return client_module.msgspec.json.decode(data, type=kind), None


def test_memory_is_bounded_by_bytes_and_not_by_objects(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_module, "_PAGE_BYTES", 100_000)
    api = Pages(objects=100, size=10_000)
    client = Client(api, KubernetesOptions(page_limit=500))  # type: ignore[arg-type]
    names = [item.name for page in client.pages(CEP) for item in page.items]
    assert names == [f"n{n}" for n in range(100)]
    assert api.bytes_max <= 100_000
    assert api.limits[:4] == [500, 62, 7, 7]


def test_an_object_that_is_too_large_by_itself_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_module, "_PAGE_BYTES", 100_000)
    client = Client(Pages(objects=2, size=200_000), KubernetesOptions())  # type: ignore[arg-type]
    with pytest.raises(TooLarge):
        list(client.pages(CEP))


def test_pages_that_lead_in_a_circle_are_no_list(monkeypatch: pytest.MonkeyPatch):
    class Circle(Pages):
        def read(self, request: Any, kind: Any, **options: Any) -> tuple[Any, str | None]:
            page, server = super().read(request, kind, **options)
            page.metadata.token = "1"
            return page, server

    with pytest.raises(Broken, match="does not end"):
        list(Client(Circle(3, 1), KubernetesOptions(page_limit=1)).pages(CEP))  # type: ignore[arg-type]


def test_an_inbox_is_full_by_weight_too():
    inbox: Inbox[int] = Inbox(1000, weight=lambda item: item, weight_max=100)
    assert inbox.put(101)
    blocked = Blocked(lambda: inbox.put(1))
    assert not blocked.done(0.05)
    assert inbox.get(0) == 101
    assert blocked.done(10)
    assert inbox.get(0) == 1


class Blocked:
    """A call on a thread of its own."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._thread = threading.Thread(target=call)
        self._thread.start()

    def done(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()


@pytest.fixture
def closing() -> Iterator[FakeApi]:
    with FakeApi() as fake:
        fake.closes_connections = True
        yield fake


def test_an_answer_that_closes_its_connection_is_followed_and_can_be_cut(closing: FakeApi):
    options = {"request_timeout_s": 0.3, "silence_s": 600.0}
    with KubeRig(closing.url, tables=("endpoints", "nodes"), **options) as rig:
        rig.synced()
        closing.put(cep("10.0.0.1"))
        rig.until(lambda s: len(s[Endpoints]) == 1)
        time.sleep(0.6)  # longer than an answer's head may take, and nothing like the silence that a watch may keep
        closing.put(node("n1"))
        rig.until(lambda s: len(s[Nodes]) == 1)
        assert closing.requests["watch", NODES] == 1 + 1  # the list as a stream, refused, and the watch
        started = time.monotonic()
    assert time.monotonic() - started < 5.0
