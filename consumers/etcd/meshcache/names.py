"""The keys of a cache: whose they are, and in which order they are written. Pure."""

from __future__ import annotations

from statedb.catalog.wire import WireError, cluster_configs, keys

KINDS = (
    keys.state_to_cache(keys.NODES),
    keys.state_to_cache(keys.SERVICES),
    keys.state_to_cache(keys.ENDPOINT_SLICES),
    keys.state_to_cache(keys.SERVICE_EXPORTS),
    keys.CACHED_IDENTITIES,
    keys.CACHED_IPS,
)
"""The prefixes of a cache; a cluster's name follows."""


def config_name(cluster: str) -> str:
    """Where a cluster says who it is."""
    return keys.join(keys.CLUSTER_CONFIG, cluster)


def canaries(cluster: str) -> tuple[str, ...]:
    """The keys that tell that all of a cluster is there."""
    return tuple(keys.synced(cluster, kind) for kind in KINDS)


def is_config(name: str) -> bool:
    """Whether a key is what a cluster says of itself."""
    return name.startswith(keys.CLUSTER_CONFIG + "/")


def is_canary(name: str) -> bool:
    """Whether a key tells that all of a prefix is there."""
    return name.startswith(keys.SYNCED + "/")


def rank(name: str) -> int:
    """In which order keys that change together are written: who it is, all of it, that it is all."""
    return 0 if is_config(name) else 2 if is_canary(name) else 1


def cluster_of(name: str) -> str:
    """The cluster in a key of a cache: a config, a canary, or data."""
    parts = name.split("/")
    return parts[4] if name.startswith(keys.CACHE + "/") else parts[2]


def owner(name: str, value: bytes) -> str:
    """The cluster whose copy a key is; empty where it is none: another may write into the same etcd.

    >>> owner("cilium/cache/nodes/v1/c2/n", b""), owner("cilium/synced/c2/cilium/state/nodes/v1", b"")
    ('c2', '')
    """
    parts = name.split("/")
    if name.startswith(keys.CACHE + "/"):
        return parts[4] if len(parts) > 5 else ""
    if is_canary(name):
        return parts[2] if parts[3:5] == keys.CACHE.split("/") else ""
    if is_config(name) and len(parts) == 3:
        try:
            return parts[2] if cluster_configs.decode(value).cached else ""
        except WireError:
            return ""
    return ""
