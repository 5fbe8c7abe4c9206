"""Whether a table has caught up with what was written: for who must see his own write before he goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from statedb import Database
from statedb.catalog.objects import ObjectKey, Objects


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
    metadata = written["metadata"]
    key = ObjectKey(cluster, metadata.get("namespace", ""), metadata["name"])
    wanted = int(metadata["resourceVersion"])
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        view = db.snapshot()[table]
        row = view.get(key)
        if row is not None and int(row.version) >= wanted:
            return True
        watch = view.watch(key)
        del view
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return False
        watch.wait(left)
