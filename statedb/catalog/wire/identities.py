"""Identities in etcd: the number in the key, the labels as the value. Also the ranges of identity numbers.

    cilium/state/identities/v1/id/196915  ->  k8s:app=baz;k8s:io.kubernetes.pod.namespace=bar;

Formats: cilium/cilium pkg/kvstore/allocator, pkg/labels, pkg/identity/numericidentity.go.
"""

import re
from collections.abc import Iterable

from ..identities import Identity, IdentityKey
from . import labels
from ._errors import WireError
from .labels import Label

NAMESPACE_LABEL = "io.kubernetes.pod.namespace"
NUMBER_MAX = 0xFFFFFFFF

HOST = 1
REMOTE_NODE = 6
UNRESERVED_MIN = 256
"""Numbers below this are reserved or well known: the same in every cluster."""

RESERVED = {
    0: "unknown",
    1: "host",
    2: "world",
    3: "unmanaged",
    4: "health",
    5: "init",
    6: "remote-node",
    7: "kube-apiserver",
    8: "ingress",
    9: "world-ipv4",
    10: "world-ipv6",
    11: "aggregate-cluster",
    12: "aggregate-cluster-mesh",
    13: "aggregate-world",
    14: "aggregate-remote-node",
}
"""The names of the reserved numbers."""

_SCOPES = {0: "global", 1: "local", 2: "remote-node"}
_GO_NUMBER = re.compile(r"0[xX](_?[0-9a-fA-F])+|0[bB](_?[01])+|0[oO]?(_?[0-7])+|[1-9](_?[0-9])*|0")


def decode(cluster: str, name: str, value: bytes) -> Identity:
    """The identity with number ``name``. Raises WireError, also for an empty value."""
    if not value:
        raise WireError("the value is empty: an identity must have labels")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise WireError(f"the labels are not UTF-8: {error.reason} at byte {error.start}") from None
    return of_labels(cluster, number(name), labels.parse_list(text))


def encode(identity: Identity) -> bytes:
    """The value in etcd. Raises WireError for a label that would be decoded as two."""
    return labels.sorted_list(labels.parse(each) for each in identity.labels).encode()


def name(identity: Identity) -> str:
    """The last part of the key."""
    return str(identity.key.id)


def of_labels(cluster: str, identity: int, of: Iterable[Label]) -> Identity:
    """The row of a number and its labels, which must be sorted by key. Raises WireError if there are none."""
    of = tuple(of)
    if not of:
        raise WireError("the value has no label with a key")
    namespace = next(
        (each.value for each in of if each.key == NAMESPACE_LABEL and each.source == labels.KUBERNETES), ""
    )
    return Identity(IdentityKey(cluster, identity), labels.texts(of), namespace)


def number(text: str) -> int:
    """An identity number in a key or in the name of an object, in decimal. Raises WireError."""
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > NUMBER_MAX:
        raise WireError(f"{text!r} is not an identity number: a decimal number up to {NUMBER_MAX}")
    return int(text)


def parse_number(text: str) -> int:
    """An identity number with the prefixes of Go (``0x2A0000``, ``0b1``, ``0o17``, ``017``).

    Raises WireError.

    >>> parse_number("0x2A0000"), parse_number("017"), parse_number("65_536")
    (2752512, 15, 65536)
    """
    if not _GO_NUMBER.fullmatch(text):
        raise WireError(f"{text!r} is not a number")
    digits = text.replace("_", "").lower()
    base = {"0x": 16, "0b": 2, "0o": 8}.get(digits[:2], 8 if digits[0] == "0" else 10)
    value = int(digits, base)
    if value > NUMBER_MAX:
        raise WireError(f"{text!r} does not fit into 32 bits")
    return value


def scope(identity: int) -> str:
    """Where a number is valid: ``global``, ``local`` (to a node), ``remote-node``. Empty if nowhere."""
    return _SCOPES.get(identity >> 24, "")


def cluster_of(identity: int, max_clusters: int = 255) -> int:
    """The id of the cluster that assigned a global number.

    >>> cluster_of(0x2A0000)
    42
    """
    return (identity & 0xFFFFFF) >> _shift(max_clusters)


def allocation_range(cluster_id: int, max_clusters: int = 255) -> range:
    """The numbers that a cluster assigns. Raises WireError for a cluster id out of range.

    >>> allocation_range(3)
    range(196608, 262144)
    """
    shift = _shift(max_clusters)
    if not 0 <= cluster_id <= max_clusters:
        raise WireError(f"cluster id {cluster_id} is not between 0 and {max_clusters}")
    if cluster_id == 0:
        return range(UNRESERVED_MIN, 65536)
    return range(cluster_id << shift, (cluster_id + 1) << shift)


def is_valid_from(identity: int, cluster_id: int, max_clusters: int = 255) -> bool:
    """Whether a cluster may announce this number for an address: one of its own, or a reserved one."""
    return 0 <= identity < UNRESERVED_MIN or identity in allocation_range(cluster_id, max_clusters)


def _shift(max_clusters: int) -> int:
    if max_clusters not in (255, 511):
        raise WireError(f"a mesh has at most 255 or 511 clusters, not {max_clusters}")
    return 16 if max_clusters == 255 else 15
