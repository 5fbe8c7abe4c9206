"""The tables of the local cluster into an etcd in ClusterMesh layout, as Cilium's clustermesh-apiserver writes it.

    options     what a configuration says
    layout      what stands where: a pure function of a snapshot
    publisher   the thread that keeps an etcd equal to it

With ``ingest: kubernetes`` a process that runs it is a clustermesh-apiserver.
"""

from .options import PublisherOptions as PublisherOptions
from .worker import Publisher as Publisher, Stats as Stats, open_publisher as open_publisher
