"""Whether the server that answers now continues the history of one resource that we know. Pure.

An API server restored from an older backup, or an empty one behind the same address, answers like a healthy server that
holds few objects. To trust it would empty the tables. Clusters are recognised by the UID of their namespace
kube-system, which a restored one keeps; but its versions go back. A restored one whose versions have already overtaken
ours cannot be distinguished from the one we knew.
"""

from __future__ import annotations

_DIGITS = 20  # of an unsigned number of 64 bits


class Lineage:
    """What is known of a resource's history: the UID of its cluster and the newest version."""

    def __init__(self) -> None:
        """Nothing is known yet. Whoever answers first is trusted."""
        self._uid = ""
        self._version = 0

    def difference(self, uid: str, version: str) -> str:
        """Why the server that answers cannot be the one that is known; empty if it can.

        ``uid`` is empty where it may not be read. ``version`` is that of the server's store, not of a cache that lags;
        one that is no number, which the API allows, is not compared.
        """
        if self._uid and uid and uid != self._uid:
            return f"its namespace kube-system had the UID {self._uid}, has {uid}"
        number = _number(version)
        if number is not None and number < self._version:
            return f"its resourceVersion was {self._version}, is {number}"
        return ""

    def begin(self, uid: str, version: str) -> None:
        """Take this for the known history from now on."""
        self._uid = uid or self._uid
        self._version = _number(version) or 0

    def observe(self, version: str) -> None:
        """The history has reached this version."""
        number = _number(version)
        if number is not None and number > self._version:
            self._version = number


def _number(version: str) -> int | None:
    is_number = version.isascii() and version.isdigit() and len(version) <= _DIGITS
    return int(version) if is_number else None
