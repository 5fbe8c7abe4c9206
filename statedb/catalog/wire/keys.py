"""The keys in etcd: prefixes, and functions that build and split keys (cilium/cilium pkg/kvstore).

A key is its parts joined by ``/``. Nothing is escaped: labels in keys may themselves contain ``/``.
"""

import re

from ._errors import WireError

BASE = "cilium"
STATE = "cilium/state"
"""The prefix of what a cluster writes about itself."""
CACHE = "cilium/cache"
"""The prefix of copies of what other clusters wrote."""
HEARTBEAT = "cilium/.heartbeat"
INIT_LOCK = "cilium/.initlock"
CLUSTER_CONFIG = "cilium/cluster-config"
SYNCED = "cilium/synced"

IDENTITIES = "cilium/state/identities/v1/id"
IDENTITY_VALUES = "cilium/state/identities/v1/value"
IPS = "cilium/state/ip/v1/default"
"""``default`` is the address space. It is the same in every cluster, and not the name of the cluster."""
NODES = "cilium/state/nodes/v1"
SERVICES = "cilium/state/services/v1"
ENDPOINT_SLICES = "cilium/state/endpointslices/v1"
SERVICE_EXPORTS = "cilium/state/serviceexports/v1"

CACHED_IDENTITIES = "cilium/cache/identities/v1"
CACHED_IPS = "cilium/cache/ip/v1"
"""Both are followed by the name of the cluster, and for identities then by ``id``."""

_SLASHES = re.compile("/{2,}")


def join(*parts: str) -> str:
    """Parts as one key. Repeated slashes are collapsed, and one at the end is removed.

    >>> join("cilium/state/", "nodes", "", "v1/")
    'cilium/state/nodes/v1'
    """
    return _SLASHES.sub("/", "/".join(parts)).removesuffix("/")


def below(prefix: str, key: str | bytes) -> str:
    """The part of a key after ``prefix/``: the name that decoders take. Raises WireError for any other key.

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
        raise WireError(f"the key is not below {prefix}/")
    return name


def state_to_cache(key: str) -> str:
    """The key of the copy of another cluster's key. A key outside the state prefix is unchanged.

    >>> state_to_cache("cilium/state/nodes/v1/cluster2/node-1")
    'cilium/cache/nodes/v1/cluster2/node-1'
    """
    if key == STATE or key.startswith(STATE + "/"):
        return CACHE + key[len(STATE) :]
    return key


def synced(cluster: str, prefix: str) -> str:
    """The canary key of a prefix. It tells that the prefix is complete. Only the parts up to the version are used.

    >>> synced("cluster3", NODES), synced("cluster3", IDENTITIES)
    ('cilium/synced/cluster3/cilium/state/nodes/v1', 'cilium/synced/cluster3/cilium/state/identities/v1')
    """
    return join(SYNCED, cluster, *prefix.split("/")[:4])


def split_value_name(name: str) -> tuple[str, str]:
    """The labels and the node in the name of an identity *value* key. The last ``/`` separates them.

    >>> split_value_name("k8s:path=/a/b;/172.18.0.3")
    ('k8s:path=/a/b;', '172.18.0.3')
    """
    labels, slash, node = name.rpartition("/")
    if not slash:
        raise WireError(f"{name!r} is not labels, a slash and a node")
    return labels, node


def is_value_of(labels: str, key: str) -> bool:
    """Whether a value key has exactly these labels (both below one prefix, or both complete)."""
    return key.rpartition("/")[0] == labels and "/" in key
