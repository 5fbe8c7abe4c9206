"""The options of the cache, as they stand in a configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ..options import WriterOptions


class MeshCacheOptions(WriterOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """When remote clusters go, and which are waited for, beside how the etcd is written.

    ``grace_s``: the keys of a cluster that has left stay so long. ``connect_wait_s`` and ``sync_wait_s``: readiness
    waits so long for clusters that do not answer, and for all.
    """

    grace_s: Annotated[float, Meta(ge=0)] = 180.0
    connect_wait_s: Annotated[float, Meta(ge=0)] = 15.0
    sync_wait_s: Annotated[float, Meta(ge=0)] = 600.0
