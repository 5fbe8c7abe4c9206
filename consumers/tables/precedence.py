"""Which claim wins where several rows claim one key. Pure.

Two things decide, in this order: a row of the local cluster wins over every row of a remote one, and among rows of the
local cluster the source wins that stands first in Cilium's order (cilium/cilium pkg/source). What a remote cluster says
of the source of its own rows never counts.
"""

from __future__ import annotations

_STRONGEST_FIRST = (
    "kube-apiserver",
    "local",
    "kvstore",
    "custom-resource",
    "k8s",
    "clustermesh",
    "directory",
    "api",
    "generated",
    "restored",
    "unspec",
)
_RANKS = {source: rank for rank, source in enumerate(_STRONGEST_FIRST)}
_UNKNOWN = len(_RANKS)
_REMOTE = _UNKNOWN + 1


def precedence(local_cluster: str, cluster: str, source: str) -> int:
    """How strong the claim of a row is: the lowest number wins.

    ``cluster`` is the cluster in the row's key. Sources fill only rows of the cluster that they read, so it says where
    the row came from. A source that is not known is weaker than all others of the local cluster. Rows of two remote
    clusters are equally strong; break the tie by their keys, so that the order of events does not matter.

    >>> precedence("a", "a", "local") < precedence("a", "a", "k8s") < precedence("a", "a", "?")
    True
    >>> precedence("a", "a", "?") < precedence("a", "b", "local") == precedence("a", "c", "clustermesh")
    True
    """
    return _RANKS.get(source, _UNKNOWN) if cluster == local_cluster else _REMOTE
