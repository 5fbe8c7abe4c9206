"""Remote clusters -> the cache of a mesh: an etcd of its own, from which this cluster's agents read all the others.

    options    what a configuration says
    names      the keys of a cache: whose they are, and in which order they are written
    worker     follows the table `Mirror` and tells an `EtcdWriter` what the etcd should hold

Values are copied byte for byte (kvstoremesh of cilium/cilium, pkg/clustermesh/kvstoremesh).
"""

from .options import MeshCacheOptions
from .worker import MeshCache, open_meshcache

__all__ = ["MeshCache", "MeshCacheOptions", "open_meshcache"]
