"""A resource of the API server that is listed and watched as a whole: its path, and how its objects become rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from ..source import AnyTable

Value: TypeAlias = bytes | msgspec.Raw
"""An object as JSON."""


class Resource(msgspec.Struct, frozen=True):
    """``decode`` makes rows of an object's JSON, or raises WireError. ``group`` is empty for the core.

    ``mixed``: the rows are of several types. Rows of tables that are not among ``tables`` are left out.
    """

    group: str
    version: str
    plural: str
    tables: tuple[AnyTable, ...]
    decode: Callable[[Value], tuple[Any, ...]]
    mixed: bool = False

    @property
    def name(self) -> str:
        """``ciliumnodes.cilium.io``: how a ClusterRole and kubectl say it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def path(self) -> str:
        """Where its objects are listed, over all namespaces."""
        return f"/apis/{self.group}/{self.version}/{self.plural}" if self.group else f"/api/v1/{self.plural}"

    def object_name(self, namespace: str, name: str) -> str:
        """What tells an object from all others of the source."""
        return f"{self.plural}/{namespace}/{name}" if namespace else f"{self.plural}/{name}"
