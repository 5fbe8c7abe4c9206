"""The keys of an etcd that belong to the publisher: those of its cluster, and of objects that it cannot write now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from statedb import Snapshot
from statedb.catalog import Endpoints, Identities, Nodes
from statedb.catalog.wire import WireError, cluster_configs, identities, ips, keys, nodes

from ..store import Store, decode
from .layout import Layout, Object

_KEYS: dict[str, tuple[Any, Callable[[Any], str]]] = {
    "node": (Nodes, lambda row: keys.join(keys.NODES, nodes.name(row))),
    "identity": (Identities, lambda row: keys.join(keys.IDENTITIES, identities.name(row))),
    "ip": (Endpoints, lambda row: f"{keys.IPS}/{ips.name(row)}"),
}
"""For each kind of object its table, and the etcd key of a row (Any: each kind has its own row type)."""


_CANARIES = f"{keys.SYNCED}/"


class ForeignCluster(Exception):
    """Another cluster publishes into this etcd."""


class Ownership:
    """The ownership rules of one cluster's publisher. Pure, except that `refuse_foreign` reads the etcd."""

    def __init__(self, layout: Layout, *, take_over: bool) -> None:
        """``take_over``: the keys of other clusters may be deleted."""
        self._layout = layout
        self._take_over = take_over

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes that are read and written."""
        synced = keys.SYNCED if self._take_over else keys.join(keys.SYNCED, self._layout.cluster)
        return (f"{keys.STATE}/", f"{synced}/", f"{keys.CLUSTER_CONFIG}/")

    def is_own(self, key: str, value: bytes) -> bool:
        """Whether a key in the etcd belongs to the publisher."""
        if self._layout.is_own(key):
            return True
        if not self._take_over:
            return False
        if key.startswith(f"{keys.CLUSTER_CONFIG}/"):
            return not _is_cached(value)
        return key.startswith(f"{keys.STATE}/") or f"/{keys.STATE}/" in key

    def refuse_foreign(self, store: Store) -> None:
        """Raise ForeignCluster if another cluster publishes into this etcd, unless it is to be taken over."""
        if self._take_over:
            return
        for page in store.list(f"{keys.CLUSTER_CONFIG}/".encode(), 1000):
            for kv in page.kvs:
                key = decode(kv.key)
                if key != self._layout.config_key and not _is_cached(kv.value):
                    name = key.rpartition("/")[2]
                    raise ForeignCluster(
                        f"this etcd belongs to cluster {name!r} ({key}), not to {self._layout.cluster!r}: nothing is "
                        f"written; use another etcd, or set take-over: true to delete the keys of {name!r}"
                    )

    def rank(self, key: str) -> int:
        """The order of writes: the cluster config, data, canaries."""
        return 0 if key == self._layout.config_key else 2 if key.startswith(_CANARIES) else 1

    def protected(self, snapshot: Snapshot, objects: Iterable[Object]) -> tuple[str, ...]:
        """The prefixes of all keys that these objects may have in the etcd, whichever process wrote them."""
        return tuple([prefix for each in objects for prefix in self._names(snapshot, each)])

    def _names(self, snapshot: Snapshot, of: Object) -> tuple[str, ...]:
        try:
            if of.kind == "service":
                name = f"{of.key.cluster}/{of.key.namespace}/{of.key.name}"
                # The name of a slice begins with that of its service. No row has the name itself.
                return keys.join(keys.SERVICES, name), f"{keys.join(keys.ENDPOINT_SLICES, name)}-"
            table, key = _KEYS[of.kind]
            row = snapshot[table].get(of.key)
            return () if row is None else (key(row),)
        except WireError:
            return ()  # then it has no key either


def _is_cached(value: bytes) -> bool:
    """Whether a cluster config is the copy of a mesh cache."""
    try:
        return cluster_configs.decode(value).cached
    except WireError:
        return False
