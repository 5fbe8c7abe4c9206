"""The configuration of a cluster of a mesh in its etcd (CiliumClusterConfig of cilium/cilium pkg/clustermesh/types).

- key: ``cilium/cluster-config/cluster3``
- value: ``{"id":3,"capabilities":{"syncedCanaries":true,"maxConnectedClusters":255,"serviceExportsEnabled":false}}``
"""

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from . import _gojson, keys
from ._errors import WireError

SERVICES_ONLY = ""
BOTH = "services-and-endpointslices"
ENDPOINT_SLICES_ONLY = "endpointslices-only"
"""The formats in which a cluster announces the backends of its services."""

_MODES = (SERVICES_ONLY, BOTH, ENDPOINT_SLICES_ONLY)
_CLUSTER_NAME = re.compile(r"([a-z0-9][-a-z0-9]*)?[a-z0-9]")
_CLUSTER_NAME_MAX = 32

_Uint32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]


class _Capabilities(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", gc=False):
    synced_canaries: bool = False
    cached: bool = False
    max_connected_clusters: _Uint32 = 0
    service_exports_enabled: bool | None = None
    endpoint_slices_export_mode: str = ""


class _Config(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The value as it is read. An id of 0 is omitted."""

    capabilities: _Capabilities | None
    id: _Uint32 = 0


class _Written(msgspec.Struct, omit_defaults=True, gc=False):
    """The same fields in the order of writing."""

    id: int = 0
    capabilities: _Capabilities | None = None


class ClusterConfig(msgspec.Struct, frozen=True, gc=False):
    """The configuration of a cluster of a mesh.

    ``cached``: its state is below ``cilium/cache``, copied by another process. ``synced_canaries``: each prefix has a
    canary. ``max_connected_clusters`` 0 means 255. ``service_exports_enabled`` None: its release does not have them.
    ``endpoint_slices``: "" for services only, or one of the two other modes.
    """

    id: int
    synced_canaries: bool = False
    cached: bool = False
    max_connected_clusters: int = 0
    service_exports_enabled: bool | None = None
    endpoint_slices: str = SERVICES_ONLY


_read = _gojson.Reader(_Config)


def decode(value: bytes) -> ClusterConfig:
    """The configuration of a cluster. Raises WireError, also for an unknown mode of endpoint slices."""
    config = _read(value)
    capabilities = config.capabilities or _Capabilities()
    mode = capabilities.endpoint_slices_export_mode
    if mode not in _MODES:
        raise WireError(f"capabilities.endpointSlicesExportMode: {mode!r} is not one of {', '.join(_MODES[1:])}")
    return ClusterConfig(
        config.id,
        capabilities.synced_canaries,
        capabilities.cached,
        capabilities.max_connected_clusters,
        capabilities.service_exports_enabled,
        mode,
    )


def encode(config: ClusterConfig) -> bytes:
    """The value of a cluster's key."""
    capabilities = _Capabilities(
        config.synced_canaries,
        config.cached,
        config.max_connected_clusters,
        config.service_exports_enabled,
        config.endpoint_slices,
    )
    return _gojson.encode(_Written(config.id, capabilities))


def announces(config: ClusterConfig, prefix: str) -> bool:
    """Whether the cluster publishes the keys of this prefix of its state.

    >>> announces(ClusterConfig(3), keys.SERVICES), announces(ClusterConfig(3), keys.ENDPOINT_SLICES)
    (True, False)
    """
    if prefix == keys.SERVICES:
        return config.endpoint_slices != ENDPOINT_SLICES_ONLY
    if prefix == keys.ENDPOINT_SLICES:
        return config.endpoint_slices != SERVICES_ONLY
    return prefix != keys.SERVICE_EXPORTS or bool(config.service_exports_enabled)


def why_incompatible(config: ClusterConfig, max_clusters: int) -> str:
    """Why such a cluster cannot be in a mesh of at most ``max_clusters`` clusters; empty if it can."""
    theirs = config.max_connected_clusters or 255
    if theirs != max_clusters:
        return f"its mesh has at most {theirs} clusters, ours {max_clusters}, so identity numbers are not compatible"
    if not 1 <= config.id <= max_clusters:
        return f"its id {config.id} is not between 1 and {max_clusters}"
    return ""


def is_cluster_name(text: str) -> bool:
    """Whether a text is a valid cluster name: 1 to 32 lower-case letters, digits, and dashes in between."""
    return len(text) <= _CLUSTER_NAME_MAX and _CLUSTER_NAME.fullmatch(text) is not None
