"""Whether a table has caught up with what was written: for who must see his own write before he goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from statedb import Database, Snapshot
from statedb.catalog.objects import Object, ObjectKey, Objects


def wait_seen(
    db: Database,
    table: type[Objects],
    written: Mapping[str, Any],
    *,
    cluster: str = "default",
    timeout: float | None = None,
) -> bool:
    """Wait until the row of an object is as new as ``written``, which is what a `Writer` gave, or newer.

    False when ``timeout`` seconds are over before: the source may be stale, the object may be outside of its scope, or
    gone again before its row was there. Versions are compared as numbers, as Kubernetes promises since 1.35 and etcd
    has always kept it (KEP-5504).
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


def seen(table: type[Objects], written: Mapping[str, Any], *, cluster: str = "default") -> Callable[[Snapshot], bool]:
    """Whether a snapshot has an object as new as ``written``, or newer: the view of `consumers.Again`.

    An operation that answers ``Again(view=seen(pods, written))`` is not called again for its object before that.
    """
    key, wanted = _place(written, cluster)

    def is_seen(snapshot: Snapshot) -> bool:
        row = snapshot[table].get(key)
        return row is not None and int(row.version) >= wanted

    return is_seen


def owners_of(kind: str) -> Callable[[Snapshot, Object], list[ObjectKey]]:
    """The keys of the objects of this kind that own a row: for ``also`` of `consumers.reconcile`.

    ``also={pods: owners_of("Website")}`` has a Website done again when one of its pods changes.
    """

    def owners(_: Snapshot, row: Object) -> list[ObjectKey]:
        key = row.key
        return [ObjectKey(key.cluster, key.namespace, owner.name) for owner in row.owners if owner.kind == kind]

    return owners


def _place(written: Mapping[str, Any], cluster: str) -> tuple[ObjectKey, int]:
    metadata = written["metadata"]
    return ObjectKey(cluster, metadata.get("namespace", ""), metadata["name"]), int(metadata["resourceVersion"])
