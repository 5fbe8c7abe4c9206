"""What costs only itself: bytes that are no UTF-8, objects without a name, absurd numbers, a user's function."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from ingest import KubernetesOptions, kubernetes
from ingest.kubernetes.lineage import Lineage
from ingest.kubernetes.refusals import refusal
from ingest.kubernetes.request import Request
from statedb import Database, Table, UniqueIndex
from statedb.catalog import Endpoints, Rejected, Sources

from ..kube_fake import PATHS, FakeApi
from ..kube_rig import KubeRig, cep, node
from ..kvstore_rig import Deletions

CEPS = PATHS["CiliumEndpoint"]
BAD = "BADBYTE"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as fake:
        fake.garbled = (BAD.encode(), b"\xd0")
        yield fake


def in_a_label(value: dict[str, Any]) -> None:
    value["status"]["identity"]["labels"] = [f"k8s:a={BAD}"]


def in_the_name(value: dict[str, Any]) -> None:
    value["metadata"]["name"] = f"pod-{BAD}"


def in_an_annotation(value: dict[str, Any]) -> None:
    value["metadata"]["annotations"] = {"note": BAD}


@pytest.mark.parametrize("spoil", [in_a_label, in_the_name, in_an_annotation])
@pytest.mark.parametrize("streaming", ["refused", "offered"])
def test_bytes_that_are_no_text_are_read_as_go_reads_them(api: FakeApi, spoil: Callable[[Any], None], streaming):
    api.streaming = streaming
    value = cep("10.0.0.1")
    spoil(value)
    api.put(value)
    with KubeRig(api.url, tables=("endpoints",)) as rig:
        rig.synced()
        other = cep("10.0.0.2")
        spoil(other)
        api.put(other)
        api.put(cep("10.0.0.3"))
        rig.until(lambda s: "10.0.0.3" in rig.endpoints(s))
        assert {"10.0.0.2", "10.0.0.3"} <= rig.endpoints(rig.db.snapshot()).keys()
        assert rig.source.failure is None
        assert api.requests["list", CEPS] <= 1
        assert not rig.db.snapshot()[Rejected]


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"Status","message":"\xe9chec","code":503}',
        b'{"kind":"Status","message":["a"],"details":{"retryAfterSeconds":"x"}}',
        b"\xff\xfe",
        b"[" * 50_000,
        b"",
    ],
)
def test_an_error_page_is_an_outage_whatever_it_holds(api: FakeApi, body: bytes):
    with KubeRig(api.url, tables=("endpoints",)) as rig:
        rig.synced()
        api.fail("watch", CEPS, status=503, body=body)
        api.cut()
        api.put(cep("10.0.0.1"))
        rig.until(lambda s: len(s[Endpoints]) == 1 and rig.state(s) == "synced")


@pytest.mark.parametrize(
    "header", ["9" * 400, "-5", "1e400", "Wed, 99 Foo 2026", "Fri, 31 Dec 9999 23:59:59 -2359", ""]
)
def test_an_absurd_wish_to_be_left_alone_is_bounded(header: str):
    error = refusal(Request("list", "nodes", "/"), 429, b"", header)
    assert error.retry_after_s is None or 0 <= error.retry_after_s <= 3600


def test_an_absurd_version_says_nothing_about_history():
    lineage = Lineage()
    lineage.begin("uid", "9" * 5000)
    assert lineage.difference("uid", "8" * 5000) == ""
    lineage.observe("7" * 5000)
    lineage.begin("uid", "100")
    assert lineage.difference("uid", "99") != ""


def test_objects_without_a_name_make_a_list_doubtful_and_nothing_else(api: FakeApi):
    """The object that is missing may be the one that cannot be told apart."""
    api.put(cep("10.0.0.1"))
    api.put(cep("10.0.0.2"))
    with KubeRig(api.url, tables=("endpoints",)) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        api.garbled = (b'"name": "pod-10.0.0.2"', b'"name": 5')
        api.put(cep("10.0.0.3"))
        rig.until(lambda s: "10.0.0.3" in rig.endpoints(s))
        api.put(node("elsewhere"))
        api.compact()
        api.cut()
        snapshot = rig.until(lambda s: "metadata" in rig.row(s).last_error and len(s[Rejected]) == 1)
        assert rig.state(snapshot) == "stale"
        assert len(snapshot[Endpoints]) == 3
        assert deletions.now() == set()
        api.garbled = None
        api.put(node("elsewhere"))
        api.compact()
        api.cut()
        rig.until(lambda s: rig.state(s) == "synced" and not s[Rejected] and len(s[Endpoints]) == 3)
        assert deletions.now() == set()


class Thing(msgspec.Struct, frozen=True):
    name: Any
    value: str


class Things(Table[str, Thing], name="things"):
    primary = UniqueIndex[str, Thing](lambda thing: thing.name)


def nested(depth: int) -> Thing:
    return nested(depth + 1)


def decode(value: bytes) -> Any:
    name = json.loads(value)["metadata"]["name"]
    odd: dict[str, Any] = {
        "none": None,
        "number": 5,
        "strings": ["x"],
        "unhashable": [Thing(["a", "list"], "")],
        "other-rows": [("name", "value")],
        "raises": iter(lambda: 1 / 0, None),
        "exits": iter(sys.exit, None),
        "deep": (nested(place) for place in range(1)),
    }
    return odd[name] if name in odd else [Thing(name, "good")]


def test_what_a_users_function_does_wrong_costs_only_the_object(api: FakeApi):
    for name in ("first", "none", "number", "strings", "unhashable", "other-rows", "raises", "exits", "deep", "last"):
        api.put(node(name))
    db = Database(Things, Sources, Rejected)
    options = KubernetesOptions(server=api.url, retry_min_s=0.02)
    source = kubernetes.source(db, "cilium.io", "v2", "ciliumnodes", decode, Things, options)
    source.start()
    try:
        assert db.wait_initialized(Things, timeout=20)
        until = time.monotonic() + 20
        while len(db.snapshot()[Rejected]) < 8 and time.monotonic() < until:
            db.snapshot()[Rejected].watch().wait(timeout=1)
        snapshot = db.snapshot()
        assert [row.key.object for row in snapshot[Rejected].values()] == [
            f"ciliumnodes/{name}"
            for name in ("deep", "exits", "none", "number", "other-rows", "raises", "strings", "unhashable")
        ]
        assert sorted(snapshot[Things]) == ["first", "last"]
        assert source.failure is None
    finally:
        source.stop()
        assert source.join(10)
