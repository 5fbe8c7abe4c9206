"""Whole endpoint slices, for those who publish them: only in a database that has the table."""

from __future__ import annotations

import json
from pathlib import Path

from ingest import KubernetesOptions, ManifestsOptions, Source
from ingest.kubernetes import open as open_kubernetes
from ingest.manifests import open as open_manifests
from statedb import Database
from statedb.catalog import TABLES, Backends, EndpointSliceKey, EndpointSlices, SourceKey, Sources
from statedb.catalog.wire import endpoint_slices as wire

from .kube_fake import FakeApi
from .kube_rig import endpoint_slice, service

WAIT_S = 60.0
KEY = EndpointSliceKey("c", "default", "web-1")


def names(db: Database) -> list[str]:
    return [key.name for key in db.snapshot()[EndpointSlices]]


def until(db: Database, wanted: list[str]) -> None:
    while True:
        view = db.snapshot()[EndpointSlices]
        if [key.name for key in view] == wanted:
            return
        assert view.watch().wait(WAIT_S), (names(db), wanted)


def test_slices_come_and_go_with_their_service():
    db = Database(*TABLES, EndpointSlices)
    with FakeApi() as api:
        api.put(service("web"))
        api.put(endpoint_slice("web-1", "web", ["10.0.0.1"]))
        api.put(endpoint_slice("lone-1", "lone", ["10.0.0.9"]))
        source: Source = open_kubernetes(db, "c", 1, KubernetesOptions(server=api.url, retry_min_s=0.02))
        source.start()
        try:
            assert EndpointSlices in source.tables
            assert db.wait_initialized(EndpointSlices, Backends, timeout=WAIT_S)
            assert names(db) == ["web-1"]
            while (view := db.snapshot()[Sources])[SourceKey("c", "endpointslices")].state != "synced":
                assert view.watch().wait(WAIT_S)
            not_ready = {"addresses": ["10.0.0.2"], "conditions": {"ready": False, "serving": False}, "nodeName": "n"}
            api.put({**endpoint_slice("web-2", "web", []), "endpoints": [not_ready]})
            until(db, ["web-1", "web-2"])
            copy = db.snapshot()[EndpointSlices][EndpointSliceKey("c", "default", "web-2")]
            (found,) = wire.read(wire.compressed(copy.message)).endpoints
            assert (found.addresses, found.node, found.conditions.ready) == (("10.0.0.2",), "n", False)
            assert [row.ready for row in db.snapshot()[Backends].values()] == [True, False]
            api.remove(endpoint_slice("web-1", "web", []))
            until(db, ["web-2"])
            api.remove(service("web"))
            until(db, [])
            api.put(service("lone"))
            until(db, ["lone-1"])
        finally:
            source.stop()
            assert source.join(10)


def test_both_sources_give_the_same_and_nobody_else_has_them(tmp_path: Path):
    objects = [service("web"), endpoint_slice("web-1", "web", ["10.0.0.1", "10.0.0.2"])]
    for number, value in enumerate(objects):
        (tmp_path / f"{number}.json").write_text(json.dumps(value))
    with FakeApi() as api:
        for value in objects:
            api.put(value)
        rows = []
        for more in ((EndpointSlices,), ()):
            for opened, options in (
                (open_manifests, ManifestsOptions(directory=str(tmp_path))),
                (open_kubernetes, KubernetesOptions(server=api.url)),
            ):
                db = Database(*TABLES, *more)
                source = opened(db, "c", 1, options)  # type: ignore[operator]
                source.start()
                try:
                    assert db.wait_initialized(*source.tables, timeout=WAIT_S)
                    assert (EndpointSlices in source.tables) == bool(more)
                    if more:
                        rows.append(db.snapshot()[EndpointSlices][KEY])
                finally:
                    source.stop()
                    assert source.join(10)
        assert rows[0] == rows[1]
        assert wire.read(wire.compressed(rows[0].message)).name == "web-1"
