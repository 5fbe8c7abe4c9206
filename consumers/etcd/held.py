"""What stands in an etcd that a consumer writes, by cluster, and under which leases. Pure.

Used by the publisher and by the cache of a mesh; so is what both read of a list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec


class KeyValue(Protocol):
    """A key of a list, its value, and the lease under which it stands (0: none)."""

    key: bytes
    value: bytes
    lease: int


class Page(Protocol):
    """A part of a list."""

    @property
    def kvs(self) -> Sequence[KeyValue]:
        """In key order."""
        ...


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A value and its lease."""

    value: bytes
    lease: int


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
