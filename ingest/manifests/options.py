"""The options of the manifests backend, as they stand in the configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class ManifestsOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A directory of YAML files (``*.yaml``, ``*.yml``) and JSON files (``*.json``) with Cilium's CRDs.

    ``tables``: which tables to fill, by name; all that the backend carries if not given. ``rescan_s``: how often the
    directory is looked at. ``settle_s``: how long a file that is being written must be still before it is taken up.
    """

    directory: Annotated[str, Meta(min_length=1)]
    tables: tuple[str, ...] | None = None
    rescan_s: Annotated[float, Meta(ge=0.01, le=3600)] = 0.5
    settle_s: Annotated[float, Meta(ge=0, le=60)] = 0.1
    file_bytes_max: Annotated[int, Meta(ge=1)] = 64 * 1024 * 1024
    aliases_max: Annotated[int, Meta(ge=0)] = 100
