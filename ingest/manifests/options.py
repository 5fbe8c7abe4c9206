"""The options of the manifests backend in the configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class ManifestsOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A directory of YAML files (``*.yaml``, ``*.yml``) and JSON files (``*.json``) with Cilium's CRDs.

    ``tables``: the names of the tables to fill, by default all that the backend can fill. ``rescan_s``: the seconds
    between two scans of the directory. ``settle_s``: a file is read when it has not changed for this many seconds.
    A file that is emptied where it is keeps its objects, because that is how most programs begin to write a file.
    """

    directory: Annotated[str, Meta(min_length=1)]
    tables: tuple[str, ...] | None = None
    rescan_s: Annotated[float, Meta(ge=0.01, le=3600)] = 0.5
    settle_s: Annotated[float, Meta(ge=0, le=60)] = 0.1
    file_bytes_max: Annotated[int, Meta(ge=1)] = 64 * 1024 * 1024
    aliases_max: Annotated[int, Meta(ge=0)] = 100
