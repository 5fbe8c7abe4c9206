"""The keys of a cache: the cluster that each belongs to, and the order of writes. Pure."""

from __future__ import annotations

import msgspec

from statedb.catalog.wire import WireError, cluster_configs, keys

KINDS = (
    keys.state_to_cache(keys.NODES),
    keys.state_to_cache(keys.SERVICES),
    keys.state_to_cache(keys.ENDPOINT_SLICES),
    keys.state_to_cache(keys.SERVICE_EXPORTS),
    keys.CACHED_IDENTITIES,
    keys.CACHED_IPS,
)
"""The prefixes of a cache. The name of a cluster follows."""

_IN_STATE = {keys.state_to_cache(kind): kind for kind in (keys.SERVICES, keys.ENDPOINT_SLICES, keys.SERVICE_EXPORTS)}

_CONFIGS = f"{keys.CLUSTER_CONFIG}/"
_CANARIES = f"{keys.SYNCED}/"
_CACHE = f"{keys.CACHE}/"


def config_name(cluster: str) -> str:
    """The key of a cluster's config."""
    return keys.join(keys.CLUSTER_CONFIG, cluster)


def canaries(cluster: str) -> tuple[str, ...]:
    """The canaries of a cluster: keys that tell that its copy is complete."""
    return tuple(keys.synced(cluster, kind) for kind in KINDS)


def announced(config: bytes) -> frozenset[str]:
    """The prefixes of a cache that a cluster config announces. Empty if it cannot be decoded.

    >>> keys.state_to_cache(keys.ENDPOINT_SLICES) in announced(b'{"id":3,"capabilities":{}}')
    False
    """
    try:
        decoded = cluster_configs.decode(config)
    except WireError:
        return frozenset()
    return frozenset([kind for kind in KINDS if cluster_configs.announces(decoded, _IN_STATE.get(kind, kind))])


def is_config(name: str) -> bool:
    """Whether a key is a cluster config."""
    return name.startswith(_CONFIGS)


def is_canary(name: str) -> bool:
    """Whether a key is a canary, which tells that a prefix is complete."""
    return name.startswith(_CANARIES)


def rank(name: str) -> int:
    """The order in which keys that change together are written: configs, data, canaries."""
    return 0 if name.startswith(_CONFIGS) else 2 if name.startswith(_CANARIES) else 1


def cluster_of(name: str) -> str:
    """The cluster in a key of a cache: a config, a canary, or data."""
    parts = name.split("/")
    return parts[4] if name.startswith(_CACHE) else parts[2]


def cached_config(value: bytes) -> bytes:
    """The config of a cluster in the form that a cache publishes."""
    config = cluster_configs.decode(value)
    return cluster_configs.encode(msgspec.structs.replace(config, synced_canaries=True, cached=True))


def owner(name: str, value: bytes) -> str:
    """The cluster that a key is a copy of. Empty if it is not a copy, because others may write to the same etcd.

    >>> owner("cilium/cache/nodes/v1/c2/n", b""), owner("cilium/synced/c2/cilium/state/nodes/v1", b"")
    ('c2', '')
    """
    parts = name.split("/")
    if name.startswith(_CACHE):
        return parts[4] if len(parts) > 5 else ""
    if is_canary(name):
        return parts[2] if parts[3:5] == keys.CACHE.split("/") else ""
    if is_config(name) and len(parts) == 3:
        try:
            return parts[2] if cluster_configs.decode(value).cached else ""
        except WireError:
            return ""
    return ""
