"""Interchangeable sources that fill tables, one for each cluster and table. Knows no consumers.

A source fills tables of a database, and reports its state in the tables ``sources`` and ``rejected``. The configuration
names its backend: ``BACKENDS[name].open(db, cluster_name, cluster_id, options)``, then ``start``.
"""

from .backends import BACKENDS, Backend, discover, register
from .clustermesh.options import ClusterMeshOptions, RemoteClustersOptions
from .errors import IngestError, InvalidOptions, MissingDependency, OwnedElsewhere
from .fanout.options import FanoutOptions
from .kubernetes.options import KubernetesOptions
from .kvstore.options import KvstoreOptions, TlsOptions
from .manifests.options import ManifestsOptions
from .source import AnyTable, Source

__all__ = [
    "BACKENDS",
    "AnyTable",
    "Backend",
    "ClusterMeshOptions",
    "FanoutOptions",
    "IngestError",
    "InvalidOptions",
    "KubernetesOptions",
    "KvstoreOptions",
    "ManifestsOptions",
    "MissingDependency",
    "OwnedElsewhere",
    "RemoteClustersOptions",
    "Source",
    "TlsOptions",
    "discover",
    "register",
]
