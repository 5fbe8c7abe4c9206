"""A controller under chaos: whatever fails, every object ends as desired, and no child is created twice."""

from __future__ import annotations

import random
from typing import Any

import pytest

from consumers import Again, reconcile
from ingest import KubernetesOptions, kubernetes
from ingest.kubernetes.errors import Conflict, Unavailable
from ingest.kubernetes.writing import Writer
from statedb import Database, Snapshot
from statedb.catalog import Object, ObjectKey
from statedb.catalog.objects import Objects
from statedb.testing.kubernetes import ApiServer

from .informing import running, until


class Sets:
    """Each Set has so many ConfigMaps as it wants, numbered. Whoever decides by an old view creates one twice."""

    def __init__(self, server: ApiServer, writer: Writer, children: type[Objects]) -> None:
        self.server = server
        self.writer = writer
        self.children = children
        self.unanswered: set[str] = set()
        """Children whose creation failed on the way: they may be there or not."""
        self.late: set[str] = set()
        self.created_twice: list[str] = []

    def update(self, snapshot: Snapshot, row: Object) -> Again | None:
        children = sorted(snapshot[self.children.by_owner][row.uid], key=lambda child: child.key)
        wanted = row.at("spec", "size")
        if len(children) > wanted:
            last = children[-1].key
            self.writer.delete("configmaps", last)
            return Again(after_s=0.0, view=lambda later: last not in later[self.children])
        if len(children) == wanted:
            self.writer.set_status("sets.example.org", row, {"size": wanted})
            return None
        return Again(
            after_s=0.0, view=kubernetes.seen(self.children, self.create(row, f"{row.key.name}-{len(children)}"))
        )

    def create(self, row: Object, name: str) -> dict[str, Any]:
        owner = self.writer.owner("sets.example.org", row)
        metadata = {"name": name, "namespace": row.key.namespace, "ownerReferences": [owner]}
        value = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        if name.endswith("-1") and name not in self.late:  # the view is late just now
            self.late.add(name)
            self.server.fail("watch", "configmaps", status=503, times=2)
            self.server.end_watches()
        try:
            return self.writer.create(value)
        except Unavailable:
            self.unanswered.add(name)
            raise
        except Conflict:
            if name not in self.unanswered:
                self.created_twice.append(name)
            return self.writer.get("configmaps", ObjectKey("default", row.key.namespace, name))

    def delete(self, snapshot: Snapshot, row: Object) -> None: ...

    def prune(self, snapshot: Snapshot, rows: object) -> None: ...


class Chaos:
    """What happens to the server, at random but the same each time."""

    def __init__(self, server: ApiServer, seed: int) -> None:
        self.server = server
        self.random = random.Random(seed)
        self.sizes: dict[str, int] = {}

    def churn(self, objects: int) -> None:
        name = f"set-{self.random.randrange(objects)}"
        self.sizes[name] = self.random.randrange(4)
        value = {"apiVersion": "example.org/v1", "kind": "Set", "metadata": {"name": name}}
        self.server.apply({**value, "spec": {"size": self.sizes[name]}})

    def fault(self) -> None:
        server, draw = self.server, self.random
        match draw.randrange(7):
            case 0:
                server.stop()
                server.start()
            case 1:
                server.fail("patch", "sets", status=409, times=draw.randrange(1, 4))
            case 2:
                server.fail("create", "configmaps", status=429, times=draw.randrange(1, 4), retry_after_s=0)
            case 3:
                server.fail(status=503, times=draw.randrange(1, 6))
            case 4:
                server.forget_history()
                server.end_watches()
            case 5:
                server.cut()
            case _:
                server.end_watches()

    def is_as_desired(self, snapshot: Snapshot, sets: type[Objects], children: type[Objects]) -> bool:
        rows = {row.key.name: row for row in snapshot[sets].values()}
        return rows.keys() == self.sizes.keys() and all(
            rows[name].at("status", "size", default=-1) == size == len(snapshot[children.by_owner][rows[name].uid])
            for name, size in self.sizes.items()
        )


def definition() -> dict[str, Any]:
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    names = {"plural": "sets", "singular": "set", "kind": "Set"}
    spec = {"group": "example.org", "scope": "Namespaced", "names": names, "versions": [version]}
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return {**kind, "metadata": {"name": "sets.example.org"}, "spec": spec}


def live_through(steps: int, objects: int, seed: int) -> None:
    with ApiServer() as server:
        server.create(definition())
        options = KubernetesOptions(server=server.url, retry_min_s=0.01, retry_max_s=0.05)
        db = Database()
        source = kubernetes.resources(db, "sets.example.org", "configmaps", options=options)
        sets, children = source.tables
        chaos = Chaos(server, seed)
        with kubernetes.writer("sets", options) as writer, running(source):
            controller = Sets(server, writer, children)
            also = {children: kubernetes.owners_of("Set")}
            with reconcile(db, sets, controller, name="sets", workers=4, also=also, retry_min_s=0.01, retry_max_s=0.1):
                for step in range(steps):
                    chaos.churn(objects)
                    if step % 5 == 0:
                        chaos.fault()
                    if step % 50 == 49:  # let it catch up now and then, or nothing but the end is ever looked at
                        until(db, lambda snapshot: chaos.is_as_desired(snapshot, sets, children))
                until(db, lambda snapshot: chaos.is_as_desired(snapshot, sets, children))
        owned = [each["metadata"]["ownerReferences"][0]["name"] for each in server.list("configmaps")]
        assert {name: owned.count(name) for name in chaos.sizes} == chaos.sizes
        assert controller.created_twice == []


def test_a_controller_under_chaos():
    live_through(steps=100, objects=12, seed=1)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(3))
def test_a_controller_under_chaos_for_long(seed: int):
    live_through(steps=5_000, objects=300, seed=seed)
