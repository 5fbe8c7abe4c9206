"""The real clustermesh-apiserver and our publisher on one API server: every key and value, byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.etcd.local import LocalEtcd

from ..apiserver.server import ApiServer
from . import objects
from .comparing import DIFFERS, require_equal, say, table
from .conftest import Published
from .kubernetes import put_all, remove_all
from .peers import ClusterMesh
from .publishing import Ours

Etcds = Callable[[], LocalEtcd]
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


def test_the_example_cluster(server: ApiServer, etcds: Etcds, tmp_path: Path):
    found = objects.example()
    put_all(server, found)
    keys, _ = both(server, etcds, tmp_path)
    remove_all(server, found)
    say(f"the example cluster: {keys} keys compared")


def test_odd_objects(published: Published):
    keys, seen = require_equal(published.real, published.ours)
    of_slices = {name for case in objects.CILIUM_SLICES.values() for name in case.differs.values()}
    assert seen == set(DIFFERS.values()) - of_slices
    say(f"odd objects: {keys} keys compared; {len(seen)} kinds of differences, as differences.yaml says")


@pytest.mark.parametrize("variant", VARIANTS)
def test_odd_objects_with_other_options(variant: str, odd: ApiServer, etcds: Etcds, tmp_path: Path):
    more, options = VARIANTS[variant]
    keys, _ = both(odd, etcds, tmp_path, *more, **options)
    say(f"odd objects, {variant}: {keys} keys compared")


def test_the_table_is_short_and_gives_reasons():
    lines = table()
    assert len(lines) <= 15
    assert {line["why"] for line in lines} <= {"real is wrong", "same meaning"}
    assert all(line["reason"] for line in lines)
    assert set(DIFFERS.values()) <= {line["name"] for line in lines}
