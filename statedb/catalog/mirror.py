"""Raw copies of what other clusters of a mesh keep in their etcds, by where a cache of the mesh keeps them.

Not among the tables that every deployment has: it is filled only for those who write such a cache.
"""

import msgspec

from statedb import Index, Table, UniqueIndex


class MirrorKey(msgspec.Struct, frozen=True, gc=False, order=True):
    """``name`` is the key in a cache's etcd: ``cilium/cache/nodes/v1/cluster2/node-1``."""

    cluster: str
    name: str


class Mirrored(msgspec.Struct, frozen=True, gc=False):
    """A value byte for byte, whether it can be read or not.

    Two kinds of names stand for the cluster itself: ``cilium/cluster-config/CLUSTER`` is what it says of itself, and is
    there while the cluster is ours; ``cilium/synced/CLUSTER/cilium/cache/...`` tells that all of that prefix is there.
    """

    key: MirrorKey
    value: bytes


class Mirror(Table[MirrorKey, Mirrored], name="mirror"):
    """All keys of all remote clusters."""

    primary = UniqueIndex[MirrorKey, Mirrored](lambda row: row.key)
    by_cluster = Index[str, Mirrored](lambda row: (row.key.cluster,))
