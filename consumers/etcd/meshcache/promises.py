"""What the canaries of a cluster promise together with its config: that the cache has all keys of a prefix. Pure.

The canary of a prefix that is not announced says only that there is nothing to read. A config that announces the
prefix turns it into a promise.
"""

from __future__ import annotations

from statedb import Snapshot
from statedb.catalog import Mirror
from statedb.catalog.wire import keys

from ..present import Present
from .names import announced, cached_config, cluster_of, owner


def unproven_canaries(config: str, value: bytes, present: Present, snapshot: Snapshot) -> list[str]:
    """The canaries in the etcd that may be false once this config has the value.

    Those of a prefix that the present config announces stay, if we wrote it: it makes the same promise, and the keys
    are still served. Those of another prefix stay if the mirror of this config is complete and its keys are there.
    """
    entry, cluster = present.get(config), cluster_of(config)
    before = announced(entry.value) if entry is not None and owner(config, entry.value) else frozenset[str]()
    canaries = {kind: keys.synced(cluster, kind) for kind in announced(value) - before}
    found = {kind: canary for kind, canary in canaries.items() if canary in present}
    if not found:
        return []
    rows = {row.key.name: row.value for row in snapshot[Mirror.by_cluster][cluster]}
    if config not in rows or cached_config(rows[config]) != value:  # the mirror is that of another config by now
        return list(found.values())
    differing = [name for name in rows if not _is_there(name, rows[name], present)]
    return [
        canary
        for kind, canary in found.items()
        if canary not in rows or any(name.startswith(f"{kind}/") for name in differing)
    ]


def _is_there(name: str, value: bytes, present: Present) -> bool:
    entry = present.get(name)
    return entry is not None and entry.value == value
