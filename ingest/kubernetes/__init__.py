"""The API server of a cluster with Cilium into tables. Needs the extra ``statedb[kubernetes]`` when it is opened."""

from __future__ import annotations

from statedb import Database

from ..errors import MissingDependency
from ..source import Source
from .options import KubernetesOptions as KubernetesOptions


def open(db: Database, cluster_name: str, cluster_id: int, options: KubernetesOptions) -> Source:  # noqa: A001
    """A source, not yet started. Raises InvalidOptions, MissingDependency."""
    try:
        from .session import KubernetesSource
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"backend 'kubernetes' needs the package {error.name!r}; install 'statedb[kubernetes]'"
        ) from error
    return KubernetesSource(db, cluster_name, cluster_id, options)
