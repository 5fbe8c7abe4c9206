"""A resource of the API server, or a part of one, that is listed and watched as a whole, and how it becomes rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from ..source import AnyTable

Value: TypeAlias = bytes | msgspec.Raw
"""An object as JSON."""


class Scope(msgspec.Struct, frozen=True):
    """Which objects of a resource, and how much of them.

    ``namespace`` is empty for all. ``labels`` and ``fields`` are selectors as Kubernetes writes them. With
    ``metadata_only`` the server sends nothing but metadata.
    """

    namespace: str = ""
    labels: str = ""
    fields: str = ""
    metadata_only: bool = False


class Resource(msgspec.Struct, frozen=True):
    """``decode`` makes rows of an object's JSON, or raises WireError. ``group`` is empty for the core.

    With an empty ``version`` discovery finds group, version and plural by the name. ``mixed``: the rows are of several
    types. Rows of tables that are not among ``tables`` are left out.
    """

    group: str
    version: str
    plural: str
    tables: tuple[AnyTable, ...]
    decode: Callable[[Value], tuple[Any, ...]]
    mixed: bool = False
    scope: Scope = Scope()

    @property
    def name(self) -> str:
        """``ciliumnodes.cilium.io``: how a ClusterRole and kubectl say it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def feed(self) -> str:
        """What tells it from all others of the source: two may be parts of one resource, or fill other tables."""
        if self.version:
            return self.name
        table, namespace = self.tables[0].name, self.scope.namespace
        return f"{self.name} for table {table}{' in ' + namespace if namespace else ''}"

    @property
    def path(self) -> str:
        """Where its objects are listed, over all namespaces or in the one of its scope."""
        head = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        namespace = self.scope.namespace
        return f"{head}/namespaces/{namespace}/{self.plural}" if namespace else f"{head}/{self.plural}"

    def object_name(self, namespace: str, name: str) -> str:
        """What tells an object from all others of the source."""
        return f"{self.plural}/{namespace}/{name}" if namespace else f"{self.plural}/{name}"
