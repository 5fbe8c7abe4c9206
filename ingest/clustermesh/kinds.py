"""The prefixes of an etcd in ClusterMesh layout with their decoders, depending on what the cluster announces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from statedb.catalog import Backends, Endpoints, Identities, Mirror, Mirrored, MirrorKey, Nodes, Services
from statedb.catalog.wire import WireError, endpoint_slices, identities, ips, keys, nodes, services
from statedb.catalog.wire.cluster_configs import ENDPOINT_SLICES_ONLY, ClusterConfig, announces

from ..keyspace.kind import Copy, Kind
from ..reflect import Feed
from ..source import AnyTable

HEARTBEAT = keys.HEARTBEAT.encode()

TABLES: tuple[AnyTable, ...] = (Nodes, Identities, Endpoints, Services, Backends)
"""All that such an etcd can fill."""

_NODES = Feed("nodes", (Nodes,))
_IDENTITIES = Feed("identities", (Identities,))
_IPS = Feed("ip", (Endpoints,))
_SLICES = Feed("endpointslices", (Backends,))
_SERVICES = Feed("services", (Services, Backends), mixed=True)
_SERVICES_BESIDE_SLICES = Feed("services beside slices", (Services,))
"""The same keys as `_SERVICES`, read without backends. A feed of its own: the backends that a service had in the other
form must not go because the service is there in this one."""

FEEDS = (_NODES, _IDENTITIES, _IPS, _SLICES, _SERVICES, _SERVICES_BESIDE_SLICES)
"""The cluster announces the prefix of each feed, and whether it uses it."""

SERVICE_FEEDS = (_SLICES.name, _SERVICES.name, _SERVICES_BESIDE_SLICES.name)
"""The feeds of the two forms of services."""

_EXPORTS = Feed("serviceexports", ())  # they are copied and not decoded

COPIES = {
    "nodes": (keys.state_to_cache(keys.NODES), "{}/"),
    "identities": (keys.CACHED_IDENTITIES, "{}/id/"),
    "ip": (keys.CACHED_IPS, "{}/"),
    "endpointslices": (keys.state_to_cache(keys.ENDPOINT_SLICES), "{}/"),
    "services": (keys.state_to_cache(keys.SERVICES), "{}/"),
    "serviceexports": (keys.state_to_cache(keys.SERVICE_EXPORTS), "{}/"),
}
"""The keys of a feed in a mesh cache: the prefix, and what follows it for a cluster."""

MIRROR_CONFIG = Feed("mirror cluster-config", (Mirror,))
MIRROR_FEEDS = (MIRROR_CONFIG, *[Feed(f"mirror {name}", (Mirror,)) for name in COPIES])
"""The feeds of the table `Mirror`."""

_Decode: TypeAlias = Callable[[str, bytes], tuple[Any, ...]]
_CLUSTER_LABEL = "k8s:io.cilium.k8s.policy.cluster"


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster whose etcd it is, and how to read it.

    ``checked``: identities and addresses must be in the range of the cluster's id. That holds for remote clusters; the
    local one also has identities of other scopes. ``mirror``: raw values are also written to the table `Mirror`.
    """

    cluster: str
    max_clusters: int = 255
    checked: bool = True
    prefer_endpoint_slices: bool = False
    mirror: bool = False

    @property
    def config_key(self) -> bytes:
        """The key of the cluster config."""
        return keys.join(keys.CLUSTER_CONFIG, self.cluster).encode()

    @property
    def synced_prefix(self) -> bytes:
        """The prefix of its canaries."""
        return (keys.join(keys.SYNCED, self.cluster) + "/").encode()


def feeds_of(layout: Layout, tables: tuple[AnyTable, ...]) -> tuple[Feed, ...]:
    """The feeds of these tables."""
    found = [Feed(feed.name, tuple(t for t in feed.tables if t in tables), mixed=feed.mixed) for feed in FEEDS]
    return tuple(feed for feed in found if feed.tables) + (MIRROR_FEEDS if layout.mirror else ())


def uses_endpoint_slices(layout: Layout, config: ClusterConfig) -> bool:
    """Whether backends come from endpoint slices. They never come from two places."""
    if not announces(config, keys.ENDPOINT_SLICES):
        return False
    return layout.prefer_endpoint_slices or config.endpoint_slices == ENDPOINT_SLICES_ONLY


