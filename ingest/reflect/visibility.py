"""Prefers, of two pods with one address, the one that other clusters see. Knows namespaces, but no claims.

A publisher skips pods in namespaces that are not global. If such a pod held the address, the other pod would be missing
as well. clustermesh-apiserver skips such pods before it decides which pod has the address, so we do the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from statedb.catalog import Endpoint, Namespace, NamespaceKey

_SEEN, _BY_DEFAULT, _NOT_SEEN, _UNKNOWN = range(4)
"""The order in which pods take an address. It does not depend on the default for namespaces without annotation."""


class Visibility:
    """Follows the namespaces of one source. For one thread at a time."""

    def __init__(self) -> None:
        """No namespace is known."""
        self._places: dict[str, int] = {}

    def learn(self, changes: Mapping[NamespaceKey, Namespace | None]) -> bool:
        """Apply changed or deleted (None) namespaces. Returns whether this can change which pod has an address."""
        before = {key.name: self._places.get(key.name) for key in changes}
        for key, row in changes.items():
            if row is None:
                self._places.pop(key.name, None)
            else:
                said = row.is_global
                self._places[key.name] = _BY_DEFAULT if said is None else _SEEN if said else _NOT_SEEN
        return any(self._places.get(name) != place for name, place in before.items())

    def place(self, row: Endpoint) -> int:
        """The sort key of an endpoint; of those that claim one address the lowest holds it."""
        return self._places.get(row.namespace, _UNKNOWN)
