"""What stands in the etcd of a cache, by cluster, and under which leases. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from catalog.wire import WireError, cluster_configs, keys

KINDS = (
    keys.state_to_cache(keys.NODES),
    keys.state_to_cache(keys.SERVICES),
    keys.state_to_cache(keys.ENDPOINT_SLICES),
    keys.state_to_cache(keys.SERVICE_EXPORTS),
    keys.CACHED_IDENTITIES,
    keys.CACHED_IPS,
)
"""The prefixes of a cache; a cluster's name follows."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A value and its lease."""

    value: bytes
    lease: int


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


class Held:
    """By cluster, then by key.

    >>> held = Held(); held.put("c2", "cilium/cache/ip/v1/c2/10.0.0.1", b"x", 7)
    >>> held.clusters(), held.keys_of(7), held.drop_lease(7), held.clusters()
    (['c2'], 1, [('c2', 'cilium/cache/ip/v1/c2/10.0.0.1')], [])
    """

    def __init__(self) -> None:
        """Nothing."""
        self._clusters: dict[str, dict[str, Entry]] = {}
        self._leases: Counter[int] = Counter()

    def __len__(self) -> int:
        """How many keys; from any thread."""
        return sum(list(self._leases.values()))

    def clusters(self) -> list[str]:
        """Those that have a key; from any thread."""
        return list(self._clusters)

    def leases(self) -> list[int]:
        """Those that have a key; from any thread."""
        return [lease for lease in list(self._leases) if lease]

    def keys_of(self, lease: int) -> int:
        """How many keys a lease has."""
        return self._leases[lease]

    def get(self, cluster: str, name: str) -> Entry | None:
        """What stands there."""
        return self._clusters.get(cluster, {}).get(name)

    def names(self, cluster: str) -> Iterable[str]:
        """The keys of a cluster."""
        return self._clusters.get(cluster, {}).keys()

    def put(self, cluster: str, name: str, value: bytes, lease: int) -> None:
        """It was written."""
        self.drop(cluster, name)
        self._clusters.setdefault(cluster, {})[name] = Entry(value, lease)
        self._leases[lease] += 1

    def drop(self, cluster: str, name: str) -> None:
        """It was deleted, if it was there."""
        names = self._clusters.get(cluster, {})
        entry = names.pop(name, None)
        if entry is None:
            return
        if not names:
            del self._clusters[cluster]
        self._leases[entry.lease] -= 1
        if not self._leases[entry.lease]:
            del self._leases[entry.lease]

    def drop_lease(self, lease: int) -> list[tuple[str, str]]:
        """A lease has ended: what went with it."""
        gone = [
            (cluster, name)
            for cluster, names in self._clusters.items()
            for name, entry in names.items()
            if entry.lease == lease
        ]
        for cluster, name in gone:
            self.drop(cluster, name)
        return gone
