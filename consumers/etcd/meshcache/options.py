"""The options of the cache, as in the configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ..options import WriterOptions


class MeshCacheOptions(WriterOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """When the keys of remote clusters are deleted, and which clusters readiness waits for.

    ``grace_s``: how long the keys of a cluster stay after it has left, and keys that this process has not seen deleted,
    after it began and its source was synced. It should exceed the heartbeat timeout of remote clusters. After that time
    a replica with a dead writer is stale. ``connect_wait_s``: how long readiness waits for clusters that do not answer.
    ``sync_wait_s``: how long it waits for all clusters.
    """

    grace_s: Annotated[float, Meta(ge=0)] = 180.0
    connect_wait_s: Annotated[float, Meta(ge=0)] = 15.0
    sync_wait_s: Annotated[float, Meta(ge=0)] = 600.0
