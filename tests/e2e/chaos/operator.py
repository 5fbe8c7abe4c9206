"""The operator: a Set has as many ConfigMaps as it wants, each with its text. ``python -m tests.e2e.chaos.operator``.

It works while it holds the Lease, and ends when it no longer does, as controllers on client-go do.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from consumers import Again, reconcile
from ingest import KubernetesOptions, kubernetes
from ingest.kubernetes.election import Election
from ingest.kubernetes.writing import Writer
from statedb import Database, Snapshot
from statedb.catalog import Object

RESOURCE = "sets.chaos.example.org"
AGAIN = "to be created again:"
"""What an operator says of a child that it has created already."""


class NotLeading(Exception):
    """Another process may lead already."""


class Sets:
    """What is done for a Set, one step at a time: after each one the view must have it before the next is decided."""

    def __init__(self, writer: Writer, election: Election, children: Any) -> None:
        self.writer = writer
        self.election = election
        self.children = children
        self.created: set[str] = set()

    def update(self, snapshot: Snapshot, row: Object) -> Again | None:
        spec = row.at("spec")
        held = {child.key.name: child for child in snapshot[self.children.by_owner][row.uid]}
        for number in range(spec["size"]):
            name = f"{row.key.name}-{number}"
            if name not in held:
                return self.written(self.create(self.child(row, name, spec["text"])))
            if held[name].at("data", "text") != spec["text"]:
                data = {"data": {"text": spec["text"]}}
                return self.written(self.leading().patch("configmaps", held[name], data))
        if row.at("status") != spec:
            self.leading().set_status(RESOURCE, row, spec)
        return None

    def create(self, value: dict[str, Any]) -> dict[str, Any]:
        name = value["metadata"]["name"]
        if name in self.created:  # the server said that it is there: this was decided by a view from before that
            print(f"{AGAIN} {name}", flush=True)
        created = self.leading().create(value)
        self.created.add(name)
        return created

    def leading(self) -> Writer:
        if not self.election.leads:
            raise NotLeading
        return self.writer

    def written(self, value: dict[str, Any]) -> Again:
        return Again(after_s=0.0, view=kubernetes.seen(self.children, value))

    def child(self, row: Object, name: str, text: str) -> dict[str, Any]:
        metadata = {
            "name": name,
            "namespace": row.key.namespace,
            "ownerReferences": [self.writer.owner(RESOURCE, row)],
        }
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": text}}

    def delete(self, snapshot: Snapshot, row: Object) -> None: ...

    def prune(self, snapshot: Snapshot, rows: object) -> None: ...


def main(url: str, identity: str, lease_s: float) -> None:
    options = KubernetesOptions(server=url, retry_min_s=0.05, retry_max_s=1.0, request_timeout_s=lease_s / 3)
    db = Database()
    source = kubernetes.resources(db, RESOURCE, "configmaps", options=options)
    sets, children = source.tables
    writer = kubernetes.writer("chaos", options)
    times = {"lease_s": lease_s, "renew_s": lease_s * 0.6, "retry_s": lease_s * 0.1}
    with Election(writer, "default", "chaos", identity=identity, **times) as election:
        source.start()
        db.wait_initialized(sets, children)
        election.wait()
        operations, pause = Sets(writer, election, children), threading.Event()
        also = {children: kubernetes.owners_of("Set")}
        with reconcile(db, sets, operations, name="chaos", workers=4, also=also, retry_min_s=0.05, retry_max_s=1.0):
            while election.leads:
                pause.wait(0.05)
            os._exit(3)  # at once: what another leader does already must not be mixed with what is under way here


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
