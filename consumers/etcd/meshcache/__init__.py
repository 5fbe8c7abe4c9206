"""Remote clusters -> the cache of a mesh: an etcd of its own, from which this cluster's agents read all the others.

    options store    how it is told; what it needs of an etcd
    names            its keys: whose they are, and in which order they are written
    cache            the thread that keeps it equal to the table `Mirror`

Values are copied byte for byte (kvstoremesh of cilium/cilium, pkg/clustermesh/kvstoremesh).
"""

from .options import MeshCacheOptions
from .store import Connect, Store
from .worker import MeshCache, Stats, open_meshcache

__all__ = ["Connect", "MeshCache", "MeshCacheOptions", "Stats", "Store", "open_meshcache"]
