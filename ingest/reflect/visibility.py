"""Of two pods that claim one address, the one that other clusters see. Knows namespaces, no claims.

A publisher leaves out what is in a namespace that others do not see. If such a pod held the address, the other one
would be left out as well; clustermesh-apiserver leaves the first one out before it asks whose the address is.
"""

from __future__ import annotations

from collections.abc import Mapping

from statedb.catalog import Endpoint, Namespace, NamespaceKey

_SEEN, _BY_DEFAULT, _NOT_SEEN, _UNKNOWN = range(4)
"""In the order in which pods hold an address. What the default is does not change the order."""


class Visibility:
    """Follows the namespaces of one source. For one thread at a time."""

    def __init__(self) -> None:
        """No namespace is known."""
        self._places: dict[str, int] = {}

    def learn(self, changes: Mapping[NamespaceKey, Namespace | None]) -> bool:
        """Take in namespaces that changed, or (None) went. Whether that can change who holds an address."""
        before = {key.name: self._places.get(key.name) for key in changes}
        for key, row in changes.items():
            if row is None:
                self._places.pop(key.name, None)
            else:
                said = row.is_global
                self._places[key.name] = _BY_DEFAULT if said is None else _SEEN if said else _NOT_SEEN
        return any(self._places.get(name) != place for name, place in before.items())

    def place(self, row: Endpoint) -> int:
        """Of the endpoints that claim one address the lowest holds it."""
        return self._places.get(row.namespace, _UNKNOWN)
