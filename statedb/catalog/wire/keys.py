"""Where things stand in etcd: prefixes, and keys made and taken apart (cilium/cilium pkg/kvstore).

A key is its parts joined by ``/``. Nothing is escaped and nothing decoded: labels inside of keys hold ``/`` themselves.
"""

import re

from ._errors import WireError

BASE = "cilium"
STATE = "cilium/state"
"""What a cluster writes of itself."""
CACHE = "cilium/cache"
"""Copies of what other clusters wrote."""
HEARTBEAT = "cilium/.heartbeat"
INIT_LOCK = "cilium/.initlock"
CLUSTER_CONFIG = "cilium/cluster-config"
SYNCED = "cilium/synced"

IDENTITIES = "cilium/state/identities/v1/id"
IDENTITY_VALUES = "cilium/state/identities/v1/value"
IPS = "cilium/state/ip/v1/default"
"""``default`` is the address space: the same word in every cluster, not the cluster's name."""
NODES = "cilium/state/nodes/v1"
SERVICES = "cilium/state/services/v1"
ENDPOINT_SLICES = "cilium/state/endpointslices/v1"
SERVICE_EXPORTS = "cilium/state/serviceexports/v1"

CACHED_IDENTITIES = "cilium/cache/identities/v1"
CACHED_IPS = "cilium/cache/ip/v1"
"""Both with the cluster's name behind them, of identities then ``id``."""

_SLASHES = re.compile("/{2,}")


def join(*parts: str) -> str:
    """Parts as one key: doubled slashes collapsed, one at the end removed.

    >>> join("cilium/state/", "nodes", "", "v1/")
    'cilium/state/nodes/v1'
    """
    return _SLASHES.sub("/", "/".join(parts)).removesuffix("/")


def below(prefix: str, key: str | bytes) -> str:
    """What follows ``prefix/`` in a key: the name that decoders take. Raises WireError for a key elsewhere.

    >>> below(NODES, b"cilium/state/nodes/v1/cluster1/node-1")
    'cluster1/node-1'
    """
    if isinstance(key, bytes):
        try:
            key = key.decode()
        except UnicodeDecodeError as error:
            raise WireError(f"the key is not UTF-8: {error.reason} at byte {error.start}") from None
    name = key.removeprefix(prefix + "/")
    if len(name) == len(key):
        raise WireError(f"the key does not stand below {prefix}/")
    return name


def state_to_cache(key: str) -> str:
    """Where a copy of another cluster's key stands; a key that is not state stays.

    >>> state_to_cache("cilium/state/nodes/v1/cluster2/node-1")
    'cilium/cache/nodes/v1/cluster2/node-1'
    """
    if key == STATE or key.startswith(STATE + "/"):
        return CACHE + key[len(STATE) :]
    return key


def synced(cluster: str, prefix: str) -> str:
    """The key that tells that all of a prefix is there: its canary. Prefixes go up to their version.

    >>> synced("cluster3", NODES), synced("cluster3", IDENTITIES)
    ('cilium/synced/cluster3/cilium/state/nodes/v1', 'cilium/synced/cluster3/cilium/state/identities/v1')
    """
    return join(SYNCED, cluster, *prefix.split("/")[:4])


def split_value_name(name: str) -> tuple[str, str]:
    """The labels and the node in the name of an identity *value* key: the last ``/`` parts them, labels may hold more.

    >>> split_value_name("k8s:path=/a/b;/172.18.0.3")
    ('k8s:path=/a/b;', '172.18.0.3')
    """
    labels, slash, node = name.rpartition("/")
    if not slash:
        raise WireError(f"{name!r} is not labels, a slash and a node")
    return labels, node


def is_value_of(labels: str, key: str) -> bool:
    """Whether a value key belongs to exactly these labels (both below one prefix or both whole)."""
    return key.rpartition("/")[0] == labels and "/" in key
