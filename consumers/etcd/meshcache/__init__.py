"""Copies remote clusters into a cache: an etcd from which the agents of this cluster read all other clusters.

    options    the options in a configuration
    names      the keys of a cache: their cluster and their write order
    departures when the keys of clusters that have left go
    doubts     clusters of which another process may know more
    promises   what a canary promises together with a config
    worker     follows the table `Mirror` and tells an `EtcdWriter` what the etcd should hold

Values are copied byte for byte (kvstoremesh of cilium/cilium, pkg/clustermesh/kvstoremesh).
"""

from .options import MeshCacheOptions
from .worker import MeshCache, open_meshcache

__all__ = ["MeshCache", "MeshCacheOptions", "open_meshcache"]
