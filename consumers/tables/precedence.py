"""Decides which row wins when several claim one key. Pure.

A row of the local cluster wins over all rows of remote clusters. Among rows of the local cluster, the source that comes
first in Cilium's order wins (cilium/cilium pkg/source). The source of a remote cluster's row is ignored.
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
    """The strength of a row's claim: the lowest number wins.

    ``cluster``: the cluster in the row's key. Sources write only rows of the cluster that they read, so this is the
    origin of the row. An unknown source is weaker than all others of the local cluster. Rows of two remote clusters are
    equally strong; break the tie by their keys, so that the order of events does not matter.

    >>> precedence("a", "a", "local") < precedence("a", "a", "k8s") < precedence("a", "a", "?")
    True
    >>> precedence("a", "a", "?") < precedence("a", "b", "local") == precedence("a", "c", "clustermesh")
    True
    """
    return _RANKS.get(source, _UNKNOWN) if cluster == local_cluster else _REMOTE
