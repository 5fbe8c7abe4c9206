"""The real clustermesh-apiserver and our publisher on one API server: every key and value, byte by byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ..apiserver.server import ApiServer
from . import objects
from .comparing import DIFFERS, raw, require_equal, table
from .conftest import Etcds, Published, Say
from .kubernetes import put_all, remove_all
from .peers import ClusterMesh
from .publishing import Ours

VARIANTS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "511 clusters": (["--max-connected-clusters=511"], {"cluster_id": 300, "max_connected_clusters": 511}),
    "endpoint slices only": (["--clustermesh-service-v2=only-endpointslice"], {"export": "endpointslices-only"}),
    "namespaces are not global": (
        ["--clustermesh-default-global-namespace=false"],
        {"default_global_namespace": False},
    ),
    "CiliumEndpointSlices": (["--enable-cilium-endpoint-slice"], {"slices": True}),
}


def both(server: ApiServer, etcds: Etcds, directory: Path, *more: str, **options: Any) -> tuple[int, set[str]]:
    """Start both writers on what is there, and compare: how many keys, and the names of the differences seen."""
    real, ours = etcds(), etcds()
    whose = {name: options[name] for name in ("cluster", "cluster_id") if name in options}
    with ClusterMesh(directory / "real", server, real, *more, **whose) as peer, Ours(server, ours, **options) as writer:
        peer.wait_ready()
        writer.wait_ready()
        return require_equal(real, ours)


def test_the_example_cluster(server: ApiServer, etcds: Etcds, tmp_path: Path, say: Say):
    found = objects.example()
    put_all(server, found)
    keys, _ = both(server, etcds, tmp_path)
    remove_all(server, found)
    say(f"the example cluster: {keys} keys compared")


def test_odd_objects(published: Published, say: Say):
    keys, seen = require_equal(published.real, published.ours)
    always = {line["name"] for line in table() if not line.get("sometimes")}
    of_slices = {name for case in objects.CILIUM_SLICES.values() for name in case.differs.values()}
    assert seen & always == set(DIFFERS.values()) & always | of_slices
    say(f"odd objects: {keys} keys compared; {len(seen)} kinds of differences, as differences.yaml says")


def test_what_differs_only_sometimes_is_what_the_table_says(published: Published):
    real, ours = raw(published.real), raw(published.ours)
    key = "cilium/state/endpointslices/v1/cluster3/odd/usual-a"
    assert real[key] != ours[key]  # held() compares the messages
    labels = "cilium/state/identities/v1/id/196618"
    assert real[labels].split(b";")[0] in (b"container:a=1", b"k8s:a=1")
    assert ours[labels].split(b";")[0] == b"k8s:a=1"
    address = "cilium/state/ip/v1/default/10.3.0.30"
    assert json.loads(real[address])["K8sPodName"] in ("first", "second")
    assert json.loads(ours[address])["K8sPodName"] == "first"
    backends = [
        json.loads(value["cilium/state/services/v1/cluster3/odd/doubled"])["backends"] for value in (real, ours)
    ]
    assert backends[0]["10.5.0.30"]["http"]["Port"] in (8080, 9090)
    assert backends[1]["10.5.0.30"]["http"]["Port"] == 8080


@pytest.mark.parametrize("variant", VARIANTS)
def test_odd_objects_with_other_options(variant: str, odd: ApiServer, etcds: Etcds, tmp_path: Path, say: Say):
    more, options = VARIANTS[variant]
    keys, _ = both(odd, etcds, tmp_path, *more, **options)
    say(f"odd objects, {variant}: {keys} keys compared")


def test_the_table_is_short_and_gives_reasons():
    lines = table()
    assert len(lines) <= 15
    assert {line["why"] for line in lines} <= {"real is wrong", "same meaning"}
    assert all(line["reason"] for line in lines)
    assert set(DIFFERS.values()) <= {line["name"] for line in lines}


def test_the_page_shows_the_table():
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    for line in table():
        for field in ("name", "real", "ours", "why", "reason"):
            assert line[field] in page, line["name"]
