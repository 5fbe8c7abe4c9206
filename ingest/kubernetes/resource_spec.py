"""A resource of the API server, or a part of one, which is listed and watched as a whole, and its decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from ..source import AnyTable

Value: TypeAlias = bytes | msgspec.Raw
"""An object as JSON."""


class Scope(msgspec.Struct, frozen=True):
    """The part of a resource to read.

    ``namespace`` is empty for all namespaces. ``labels`` and ``fields`` are selectors in the syntax of Kubernetes. With
    ``metadata_only`` the server sends only metadata.
    """

    namespace: str = ""
    labels: str = ""
    fields: str = ""
    metadata_only: bool = False


class Resource(msgspec.Struct, frozen=True):
    """A resource. ``decode`` makes rows from the JSON of an object, or raises WireError.

    ``group`` is empty for the core group. With an empty ``version``, discovery finds group, version and plural by the
    name. With ``mixed`` the rows are of several types, and rows of tables that are not among ``tables`` are dropped.
    ``is_users``: ``decode`` is a user's function, which may take long.
    """

    group: str
    version: str
    plural: str
    tables: tuple[AnyTable, ...]
    decode: Callable[[Value], tuple[Any, ...]]
    mixed: bool = False
    scope: Scope = Scope()
    is_users: bool = False

    @property
    def name(self) -> str:
        """Its name with the group, as in a ClusterRole and in kubectl: ``ciliumnodes.cilium.io``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def feed(self) -> str:
        """The name of its feed, which is unique in the source: several feeds may be parts of one resource."""
        if self.version:
            return self.name
        table, namespace = self.tables[0].name, self.scope.namespace
        return f"{self.name} for table {table}{' in ' + namespace if namespace else ''}"

    @property
    def path(self) -> str:
        """The path at which its objects are listed, in all namespaces or in that of its scope."""
        head = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        namespace = self.scope.namespace
        return f"{head}/namespaces/{namespace}/{self.plural}" if namespace else f"{head}/{self.plural}"

    def object_name(self, namespace: str, name: str) -> str:
        """The name of an object, which is unique in the source."""
        return f"{self.plural}/{namespace}/{name}" if namespace else f"{self.plural}/{name}"
