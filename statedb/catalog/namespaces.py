"""Namespaces of Kubernetes, with the annotations that decide what is shared between clusters."""

import msgspec

from statedb import Table, UniqueIndex

GLOBAL = "clustermesh.cilium.io/global"
"""The annotation that decides whether other clusters see the objects of a namespace (cilium/cilium pkg/annotation)."""


class NamespaceKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """A namespace of one cluster."""

    cluster: str
    name: str


class Namespace(msgspec.Struct, frozen=True, gc=False):
    """A namespace. Mappings are sorted pairs."""

    key: NamespaceKey
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def is_global(self) -> bool | None:
        """Whether its annotation shares its objects with other clusters. None without the annotation.

        Any value except ``true``, in any case, means no.
        """
        said = next((text for name, text in self.annotations if name == GLOBAL), None)
        return None if said is None else said.lower() == "true"


class Namespaces(Table[NamespaceKey, Namespace], name="namespaces"):
    """One row for each namespace."""

    primary = UniqueIndex[NamespaceKey, Namespace](lambda namespace: namespace.key)
