"""Publishes the tables of the local cluster to an etcd in ClusterMesh layout, as Cilium's clustermesh-apiserver does.

    options      the options in a configuration
    layout       the keys and values of a snapshot, as a pure function
    ownership    which keys of an etcd belong to the cluster
    users        who may read what
    worker       follows the tables and tells an `EtcdWriter` what the etcd should hold

With ``ingest: kubernetes``, a process that runs it replaces clustermesh-apiserver.
"""

from .options import PublisherOptions, UsersOptions
from .worker import Publisher, open_publisher

__all__ = ["Publisher", "PublisherOptions", "UsersOptions", "open_publisher"]
