"""What tests of any resource need: sources that run, waiting by watches, and objects of a real API server."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ingest import KubernetesOptions, Source
from statedb import Database, Snapshot
from statedb.catalog import SourceKey, SourceRow, Sources

from ...apiserver.rest import Refused, Rest, eventually
from ...apiserver.server import ADMIN, ApiServer

Json = dict[str, Any]


def options(server: ApiServer, user: str = ADMIN, **more: Any) -> KubernetesOptions:
    values = {"retry_min_s": 0.02, "retry_max_s": 0.2, **more}
    return KubernetesOptions(kubeconfig=str(server.kubeconfig(user)), **values)


@contextmanager
def running(*sources: Source) -> Iterator[None]:
    for source in sources:
        source.start()
    try:
        yield
    finally:
        for source in sources:
            source.stop()
        for source in sources:
            assert source.join(20)
            assert source.failure is None


def until(db: Database, condition: Callable[[Snapshot], object], timeout_s: float = 40.0) -> Snapshot:
    """The first snapshot in which that is so."""
    with db.changes(*db.tables) as stream:
        while not condition(snapshot := db.snapshot()):
            assert stream.next(timeout=timeout_s) is not None, list(snapshot[Sources].values())
    return snapshot


def state(snapshot: Snapshot, table: str, cluster: str = "default") -> SourceRow:
    return snapshot[Sources][SourceKey(cluster, table)]


def new_namespace(server: ApiServer) -> str:
    """A namespace that no other test has."""
    name = f"test-{secrets.token_hex(4)}"
    server.create_namespace(name)
    return name


def config_map(name: str, *, data: Json | None = None, **metadata: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {}}


def pod(name: str, node: str = "", **metadata: Any) -> Json:
    spec: Json = {"containers": [{"name": "main", "image": "web:1"}, {"name": "side", "image": "side:2"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {**spec, **({"nodeName": node} if node else {})},
    }


def at(namespace: str, plural: str = "configmaps") -> str:
    return f"/api/v1/namespaces/{namespace}/{plural}"


def widgets_crd(group: str, versions: tuple[str, ...] = ("v1",)) -> Json:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wi"]},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == versions[0],
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
                for version in versions
            ],
        },
    }


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def create_served(rest: Rest, path: str, what: Json) -> Json:
    """Create an object of a resource that may not be served yet."""
    created: Json = eventually(lambda: rest.create(path, what), unless=Refused)
    return created
