"""Publishes the tables of the local cluster to an etcd in ClusterMesh layout, as Cilium's clustermesh-apiserver does.

    options      what a configuration says
    layout       the keys and values of a snapshot, as a pure function
    ownership    which keys of an etcd are the cluster's
    users        who may read what
    worker       follows the tables and tells an `EtcdWriter` what the etcd should hold

With ``ingest: kubernetes`` a process that runs it is a clustermesh-apiserver.
"""

from .options import PublisherOptions, UsersOptions
from .worker import Publisher, open_publisher

__all__ = ["Publisher", "PublisherOptions", "UsersOptions", "open_publisher"]
