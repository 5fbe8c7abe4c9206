"""Namespace of Kubernetes."""

import msgspec

from statedb.catalog.namespaces import Namespace, NamespaceKey

from ._objects import Metadata, name_of, pairs, read


class _Namespace(msgspec.Struct, gc=False):
    metadata: Metadata


def namespace(value: object, cluster: str) -> Namespace:
    """The row of a Namespace. Raises WireError."""
    metadata = read(value, _Namespace).metadata
    return Namespace(NamespaceKey(cluster, name_of(metadata)), pairs(metadata.labels), pairs(metadata.annotations))
