"""Raw copies of the keys in the etcds of other clusters of a mesh, named as a cache of the mesh names them.

This table is not in every deployment: it is filled only for those who write such a cache.
"""

import msgspec

from statedb import Index, Table, UniqueIndex


class MirrorKey(msgspec.Struct, frozen=True, gc=False, order=True):
    """``name`` is the key in the etcd of the cache: ``cilium/cache/nodes/v1/cluster2/node-1``."""

    cluster: str
    name: str


class Mirrored(msgspec.Struct, frozen=True, gc=False):
    """A value, byte for byte, whether it can be decoded or not.

    Two kinds of keys describe the cluster itself. ``cilium/cluster-config/CLUSTER`` is its configuration, present while
    the cluster is configured here. ``cilium/synced/CLUSTER/cilium/cache/...`` means that the prefix is complete.
    """

    key: MirrorKey
    value: bytes


class Mirror(Table[MirrorKey, Mirrored], name="mirror"):
    """All keys of all remote clusters."""

    primary = UniqueIndex[MirrorKey, Mirrored](lambda row: row.key)
    by_cluster = Index[str, Mirrored](lambda row: (row.key.cluster,))
