"""What writes an etcd: a writer of any keys, the publisher of the local cluster, and the cache of a mesh.

    writer      `EtcdWriter`: keys and values in, an etcd made equal to them
    any_table   `TableToEtcd`: any table, for other processes to read back
    publisher   the local cluster's tables, as Cilium's clustermesh-apiserver writes them
    meshcache   remote clusters, as Cilium's kvstoremesh writes them

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