def kinds(layout: Layout, config: ClusterConfig) -> tuple[Kind, ...]:
    """The prefixes to read, in the order in which they are listed. Feeds that the cluster does not use are missing.

    A mirror has both forms of services, and their exports, if they are announced.
    """
    cluster, own = layout.cluster, f"{layout.cluster}/"
    slices = uses_endpoint_slices(layout, config)

    def kind(feed: Feed, prefix: str, below: str, decode: _Decode, copy: str = "") -> Kind:
        canaries = (keys.synced(cluster, prefix).encode(),) if config.synced_canaries else ()
        copied = copy_of(cluster, copy or feed.name) if layout.mirror else None
        return Kind(f"{prefix}/{below}", feed.tables, decode, feed.mixed, feed.name, canaries, copied)

    def place(prefix: str) -> str:
        return keys.state_to_cache(prefix) if config.cached else prefix

    cached_ids, cached_ips = (keys.CACHED_IDENTITIES, f"{own}id/"), (keys.CACHED_IPS, own)
    found = [
        kind(_NODES, place(keys.NODES), own, _nodes(cluster, config.id)),
        kind(_IDENTITIES, *(cached_ids if config.cached else (keys.IDENTITIES, "")), _identities(layout, config.id)),
        kind(_IPS, *(cached_ips if config.cached else (keys.IPS, "")), _ips(layout, config.id)),
    ]
    if slices:
        found.append(kind(_SLICES, place(keys.ENDPOINT_SLICES), own, _slices(cluster, config.id)))
    elif layout.mirror and announces(config, keys.ENDPOINT_SLICES):
        found.append(kind(Feed(_SLICES.name, ()), place(keys.ENDPOINT_SLICES), own, _nothing))
    if announces(config, keys.SERVICES):
        decode = _services(layout, config.id, backends=not slices)
        feed = _SERVICES_BESIDE_SLICES if slices else _SERVICES
        found.append(kind(feed, place(keys.SERVICES), own, decode, _SERVICES.name))
    if layout.mirror and announces(config, keys.SERVICE_EXPORTS):
        found.append(kind(_EXPORTS, place(keys.SERVICE_EXPORTS), own, _nothing))
    return tuple(found)


def copy_of(cluster: str, feed: str) -> Copy:
    """The copy of a cluster's feed in the table `Mirror`, with the keys of a mesh cache."""
    prefix, below = COPIES[feed]
    place = f"{prefix}/{below.format(cluster)}"

    def row(name: str, value: bytes) -> Mirrored:
        return Mirrored(MirrorKey(cluster, place + name), value)

    return Copy(f"mirror {feed}", Mirror, row, Mirrored(MirrorKey(cluster, keys.synced(cluster, prefix)), b""))


def mirrored_config(layout: Layout, value: bytes) -> Mirrored:
    """The row of a cluster's config in the table `Mirror`."""
    return Mirrored(MirrorKey(layout.cluster, layout.config_key.decode()), value)


def _nothing(*_: object) -> tuple[Any, ...]:
    return ()


def _nodes(cluster: str, cluster_id: int) -> _Decode:
    return lambda name, value: (nodes.decode(cluster, f"{cluster}/{name}", value, cluster_id=cluster_id),)


def _identities(layout: Layout, cluster_id: int) -> _Decode:
    cluster, label = layout.cluster, f"{_CLUSTER_LABEL}={layout.cluster}"
    if not layout.checked:
        return lambda name, value: (identities.decode(cluster, name, value),)
    numbers = identities.allocation_range(cluster_id, layout.max_clusters)

    def decode(name: str, value: bytes) -> tuple[Any, ...]:
        identity = identities.decode(cluster, name, value)
        if identity.key.id not in numbers:
            raise WireError(
                f"{identity.key.id} is no identity of cluster id {cluster_id}: it gives out {_shown(numbers)}"
            )
        if label not in identity.labels:
            raise WireError(f"the label {label} is missing")
        return (identity,)

    return decode


def _ips(layout: Layout, cluster_id: int) -> _Decode:
    cluster, decode_ip = layout.cluster, ips.decode
    numbers = identities.allocation_range(cluster_id, layout.max_clusters)
    shared, checked = identities.UNRESERVED_MIN, layout.checked

    def decode(name: str, value: bytes) -> tuple[Any, ...]:
        endpoint = decode_ip(cluster, name, value)
        if endpoint is None:
            return ()
        if checked and endpoint.identity >= shared and endpoint.identity not in numbers:
            raise WireError(
                f"ID: {endpoint.identity} is no identity of cluster id {cluster_id}: it gives out {_shown(numbers)}"
            )
        return (endpoint,)

    return decode


def _slices(cluster: str, cluster_id: int) -> _Decode:
    return lambda name, value: endpoint_slices.decode(cluster, f"{cluster}/{name}", value, cluster_id=cluster_id)


def _services(layout: Layout, cluster_id: int, *, backends: bool) -> _Decode:
    cluster, shared_only = layout.cluster, layout.checked

    def decode(name: str, value: bytes) -> tuple[Any, ...]:
        row, found = services.decode(cluster, f"{cluster}/{name}", value, cluster_id=cluster_id)
        if shared_only and not row.shared:  # other clusters may not see it (pkg/clustermesh/common/services.go)
            return ()
        return (row, *found) if backends else (row,)

    return decode


def _shown(numbers: range) -> str:
    return f"{numbers.start} to {numbers.stop - 1}"
