"""Tables from a directory of YAML and JSON files with Cilium's CRDs. Changes are followed. Needs no server."""

from __future__ import annotations

from statedb import Database

from ..source import Source
from .options import ManifestsOptions as ManifestsOptions


def open(db: Database, cluster_name: str, cluster_id: int, options: ManifestsOptions) -> Source:  # noqa: A001
    """A source, not yet started. Raises InvalidOptions."""
    from .source import ManifestsSource  # when it is opened: a command that only asks a server needs no YAML

    return ManifestsSource(db, cluster_name, cluster_id, options)
