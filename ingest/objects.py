"""Decoders of Kubernetes objects, for cases that the decoders of the catalog leave open. Pure."""

from __future__ import annotations

from typing import Any

from statedb.catalog.wire import WireError, crds


def identity(cluster: str, value: object) -> tuple[Any, ...]:
    """The row of a CiliumIdentity. Raises WireError, also if it has no labels, so that an earlier row stays."""
    found = crds.identity(value, cluster)
    if found is None:
        raise WireError("security-labels: empty")
    return (found,)
