"""Which claim wins where several are made: the order of Cilium's sources (cilium/cilium pkg/source). Pure."""

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


def rank(source: str) -> int:
    """The place of a source, 0 for the strongest; one that is not known is weaker than all.

    >>> rank("local") < rank("custom-resource") < rank("clustermesh") < rank("what?")
    True
    """
    return _RANKS.get(source, len(_RANKS))
