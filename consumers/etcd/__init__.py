"""Consumers that write to an etcd: a writer for any keys, the publisher of the local cluster, the cache of a mesh.

    writer      `EtcdWriter`: keeps an etcd equal to given keys and values
    any_table   `TableToEtcd`: writes any table, so that other processes can read it
    publisher   writes the tables of the local cluster, as Cilium's clustermesh-apiserver does
    meshcache   writes the state of remote clusters, as Cilium's kvstoremesh does

Of the writer, users see `options`, `rules` and `statistics`. `session` is one connection, `writer_state` outlives it,
`desired` is what should be in the etcd, `present` what is. `batches`, `leases`, `pacing` and `repairs` decide and do no
I/O. `watching` and `election` are threads beside it. `store` is what it needs of a client.
"""

from .any_table import TableToEtcd
from .desired import Refusal
from .options import WriterOptions
from .present import Present
from .rules import Rules
from .statistics import WriterStats
from .writer import EtcdWriter

__all__ = ["EtcdWriter", "Present", "Refusal", "Rules", "TableToEtcd", "WriterOptions", "WriterStats"]
