"""Consumers that write to an etcd: a writer for any keys, the publisher of the local cluster, the cache of a mesh.

    writer      `EtcdWriter`: keeps an etcd equal to given keys and values
    any_table   `TableToEtcd`: writes any table, so that other processes can read it
    publisher   writes the tables of the local cluster, as Cilium's clustermesh-apiserver does
    meshcache   writes the state of remote clusters, as Cilium's kvstoremesh does

Users of the writer need `options`, `rules` and `statistics`. Inside, `session` is one connection, and `writer_state`
what a writer keeps between connections. `desired` is the desired content of the etcd, `present` the actual one.
`batches`, `leases`, `pacing` and `repairs` make decisions and do no I/O. `watching` and `election` are additional
threads. `store` is the protocol of the client.
"""

from .any_table import TableToEtcd
from .desired import Refusal
from .options import WriterOptions
from .present import Present
from .rules import Rules
from .statistics import WriterStats
from .writer import EtcdWriter

__all__ = ["EtcdWriter", "Present", "Refusal", "Rules", "TableToEtcd", "WriterOptions", "WriterStats"]
