"""Namespaces of Kubernetes, for the annotations that decide what is shared between clusters."""

import msgspec

from statedb import Table, UniqueIndex


class NamespaceKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """A namespace of one cluster."""

    cluster: str
    name: str


class Namespace(msgspec.Struct, frozen=True, gc=False):
    """A namespace; mappings are sorted pairs."""

    key: NamespaceKey
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


class Namespaces(Table[NamespaceKey, Namespace], name="namespaces"):
    """One row per namespace."""

    primary = UniqueIndex[NamespaceKey, Namespace](lambda namespace: namespace.key)
