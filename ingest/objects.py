"""Objects of Kubernetes as rows of a source, for cases that the catalog leaves open. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from statedb.catalog import Objects
from statedb.catalog.wire import WireError, crds

_PODS = ("pods", "pod", "po")
_INDEX_NAME = re.compile(r"[a-z][a-z0-9_]*")


def identity(cluster: str, value: object) -> tuple[Any, ...]:
    """The row of a CiliumIdentity. Raises WireError, also if it has no labels, so that an earlier row stays."""
    found = crds.identity(value, cluster)
    if found is None:
        raise WireError("security-labels: empty")
    return (found,)


def index_names(resource: str, named: Iterable[str]) -> tuple[str, ...]:
    """The names of the indexes by path of a resource in its table. Pods have ``by_node``. Raises ValueError.

    >>> index_names("pods", ["zone", "by_phase"])
    ('by_node', 'by_zone', 'by_phase')
    """
    found = {"by_node": None} if resource.lower() in _PODS else {}
    for name in named:
        if not _INDEX_NAME.fullmatch(name) or index_name(name) in Objects.indexes:
            raise ValueError(
                f"index: {name!r} cannot be the name of an index by path; "
                "use lower-case letters, digits and _, and no name of a standard index"
            )
        found[index_name(name)] = None
    return tuple(found)


def index_name(name: str) -> str:
    """The name of an index in a table.

    >>> index_name("zone"), index_name("by_zone")
    ('by_zone', 'by_zone')
    """
    return f"by_{name.removeprefix('by_')}"
