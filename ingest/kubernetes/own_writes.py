"""Waits until a table has caught up with a write of your own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from statedb import Database, Snapshot, Table
from statedb.catalog.objects import ObjectHead, ObjectKey

H = TypeVar("H", bound=ObjectHead)


def wait_seen(
    db: Database,
    table: type[Table[ObjectKey, H]],
    written: Mapping[str, Any],
    *,
    cluster: str = "default",
    timeout: float | None = None,
) -> bool:
    """Wait until the row of an object is at least as new as ``written``, the result of a `Writer`.

    False if that takes longer than ``timeout`` seconds: the source may be stale, the object may not be in its scope, or
    it was deleted before its row was written. Versions are compared as numbers; Kubernetes guarantees this since
    1.35, and it has always been so with etcd (KEP-5504).
    """
    is_seen = seen(table, written, cluster=cluster)
    key, _ = _place(written, cluster)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        snapshot = db.snapshot()
        if is_seen(snapshot):
            return True
        watch = snapshot[table].watch(key)
        del snapshot
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return False
        watch.wait(left)


def seen(
    table: type[Table[ObjectKey, H]], written: Mapping[str, Any], *, cluster: str = "default"
) -> Callable[[Snapshot], bool]:
    """A function that tells whether a snapshot has an object at least as new as ``written``.

    It is meant for `consumers.Again`: an operation that returns ``Again(view=seen(pods, written))`` is called again for
    its object only after that.
    """
    key, wanted = _place(written, cluster)

    def is_seen(snapshot: Snapshot) -> bool:
        row = snapshot[table].get(key)
        return row is not None and int(row.version) >= wanted

    return is_seen


def owners_of(kind: str) -> Callable[[Snapshot, ObjectHead], list[ObjectKey]]:
    """A function from a row to the keys of its owners of this kind, for ``also`` of `consumers.reconcile`.

    With ``also={pods: owners_of("Website")}`` a Website is reconciled again when one of its pods changes.
    """

    def owners(_: Snapshot, row: ObjectHead) -> list[ObjectKey]:
        key = row.key
        return [ObjectKey(key.cluster, key.namespace, owner.name) for owner in row.owners if owner.kind == kind]

    return owners


def _place(written: Mapping[str, Any], cluster: str) -> tuple[ObjectKey, int]:
    metadata = written["metadata"]
    return ObjectKey(cluster, metadata.get("namespace", ""), metadata["name"]), int(metadata["resourceVersion"])
